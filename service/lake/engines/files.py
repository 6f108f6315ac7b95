"""The files of the lake as tables of an engine that reads Parquet: which to open, and what of their rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ibis.expr.types as ir
import pyarrow as pa

from service.lake.columns import Wanted
from service.lake.engine import ALWAYS
from service.lake.flat import amount_column, fact_column, has_columns
from service.lake.manifest import EVENTS, LakeFile, Manifest

OWN = ("seq", "type", "user_id", "anonymous_id", "occurred_us")

Columns = Sequence[tuple[str, str]]
"""Names and types, in the words of Ibis: string or int64."""
Reader = Callable[[str, Sequence[LakeFile], Columns], ir.Table]
"""Gives some files of a dataset as one table, with more columns than its schema has.

Where a file has no such column it is null; of no files it is an empty table.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The lake between two offsets: what is newer than `after` and not newer than `upto`."""

    manifest: Manifest
    read: Reader
    upto: int
    after: int = 0

    def table(
        self,
        dataset: str,
        *,
        types: Sequence[str] = (),
        first_us: int = ALWAYS[0],
        last_us: int = ALWAYS[1],
    ) -> ir.Table:
        """Return the rows of one dataset as they are: of these types, between two moments, both included."""
        span = (first_us, last_us)
        return self._bounded(self.read(dataset, self._files(dataset, types, span), ()), types, span)

    def events(self, wanted: Wanted, *, first_us: int, last_us: int) -> ir.Table:
        """Return the events with the wanted properties, from columns of their own where files have them."""
        span = (first_us, last_us)
        files = self._files(EVENTS, wanted.types, span)
        names = (*wanted.facts, *wanted.amounts)
        flat = [file for file in files if has_columns(file.flat, names)]
        mapped = [file for file in files if file not in flat]
        parts = []
        if flat or not mapped:
            columns = [(fact_column(name), "string") for name in wanted.facts]
            columns += [(amount_column(name), "int64") for name in wanted.amounts]
            table = self._bounded(self.read(EVENTS, flat, columns), wanted.types, span)
            facts = {wanted.fact(name): table[fact_column(name)] for name in wanted.facts}
            amounts = {wanted.amount(name): table[amount_column(name)] for name in wanted.amounts}
            parts.append(table.select(*OWN, **facts, **amounts))
        if mapped:
            table = self._bounded(self.read(EVENTS, mapped, ()), wanted.types, span)
            facts = {wanted.fact(name): table.facts.get(name) for name in wanted.facts}
            amounts = {wanted.amount(name): table.amounts.get(name) for name in wanted.amounts}
            parts.append(table.select(*OWN, **facts, **amounts))
        return parts[0].union(parts[1]) if len(parts) > 1 else parts[0]

    def _files(self, dataset: str, types: Sequence[str], span: tuple[int, int]) -> list[LakeFile]:
        return [
            file
            for file in self.manifest.of(dataset)
            if file.may_hold(
                types=types or None,
                after_seq=self.after,
                upto_seq=self.upto,
                first_us=span[0],
                last_us=span[1],
            )
        ]

    def _bounded(self, table: ir.Table, types: Sequence[str], span: tuple[int, int]) -> ir.Table:
        if self.upto < self.manifest.offset:
            table = table.filter(table.seq <= self.upto)
        if self.after:
            table = table.filter(table.seq > self.after)
        if types:
            table = table.filter(table.type.isin(types))
        if span == ALWAYS:
            return table
        # Files of an older manifest, and of days that straddle a limit: their row groups know their times.
        return table.filter(table.occurred_us.between(*span))


def with_columns(schema: pa.Schema, more: Columns) -> pa.Schema:
    """Return the schema of a dataset with more columns."""
    kinds = {"string": pa.string(), "int64": pa.int64()}
    return pa.schema([*schema, *(pa.field(name, kinds[kind]) for name, kind in more)])
