"""Rows of units brought up to date by new events: exactly what the whole log gives, from a part of it.

A unit's first exposure, what it saw and how often follow from its old row and its new exposures. So do its
sums where its first exposure stays when it was: no event is both old and new, so their sums are put together.
Where a unit is new, or turns out to have been exposed earlier, its events are read from the lake once more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

import ibis
import ibis.expr.types as ir

from experiments.definitions import Experiment, Metric
from service.lake.columns import Wanted
from service.lake.engines.duckdb import DuckDBEngine
from service.lake.numbers import EXACT, Read, events_of
from service.lake.partials_code import digest_by_code
from service.lake.unit_rows import UNIT_COLUMNS, reading, unit_sums, with_sums
from service.lake.units import exposures_of, units_of

Merge = Callable[[ir.Value, ir.Value], ir.Value]


def _added(one: ir.Value, other: ir.Value) -> ir.Value:
    return ibis.coalesce(one + other, one, other)


def _least(one: ir.Value, other: ir.Value) -> ir.Value:
    return ibis.coalesce(ibis.least(one, other), one, other)


def _greatest(one: ir.Value, other: ir.Value) -> ir.Value:
    return ibis.coalesce(ibis.greatest(one, other), one, other)


MERGES: Mapping[str, tuple[str, Merge]] = {
    "n": ("int64", _added),
    "n_divisor": ("int64", _added),
    "amount": (EXACT, _added),
    "divisor": (EXACT, _added),
    "minus": (EXACT, _added),
    "largest": (EXACT, _greatest),
    "smallest": (EXACT, _least),
    "since_us": ("int64", _least),
    "last_us": ("int64", _greatest),
}
"""By name of a sum: its type in a file, and how the sums of two sets of events become that of both.

Where a metric has a sum that is not here, every touched unit is read from the lake once more.
"""


@dataclass(frozen=True)
class Units:
    """The unit rows of one experiment and phase, with the sums of its metrics."""

    experiment: Experiment
    metrics: Sequence[Metric]

    @cached_property
    def digest(self) -> str:
        """What the rows are made by."""
        told = (self.experiment.key, self.experiment.phase, self.experiment.unit)
        return digest_by_code(*map(str, told), definitions=self.metrics)

    def whole(self, engine: DuckDBEngine) -> ir.Table:
        """Return the row of every unit, from the whole lake."""
        return _filed(unit_sums(engine, self.experiment, self.metrics))

    def together(self, base: ir.Table, delta: ir.Table) -> ir.Table:
        """Return the rows of both; a unit's row in `delta` takes the place of that in `base`."""
        return base.anti_join(delta, "unit_id").union(delta)

    @contextmanager
    def changed(
        self, engine: DuckDBEngine, *, after: int, rows: ir.Table, delta: ir.Table | None
    ) -> Iterator[ir.Table]:
        """Return `delta` with the rows of all units that the events after an offset touch."""
        since = engine.since(after)
        read, reads = self._events(since)
        with ExitStack() as stack:

            def keep(expression: ir.Table) -> ir.Table:
                return stack.enter_context(engine.kept(expression))

            events = keep(read)
            seen = keep(_filed(units_of(exposures_of(since.exposures(), self.experiment))))
            touched = seen.select("unit_id").union(events.select(unit_id="owner"), distinct=True)
            old = keep(rows.semi_join(touched, "unit_id"))
            units = keep(merged(old.select(*UNIT_COLUMNS).union(seen)))
            moved = keep(_moved(units, old) if _can_grow(rows) else units)
            stayed = units.anti_join(moved, "unit_id")
            renewed = keep(self._grown(stayed, old, events, reads).union(self._reread(engine, moved)))
            yield renewed if delta is None else delta.anti_join(renewed, "unit_id").union(renewed)

    def _events(self, engine: DuckDBEngine) -> tuple[ir.Table, tuple[Read, ...]]:
        wanted = Wanted.of(self.metrics, self.experiment.unit)
        return events_of(engine.events(wanted), wanted, unit=self.experiment.unit, metrics=self.metrics)

    def _grown(self, units: ir.Table, old: ir.Table, events: ir.Table, reads: Sequence[Read]) -> ir.Table:
        """Return the rows of units first exposed as in `old`: the old sums and those of `events` together."""
        sums = [name for name in old.columns if name not in UNIT_COLUMNS]
        new = _filed(with_sums(units, events, reads, metrics=self.metrics))
        both = new.inner_join(old.select("unit_id", **{f"was_{name}": name for name in sums}), "unit_id")
        found = {name: MERGES.get(_word(name)) for name in sums}
        merged_sums = {
            name: how[1](both[f"was_{name}"], both[name]).cast(how[0]) for name, how in found.items() if how
        }
        return both.select(
            *UNIT_COLUMNS, **(merged_sums | {n: both[n] for n in sums if n not in merged_sums})
        )

    def _reread(self, engine: DuckDBEngine, units: ir.Table) -> ir.Table:
        """Return the rows of units from all events of the lake that lie around their first exposures."""
        (told,) = engine.rows(units.aggregate(first_us=units.first_us.min(), last_us=units.first_us.max()))
        exposed = (told["first_us"] or 0, told["last_us"] or 0)
        read, reads = reading(engine, self.experiment, self.metrics, exposed=exposed)
        return _filed(with_sums(units, read, reads, metrics=self.metrics))


def merged(units: ir.Table) -> ir.Table:
    """Return one row per unit of several, each of which was told by a part of its exposures (`units_of`)."""
    of_unit = ibis.window(group_by="unit_id")
    order = ibis.window(group_by="unit_id", order_by=["first_us", "variant", "source"])
    ranked = units.mutate(
        place=ibis.row_number().over(order),
        least=units.least.min().over(of_unit),
        greatest=units.greatest.max().over(of_unit),
        n_seen=units.n_seen.sum().over(of_unit),
    )
    return _filed(ranked.filter(ranked.place == 0).select(*UNIT_COLUMNS))


def _moved(units: ir.Table, old: ir.Table) -> ir.Table:
    both = units.inner_join(old.select("unit_id", was_us="first_us"), "unit_id")
    return units.anti_join(both.filter(both.first_us == both.was_us), "unit_id")


def _can_grow(rows: ir.Table) -> bool:
    return all(_word(name) in MERGES for name in rows.columns if name not in UNIT_COLUMNS)


def _filed(rows: ir.Table) -> ir.Table:
    # A file has no column for the widest integers of DuckDB, in which it adds up. Ibis takes a sum of int64
    # for an int64 and would leave out a cast to that.
    sums = {
        name: rows[name].cast(MERGES[_word(name)][0] if _word(name) in MERGES else EXACT)
        for name in rows.columns
        if name not in UNIT_COLUMNS
    }
    return rows.mutate(n_seen=rows.n_seen.cast(EXACT).cast("int64")).select(*UNIT_COLUMNS, **sums)


def _word(column: str) -> str:
    # m0_now_amount, m0_past_n_divisor: place, span, name.
    return column.split("_", 2)[2]
