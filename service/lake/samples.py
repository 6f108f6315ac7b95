"""What a metric reads on some days, to be looked at: how many events, a few of them, a few units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from experiments.definitions import Metric
from experiments.units import ANONYMOUS_ID
from service.lake.cohorts import Days
from service.lake.columns import OWN_COLUMNS, Wanted
from service.lake.engine import Engine
from service.lake.numbers import flagged
from service.lake.texts import text_of
from service.lake.unit_rows import NUMBERS, number_column

FEW = 10
SEVERAL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFact:
    """One property that a metric asks for: how many events have it, and its commonest values.

    A value is JSON text; the id of a unit has none, nor has a `number`, which is added up or compared, and of
    which `n` counts numbers only.
    """

    name: str
    n: int
    number: bool
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSample:
    """One event that a metric reads; `facts` are JSON texts and `amounts` micro-units, where it has them."""

    seq: int
    type: str
    occurred_us: int
    owner: str
    counts: bool
    facts: Mapping[str, str]
    amounts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSample:
    """One unit with its numbers in micro-units: the value, and the denominator if there is one."""

    unit_id: str
    first_us: int
    numbers: tuple[int | None, ...]


def types_of(engine: Engine, days: Days) -> dict[str, int]:
    """Return how many events of each type occurred, the commonest first."""
    events = engine.events(Wanted(), first_us=days.first_us, last_us=days.last_us)
    found = engine.rows(events.group_by("type").aggregate(n=events.count()))
    return {row["type"]: int(row["n"]) for row in sorted(found, key=lambda row: (-row["n"], row["type"]))}


def n_read(engine: Engine, metric: Metric, days: Days, *, unit: str) -> tuple[int, int]:
    """Return how many events count for a metric, and how many divide it."""
    events = _read(engine, metric, days, unit)
    (found,) = engine.rows(events.aggregate(counts=events.counts.sum(), divides=events.divides.sum()))
    return int(found["counts"] or 0), int(found["divides"] or 0)


def few_events(engine: Engine, metric: Metric, days: Days, *, unit: str) -> Sequence[EventSample]:
    """Return the newest events that a metric reads."""
    wanted, events = Wanted.of((metric,), unit), _read(engine, metric, days, unit)
    owner = events[unit] if unit in OWN_COLUMNS else text_of(events[wanted.fact(unit)])
    facts = _shown(metric)
    read = events.filter(ibis.or_(events.counts, events.divides)).mutate(owner=owner)
    newest = read.order_by(ibis.desc("occurred_us"), ibis.desc("seq")).limit(FEW)
    return [
        EventSample(
            seq=int(row["seq"]),
            type=row["type"],
            occurred_us=int(row["occurred_us"]),
            owner=row["owner"] or "",
            counts=bool(row["counts"]),
            facts={n: row[wanted.fact(n)] for n in facts if row[wanted.fact(n)] is not None},
            amounts={
                n: int(row[wanted.amount(n)]) for n in wanted.amounts if row[wanted.amount(n)] is not None
            },
        )
        for row in engine.rows(newest)
    ]


def few_units(engine: Engine, rows: ir.Table, *, n_numbers: int) -> Sequence[UnitSample]:
    """Return units of `unit_rows` of one metric: the largest values first, so that what is wrong is seen."""
    columns = [number_column(0, name) for name in NUMBERS[:n_numbers]]
    largest = rows.order_by(ibis.coalesce(rows[columns[0]], -1).desc(), "unit_id").limit(FEW)
    return [
        UnitSample(
            unit_id=row["unit_id"],
            first_us=int(row["first_us"]),
            numbers=tuple(None if row[name] is None else int(row[name]) for name in columns),
        )
        for row in engine.rows(largest.select("unit_id", "first_us", *columns))
    ]


def newest_of(engine: Engine, event: str, days: Days, n: int) -> Sequence[int]:
    """Return the offsets of the newest events of one type."""
    events = engine.events(Wanted(types=(event,)), first_us=days.first_us, last_us=days.last_us)
    newest = events.select("seq").order_by(ibis.desc("seq")).limit(n)
    return [int(row["seq"]) for row in engine.rows(newest)]


def facts_seen(engine: Engine, metric: Metric, event: str, days: Days, *, unit: str) -> Sequence[SeenFact]:
    """Return what the events of one type have of the properties that a metric and its unit ask for."""
    wanted = Wanted.of((metric,), unit)
    table = engine.events(wanted, first_us=days.first_us, last_us=days.last_us)
    events = table.filter(table.type == event)
    found = []
    for name in wanted.facts:
        values = events.group_by(value=events[wanted.fact(name)]).aggregate(n=events.count())
        told = engine.rows(values.filter(values.value.notnull()).order_by(ibis.desc("n"), "value"))
        texts = tuple(row["value"] for row in told[:SEVERAL]) if name in _shown(metric) else ()
        n = sum(int(row["n"]) for row in told)
        found.append(SeenFact(name=name, n=n, number=False, values=texts))
    for name in wanted.amounts:
        (row,) = engine.rows(events.aggregate(n=events[wanted.amount(name)].count()))
        found.append(SeenFact(name=name, n=int(row["n"]), number=True))
    return found


def _shown(metric: Metric) -> tuple[str, ...]:
    """Return the properties whose values are shown: not the one that only holds the ids of the units."""
    return Wanted.of((metric,), ANONYMOUS_ID).facts


def _read(engine: Engine, metric: Metric, days: Days, unit: str) -> ir.Table:
    wanted = Wanted.of((metric,), unit)
    events = engine.events(wanted, first_us=days.first_us, last_us=days.last_us)
    return flagged(events, wanted, metric)
