"""A metric outside of experiments: everybody who did anything on a day, as if exposed then to one variant.

The value of a UTC day D is that of the units with any event on the day whose windows have all ended by the
end of D: the metric's window counts from a unit's first event of that day.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from experiments.comparisons import total_of
from experiments.definitions import Experiment, Metric, MetricPlan, Variant
from experiments.lifecycle import TOTAL_BP
from experiments.moments import Moments
from experiments.units import ANONYMOUS_ID
from service.clock import EPOCH
from service.lake.columns import OWN_COLUMNS, Wanted
from service.lake.engine import ALWAYS, Engine
from service.lake.sums import moments_of, periods_of
from service.lake.texts import text_of
from service.lake.unit_rows import unit_rows
from service.lake.units import DAY_US

DAY_S = 86_400
ALL = "all"
"""The one variant that everybody is taken to have seen."""
_NOBODY = "nobody"
_COHORT = "cohort"


@dataclass(frozen=True, slots=True)
class Days:
    """Days from `first` to `last`, both included, in microseconds."""

    first: date
    last: date

    @property
    def first_us(self) -> int:
        """The first moment."""
        return _day_number(self.first) * DAY_US

    @property
    def last_us(self) -> int:
        """The last moment."""
        return (_day_number(self.last) + 1) * DAY_US - 1


def days_of(metric: Metric, day: date) -> Days:
    """Return what the value of `day` is about: from the day of its units to `day` itself.

    Examples
    --------
    >>> from experiments.definitions import MetricKind
    >>> week = Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=7 * 86_400)
    >>> days_of(week, date(2027, 1, 9)).first
    datetime.date(2027, 1, 2)
    """
    return Days(day - timedelta(days=-(-metric.window_s // DAY_S)), day)


def cohort_moments(engine: Engine, metric: Metric, day: date, *, unit: str = ANONYMOUS_ID) -> Moments:
    """Return the moments of a metric on one UTC day."""
    plain = _plain(metric)
    with cohort_rows(engine, metric, day, unit=unit) as rows:
        found = engine.rows(moments_of(rows, (plain,), until_us=days_of(metric, day).last_us))
    return total_of(row.moments for row in periods_of(found))


@contextmanager
def cohort_rows(engine: Engine, metric: Metric, day: date, *, unit: str = ANONYMOUS_ID) -> Iterator[ir.Table]:
    """Give the units of a metric on one UTC day with their numbers: the rows of `unit_rows`."""
    with engine.kept(_first_events(engine, days_of(metric, day).first, unit)) as seen:
        yield unit_rows(_Exposing(engine, seen), _experiment(metric, unit), (_plain(metric),))


def last_offsets(engine: Engine, days: Days) -> dict[date, int]:
    """Return by UTC day the newest log offset of the events that occurred on it; days without are absent."""
    events = engine.events(Wanted(), first_us=days.first_us, last_us=days.last_us)
    dated = events.select("seq", day=events.occurred_us // DAY_US)
    found = engine.rows(dated.group_by("day").aggregate(newest=dated.seq.max()))
    return {EPOCH.date() + timedelta(days=int(row["day"])): int(row["newest"]) for row in found}


def _first_events(engine: Engine, day: date, unit: str) -> ir.Table:
    """Return the first event of each unit on one day in the form of an exposure."""
    wanted = Wanted() if unit in OWN_COLUMNS else Wanted(facts=(unit,))
    span = Days(day, day)
    events = engine.events(wanted, first_us=span.first_us, last_us=span.last_us)
    owner = events[unit] if unit in OWN_COLUMNS else text_of(events[wanted.fact(unit)])
    owned = events.select("seq", "occurred_us", unit_id=owner)
    owned = owned.filter(owned.unit_id.notnull())
    first = owned.group_by("unit_id").aggregate(seq=owned.seq.min(), occurred_us=owned.occurred_us.min())
    return first.mutate(
        experiment_key=ibis.literal(_COHORT),
        phase=ibis.literal(1, "int64"),
        variant_key=ibis.literal(ALL),
        unit_type=ibis.literal(unit),
        source=ibis.literal(""),
    )


def _plain(metric: Metric) -> Metric:
    """Return the metric without what only the comparison of variants needs."""
    return replace(metric, lookback_s=0)


def _experiment(metric: Metric, unit: str) -> Experiment:
    return Experiment(
        key=_COHORT,
        unit=unit,
        variants=(
            Variant(key=ALL, value=True, weight_bp=TOTAL_BP),
            Variant(key=_NOBODY, value=False, weight_bp=0),
        ),
        metrics=MetricPlan(primary=metric.key),
    )


def _day_number(day: date) -> int:
    return (day - EPOCH.date()).days


@dataclass(frozen=True, slots=True)
class _Exposing:
    """An engine with other exposures than the log's."""

    inner: Engine
    seen: ir.Table

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def offset(self) -> int:
        return self.inner.offset

    def exposures(self) -> ir.Table:
        return self.seen

    def events(self, wanted: Wanted, *, first_us: int = ALWAYS[0], last_us: int = ALWAYS[1]) -> ir.Table:
        return self.inner.events(wanted, first_us=first_us, last_us=last_us)

    def links(self) -> ir.Table:
        return self.inner.links()

    def people(self) -> ir.Table:
        return self.inner.people()

    def rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        return self.inner.rows(expression)

    def batches(self, expression: ir.Table) -> Iterable[pa.RecordBatch]:
        return self.inner.batches(expression)

    def kept(self, expression: ir.Table) -> AbstractContextManager[ir.Table]:
        return self.inner.kept(expression)
