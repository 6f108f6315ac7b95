"""Who is known to be which user: of each visitor the first link, in the order of `contamination`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import ibis.expr.types as ir

from service.lake.contamination import LINKS, first_of, pairs_of
from service.lake.engines.duckdb import DuckDBEngine
from service.lake.partials_code import digest_by_code


@dataclass(frozen=True)
class People:
    """The first link of every visitor: links are only ever added, so an earlier one may take its place."""

    @cached_property
    def digest(self) -> str:
        """What the rows are made by."""
        return digest_by_code("people")

    def whole(self, engine: DuckDBEngine) -> ir.Table:
        """Return all first links, from the whole lake."""
        return first_of(pairs_of(engine.links()))

    def together(self, base: ir.Table, delta: ir.Table) -> ir.Table:
        """Return the rows of both; a visitor's row in `delta` takes the place of that in `base`."""
        return base.anti_join(delta, "anonymous_id").union(delta)

    @contextmanager
    def changed(
        self, engine: DuckDBEngine, *, after: int, rows: ir.Table, delta: ir.Table | None
    ) -> Iterator[ir.Table]:
        """Return `delta` with the visitors that the events after an offset link."""
        with engine.kept(pairs_of(engine.since(after).links()).select(*LINKS)) as new:
            old = rows.semi_join(new, "anonymous_id")
            with engine.kept(first_of(old.union(new))) as renewed:
                yield renewed if delta is None else self.together(delta, renewed)
