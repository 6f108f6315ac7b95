"""DuckDB in this process over the Parquet files of the lake: the engine that needs nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.duckdb import Backend

from service.lake.columns import Wanted
from service.lake.contamination import people_of
from service.lake.engine import ALWAYS
from service.lake.manifest import EVENTS, EXPOSURES, LATE_COLUMNS, SCHEMAS, Manifest, reading
from service.lake.places import SPILL, Where, at
from service.lake.texts import text_of
from service.storage.naming import ALIASED, PREVIOUS

NAME = "duckdb"
MEMORY_LIMIT = "1GB"
THREADS = 2
BATCH_ROWS = 100_000
LINK_COLUMNS = ("seq", "type", "user_id", "anonymous_id", "previous", "occurred_us")


class DuckDBEngine:
    """The lake at one offset; made by `open_duckdb`."""

    name = NAME

    def __init__(self, connection: Backend, lake: Where, manifest: Manifest, *, upto: int | None) -> None:
        self.connection = connection
        self.manifest = manifest
        self.offset = manifest.offset if upto is None else min(upto, manifest.offset)
        self._after = 0
        self._lake = lake
        self._people: ir.Table | None = None
        self._numbers = count()

    def table(
        self,
        dataset: str,
        *,
        types: Sequence[str] = (),
        first_us: int = ALWAYS[0],
        last_us: int = ALWAYS[1],
    ) -> ir.Table:
        """Return the rows of one dataset as they are: of these types, between two moments, both included."""
        files = [
            file
            for file in self.manifest.of(dataset)
            if file.may_hold(
                types=types or None,
                after_seq=self._after,
                upto_seq=self.offset,
                first_us=first_us,
                last_us=last_us,
            )
        ]
        if not files:
            return ibis.memtable(SCHEMAS[dataset].empty_table())
        paths = [at(self._lake).location(f.path) for f in files]
        late = LATE_COLUMNS.get(dataset, ())
        table = self.connection.read_parquet(paths, hive_partitioning=False, union_by_name=bool(late))
        table = table.mutate({name: ibis.null("string") for name in late if name not in table.columns})
        if self.offset < self.manifest.offset:
            table = table.filter(table.seq <= self.offset)
        if self._after:
            table = table.filter(table.seq > self._after)
        if types:
            table = table.filter(table.type.isin(types))
        if (first_us, last_us) == ALWAYS:
            return table
        # Files of an older manifest, and of days that straddle a limit: their row groups know their times.
        return table.filter(table.occurred_us.between(first_us, last_us))

    def exposures(self) -> ir.Table:
        """Return all exposures."""
        return self.table(EXPOSURES)

    def events(self, wanted: Wanted, *, first_us: int = ALWAYS[0], last_us: int = ALWAYS[1]) -> ir.Table:
        """Return the events between two moments with the wanted properties."""
        table = self.table(EVENTS, types=wanted.types, first_us=first_us, last_us=last_us)
        return table.select(
            *("seq", "type", "user_id", "anonymous_id", "occurred_us"),
            **{wanted.fact(name): table.facts.get(name) for name in wanted.facts},
            **{wanted.amount(name): table.amounts.get(name) for name in wanted.amounts},
        )

    def links(self) -> ir.Table:
        """Return what events say about who is who."""
        # Two reads: of the many that name a visitor no properties need be opened.
        visitors, aliases = self.table(EVENTS), self.table(EVENTS, types=(ALIASED,))
        named = visitors.filter(visitors.user_id.notnull(), visitors.anonymous_id.notnull())
        previous = text_of(aliases.facts.get(PREVIOUS))
        renamed = aliases.filter(aliases.user_id.notnull(), previous.notnull())
        nobody = ibis.null("string")
        return (
            named.mutate(previous=nobody)
            .select(*LINK_COLUMNS)
            .union(renamed.mutate(previous=previous, anonymous_id=nobody).select(*LINK_COLUMNS))
        )

    def since(self, offset: int, *, upto: int | None = None) -> "DuckDBEngine":
        """Return of the same lake only what is newer than `offset`, and not newer than `upto`."""
        newer = copy(self)
        newer.offset = self.offset if upto is None else min(upto, self.offset)
        newer._after = offset  # noqa: SLF001 - its own
        return newer

    def know_people(self, people: ir.Table) -> None:
        """Take the answer of `people` from a table of this connection."""
        self._people = self._keep(people)

    def people(self) -> ir.Table:
        """Return who is known to be which user."""
        if self._people is None:
            # Every experiment asks: all events are read for it once.
            self._people = self._keep(people_of(self.links()))
        return self._people

    def rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Return a small answer."""
        rows: list[dict[str, Any]] = self.connection.to_pyarrow(expression).to_pylist()
        return rows

    def batches(self, expression: ir.Table) -> list[pa.RecordBatch]:
        """Return a large answer."""
        batches: list[pa.RecordBatch] = self.connection.to_pyarrow(expression).to_batches(BATCH_ROWS)
        return batches

    @contextmanager
    def kept(self, expression: ir.Table) -> Iterator[ir.Table]:
        """Compute a table once, for the length of the block."""
        table = self._keep(expression)
        try:
            yield table
        finally:
            self.connection.raw_sql(f"DROP TABLE {table.get_name()}")

    def _keep(self, expression: ir.Table) -> ir.Table:
        return self.connection.create_table(f"kept_{next(self._numbers)}", expression, temp=True)


@contextmanager
def open_duckdb(lake: Where, *, upto: int | None = None) -> Iterator[DuckDBEngine]:
    """Open the lake for reading, of it only what is not newer than `upto`; no file disappears meanwhile."""
    with reading(lake) as manifest, TemporaryDirectory(prefix=SPILL, dir=at(lake).spill) as spill:
        # DuckDB's own choice of a folder to spill to is the working directory.
        connection = ibis.duckdb.connect(memory_limit=MEMORY_LIMIT, threads=THREADS, temp_directory=spill)
        at(lake).prepare(connection.con)
        try:
            yield DuckDBEngine(connection, lake, manifest, upto=upto)
        finally:
            connection.disconnect()
