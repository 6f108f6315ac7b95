"""What a metric says of yesterday, and what it reads: before anybody relies on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

from experiments.comparisons import estimate_of, total_of
from experiments.definitions import Metric
from experiments.moments import SCALE, Moments
from experiments.units import ANONYMOUS_ID
from service.catalog.findings import did_you_mean
from service.lake import samples
from service.lake.cohorts import Days, cohort_moments, cohort_rows, days_of
from service.lake.engine import Engine
from service.storage.records import LoggedEvent

WEEK = 7
MOST_TYPES = 12
LOOKED_INTO = 50


class Log(Protocol):
    """The event log, as far as a preview reads it."""

    def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Return up to `limit` events with seq > `after` in log order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DayValue:
    """The metric over some units: `n` of them; None where it does not exist."""

    n: int
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One metric on one day.

    `day`, `before` and `week` are its value, that of the day before, and that of seven days together, `day`
    the last of them. `counting` and `dividing` events are those of `days` that it reads. `hints` tell why
    nothing is read, or why what is read has no number.
    """

    metric: Metric
    unit: str
    days: Days
    day: DayValue
    before: DayValue
    week: DayValue
    counting: int
    dividing: int
    events: Sequence[samples.EventSample]
    units: Sequence[samples.UnitSample]
    hints: tuple[str, ...]


def preview(engine: Engine, log: Log, metric: Metric, day: date, *, unit: str = ANONYMOUS_ID) -> Preview:
    """Compute a metric on one UTC day, and look into what it reads."""
    days = days_of(metric, day)
    values = [cohort_moments(engine, metric, day - timedelta(days=back), unit=unit) for back in range(WEEK)]
    counting, dividing = samples.n_read(engine, metric, days, unit=unit)
    with cohort_rows(engine, metric, day, unit=unit) as rows:
        units = samples.few_units(engine, rows, n_numbers=1 + len(values[0].others))
    return Preview(
        metric=metric,
        unit=unit,
        days=days,
        day=_value(metric, values[0]),
        before=_value(metric, values[1]),
        week=_value(metric, total_of(values)),
        counting=counting,
        dividing=dividing,
        events=samples.few_events(engine, metric, days, unit=unit) if counting or dividing else (),
        units=units,
        hints=tuple(_hints(engine, log, metric, days, unit=unit, all_out=not counting)),
    )


def value_on(engine: Engine, metric: Metric, day: date) -> DayValue:
    """Return the value of a metric on one UTC day."""
    return _value(metric, cohort_moments(engine, metric, day))


def number_of(micro: int | None) -> float | None:
    """Return micro-units as a number."""
    return None if micro is None else micro / SCALE


def _value(metric: Metric, moments: Moments) -> DayValue:
    return DayValue(n=moments.n, value=estimate_of(metric, moments))


def _hints(
    engine: Engine, log: Log, metric: Metric, days: Days, *, unit: str, all_out: bool
) -> Iterator[str]:
    types = samples.types_of(engine, days)
    span = f"from {days.first} to {days.last}"
    for event in dict.fromkeys(name for name in (metric.event, metric.per, metric.then) if name):
        if event not in types:
            yield f"no '{event}' occurred {span}; {_which(event, types)}"
    if metric.event in types:
        yield from _about_properties(engine, log, metric, days, unit=unit, all_out=all_out)


def _which(event: str, types: Mapping[str, int]) -> str:
    if not types:
        return "nothing at all occurred on these days"
    close = did_you_mean(event, types)
    meant = f"{close} " if close.startswith("did") else ""
    common = ", ".join(f"'{name}' {n:,}" for name, n in list(types.items())[:MOST_TYPES])
    return f"{meant}what did occur: {common}"


def _about_properties(
    engine: Engine, log: Log, metric: Metric, days: Days, *, unit: str, all_out: bool
) -> Iterator[str]:
    """Yield what the events lack: a property that no event has, or values of which none is asked for."""
    seen = samples.facts_seen(engine, metric, metric.event, days, unit=unit)
    missing = [fact for fact in seen if not fact.n and _is_asked_of_event(metric, fact.name)]
    names = _names_in(log, samples.newest_of(engine, metric.event, days, LOOKED_INTO)) if missing else ()
    for fact in missing:
        what = "a number in" if fact.number else "the property"
        hint = did_you_mean(fact.name, names)
        meant = f"{hint} " if hint.startswith("did") else ""
        have = f"they have {', '.join(sorted(names))}" if names else "they have no properties"
        yield f"no '{metric.event}' has {what} '{fact.name}'; {meant}{have}"
    if all_out and not missing:
        yield f"'{metric.event}' occurred, and none of them counts: look at where, currency and scale"
    for fact in seen if all_out else ():
        if fact.values:
            values = ", ".join(fact.values)
            yield f"{fact.n:,} '{metric.event}' have '{fact.name}', most often {values}"


def _is_asked_of_event(metric: Metric, name: str) -> bool:
    """Say whether an event of the metric's own type should have a property: not what only `per` has."""
    others = {metric.per_value, *metric.per_where} - {metric.value, *metric.where}
    return name not in others and (name != "currency" or name in metric.where)


def _names_in(log: Log, offsets: Sequence[int]) -> set[str]:
    """Return the names of the properties of some events, as they were sent."""
    names: set[str] = set()
    for seq in offsets:
        for logged in log.read(seq - 1, 1):
            names.update(logged.received.event.properties)
    return names
