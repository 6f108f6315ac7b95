"""DuckDB in this process over the Parquet files of the lake: the engine that needs nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
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
from service.lake.engines.files import Columns, Files, with_columns
from service.lake.engines.links import links_of
from service.lake.manifest import EXPOSURES, LATE_COLUMNS, SCHEMAS, LakeFile, Manifest, reading
from service.lake.places import SPILL, Where, at

NAME = "duckdb"
MEMORY_LIMIT = "1GB"
THREADS = 2
BATCH_ROWS = 100_000


class DuckDBEngine:
    """The lake at one offset; made by `open_duckdb`."""

    name = NAME

    def __init__(self, connection: Backend, lake: Where, manifest: Manifest, *, upto: int | None) -> None:
        self.connection = connection
        self.manifest = manifest
        self.offset = manifest.offset if upto is None else min(upto, manifest.offset)
        self._lake = lake
        self._files = Files(manifest=manifest, read=self._read, upto=self.offset)
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
        return self._files.table(dataset, types=types, first_us=first_us, last_us=last_us)

    def exposures(self) -> ir.Table:
        """Return all exposures."""
        return self.table(EXPOSURES)

    def events(self, wanted: Wanted, *, first_us: int = ALWAYS[0], last_us: int = ALWAYS[1]) -> ir.Table:
        """Return the events between two moments with the wanted properties."""
        return self._files.events(wanted, first_us=first_us, last_us=last_us)

    def links(self) -> ir.Table:
        """Return what events say about who is who."""
        return links_of(self)

    def since(self, offset: int, *, upto: int | None = None) -> "DuckDBEngine":
        """Return of the same lake only what is newer than `offset`, and not newer than `upto`."""
        newer = copy(self)
        newer.offset = self.offset if upto is None else min(upto, self.offset)
        newer._files = replace(self._files, after=offset, upto=newer.offset)  # noqa: SLF001 - its own
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

    def _read(self, dataset: str, files: Sequence[LakeFile], more: Columns) -> ir.Table:
        if not files:
            return ibis.memtable(with_columns(SCHEMAS[dataset], more).empty_table())
        paths = [at(self._lake).duckdb_path(file.path) for file in files]
        # Where not all files have a column, it takes a look into each of them to find out which do.
        late = [(name, "string") for name in LATE_COLUMNS.get(dataset, ())]
        by_name = bool(late or more)
        table = self.connection.read_parquet(paths, hive_partitioning=False, union_by_name=by_name)
        absent = [(name, kind) for name, kind in (*late, *more) if name not in table.columns]
        return table.mutate({name: ibis.null(kind) for name, kind in absent})

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
