"""Who is known to be which user, kept as pairs: links are only ever added, of equal ones the first."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import ibis.expr.types as ir

from service.lake.contamination import LINKS, earliest_of, pairs_of
from service.lake.engines.duckdb import DuckDBEngine
from service.lake.partials_code import digest_by_code


@dataclass(frozen=True)
class Pairs:
    """One row per visitor and user that any event named together."""

    @cached_property
    def digest(self) -> str:
        """What the rows are made by."""
        return digest_by_code("people")

    def whole(self, engine: DuckDBEngine) -> ir.Table:
        """Return all pairs, from the whole lake."""
        return pairs_of(engine.links()).select(*LINKS)

    def together(self, base: ir.Table, delta: ir.Table) -> ir.Table:
        """Return the pairs of both."""
        return earliest_of(base.union(delta)).select(*LINKS)

    @contextmanager
    def changed(
        self,
        engine: DuckDBEngine,
        *,
        after: int,
        rows: ir.Table,  # noqa: ARG002 - a pair needs no other one
        delta: ir.Table | None,
    ) -> Iterator[ir.Table]:
        """Return `delta` with the pairs that the events after an offset name."""
        new = pairs_of(engine.since(after).links()).select(*LINKS)
        yield new if delta is None else self.together(delta, new)
