"""A unit's numbers for each kind of metric, as Ibis expressions that follow `experiments.kinds`.

First the events that the metrics read, with what each event adds to which metric; then the sums over spans of
a unit's time; then the unit's value, and its denominator. All are whole micro-units, at last decimal(38,0).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
from ibis.expr.operations import Node

from experiments.definitions import Metric, MetricKind, Test
from experiments.event_filters import EVERYTHING
from experiments.kinds import DETRACTOR, MAX_VALUE, PROMOTER, WITH_CURRENCY, micro_of, scale_of
from experiments.metrics import Aggregate
from experiments.moments import SCALE
from experiments.targeting import Condition
from service.lake.columns import CURRENCY, OWN_COLUMNS, Wanted
from service.lake.filters import matching
from service.lake.rows import canonical_json
from service.lake.texts import text_of

EXACT = "decimal(38, 0)"
SECOND_US = 1_000_000
LATER_ONLY = frozenset({MetricKind.RETENTION, MetricKind.CHURN})
SURVEYS = frozenset({MetricKind.NPS, MetricKind.CSAT, MetricKind.CES})
NO_COVARIATE = frozenset({Test.CONVERSION, Test.QUANTILE})


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time around the first exposure, in microseconds: from `first` on, until before `end`."""

    first: int
    end: int

    def holds(self, rows: ir.Table) -> ir.BooleanValue:
        """Say which rows of `occurred_us` and `first_us` lie inside."""
        return ibis.and_(
            rows.occurred_us >= rows.first_us + self.first, rows.occurred_us < rows.first_us + self.end
        )


def window_of(metric: Metric) -> Span:
    """Return when the events that count happen."""
    first_s = metric.after_s if metric.kind in LATER_ONLY else 0
    return Span(first_s * SECOND_US, metric.window_s * SECOND_US)


def past_of(metric: Metric) -> Span | None:
    """Return when the events of the covariate happen; None without one."""
    has_none = not metric.lookback_s or metric.kind.test in NO_COVARIATE
    return None if has_none else Span(-metric.lookback_s * SECOND_US, 0)


@dataclass(frozen=True, slots=True)
class Read:
    """The columns of `events_of` that one metric reads: which events count and divide, and what they add."""

    counts: str
    amount: str = ""
    divides: str = ""
    divisor: str = ""
    minus: str = ""


def events_of(
    events: ir.Table, wanted: Wanted, *, unit: str, metrics: Sequence[Metric]
) -> tuple[ir.Table, tuple[Read, ...]]:
    """Return the events that any metric reads: `owner`, `occurred_us` and the columns that each one reads."""
    owner = events[unit] if unit in OWN_COLUMNS else text_of(events[wanted.fact(unit)])
    columns: dict[Node, str] = {}
    reads = tuple(_read(events, wanted, metric, columns) for metric in metrics)
    told = events.filter(owner.notnull())
    return told.select(
        "occurred_us", owner=owner, **{name: node.to_expr() for node, name in columns.items()}
    ), reads


def flagged(events: ir.Table, wanted: Wanted, metric: Metric) -> ir.Table:
    """Return the events with whether each of them `counts` for a metric, and whether it `divides`."""
    columns: dict[Node, str] = {}
    read = _read(events, wanted, metric, columns)
    named = {name: node.to_expr() for node, name in columns.items()}
    divides = named[read.divides] if read.divides else ibis.literal(value=False)
    return events.mutate(counts=named[read.counts], divides=divides)


def sums_of(rows: ir.Table, read: Read, *, metric: Metric, span: Span) -> dict[str, ir.Value]:
    """Return what is added up for a unit, of its events inside `span`."""
    inside = span.holds(rows)
    mine = ibis.and_(rows[read.counts], inside)
    found = {"n": rows.count(where=mine)}
    if read.amount:
        name, aggregate = _AGGREGATES[metric.aggregate]
        found[name] = aggregate(rows[read.amount], mine)
    if read.minus:
        found["minus"] = rows[read.minus].sum(where=mine)
    if not read.divides:
        return found
    theirs = ibis.and_(rows[read.divides], inside)
    if metric.then:
        return found | {
            "since_us": rows.occurred_us.min(where=mine),
            "last_us": rows.occurred_us.max(where=theirs),
        }
    if read.divisor:
        return found | {"divisor": rows[read.divisor].sum(where=theirs)}
    return found | {"n_divisor": rows.count(where=theirs)}


def value_of(sums: Mapping[str, ir.Value], metric: Metric) -> ir.Value:
    """Return the value of a unit; null for one that does not take part."""
    return _VALUES[metric.kind](sums, metric).cast(EXACT)


def n_others_of(metric: Metric) -> int:
    """Return how many numbers a unit has beside its value: its denominator, then its covariate."""
    return int(metric.kind in _DIVISORS) + int(past_of(metric) is not None)


def divisor_of(sums: Mapping[str, ir.Value], metric: Metric) -> ir.Value | None:
    """Return the denominator of a unit; None for a kind without one."""
    rule = _DIVISORS.get(metric.kind)
    return None if rule is None else rule(sums, metric).cast(EXACT)


def _read(events: ir.Table, wanted: Wanted, metric: Metric, columns: dict[Node, str]) -> Read:
    counts, divides = _is_value(events, wanted, metric), _is_other(events, wanted, metric)
    amount = events[wanted.amount(metric.value)] if metric.value else None
    if metric.kind in SURVEYS and amount is not None:
        counts = ibis.and_(counts, _on_scale(amount, metric))
        amount = _points(amount, metric)
    divisor = events[wanted.amount(metric.per_value)] if metric.per_value else None
    minus = events[wanted.amount(metric.minus)] if metric.minus else None
    return Read(*(_named(column, columns) for column in (counts, amount, divides, divisor, minus)))


def _named(column: ir.Value | None, columns: dict[Node, str]) -> str:
    """Return the column's name: an expression that several metrics ask has one."""
    return "" if column is None else columns.setdefault(column.op(), f"c{len(columns)}")


def _is_value(events: ir.Table, wanted: Wanted, metric: Metric) -> ir.BooleanValue:
    return _of(events, wanted, metric, metric.event, metric.counts)


def _is_other(events: ir.Table, wanted: Wanted, metric: Metric) -> ir.BooleanValue | None:
    if metric.kind is MetricKind.RATIO:
        return _of(events, wanted, metric, metric.per, metric.per_counts)
    return events.type == metric.then if metric.then else None


def _of(
    events: ir.Table, wanted: Wanted, metric: Metric, event: str, condition: Condition
) -> ir.BooleanValue:
    kept = [] if condition == EVERYTHING else [matching(events, wanted, condition)]
    return ibis.and_(events.type == event, *kept, *_in_currency(events, wanted, metric))


def _in_currency(events: ir.Table, wanted: Wanted, metric: Metric) -> list[ir.BooleanValue]:
    if metric.kind not in WITH_CURRENCY or not metric.currency:
        return []
    told = events[wanted.fact(CURRENCY)]
    # Amounts of another currency are not this metric's; an event that names none is taken at its word.
    return [ibis.or_(told.isnull(), told == "null", told == canonical_json(metric.currency))]


def _on_scale(score: ir.Value, metric: Metric) -> ir.BooleanValue:
    low, high = scale_of(metric)
    return ibis.and_(score.notnull(), score.between(low * SCALE, high * SCALE))


def _points(score: ir.Value, metric: Metric) -> ir.Value:
    """Return what one answer adds."""
    if metric.kind is MetricKind.CES:
        return score
    if metric.kind is MetricKind.CSAT:
        return ibis.cases((score >= (scale_of(metric)[1] - 1) * SCALE, SCALE), else_=0)
    promoter, detractor = score >= PROMOTER * SCALE, score <= DETRACTOR * SCALE
    return ibis.cases((promoter, 100 * SCALE), (detractor, -100 * SCALE), else_=0)


def _whole(number: ir.Value) -> ir.Value:
    """Return the number of a unit, 0 for one without events."""
    return ibis.coalesce(number, ibis.literal(0)).cast(EXACT)


def _cut(number: ir.Value, limit: int = MAX_VALUE) -> ir.Value:
    exact = _whole(number)
    return ibis.least(ibis.greatest(exact, ibis.literal(-limit)), ibis.literal(limit))


def _winsorized(number: ir.Value, metric: Metric) -> ir.Value:
    cap = micro_of(metric.cap)
    return _cut(number, MAX_VALUE if cap is None else min(cap, MAX_VALUE))


def _either(yes: ir.BooleanValue) -> ir.Value:
    return ibis.cases((yes, SCALE), else_=0)


Sums = Mapping[str, ir.Value]


def _did(sums: Sums, _metric: Metric) -> ir.Value:
    return _either(sums["n"] > 0)


def _did_not(sums: Sums, _metric: Metric) -> ir.Value:
    return ibis.cases((sums["n"] > 0, 0), else_=SCALE)


def _did_twice(sums: Sums, _metric: Metric) -> ir.Value:
    return _either(sums["n"] > 1)


def _went_on(sums: Sums, _metric: Metric) -> ir.Value:
    return _either(sums["last_us"] >= sums["since_us"])


def _gave_up(sums: Sums, metric: Metric) -> ir.Value:
    return _did(sums, metric) - _went_on(sums, metric)


def _amount(sums: Sums, metric: Metric) -> ir.Value:
    if not metric.value:
        return _how_often(sums, metric)
    return _winsorized(_aggregated(sums, metric), metric)


def _aggregated(sums: Sums, metric: Metric) -> ir.Value:
    return sums[_AGGREGATES[metric.aggregate][0]]


def _how_often(sums: Sums, metric: Metric) -> ir.Value:
    return _winsorized(_whole(sums["n"]) * SCALE, metric)


def _taking_part(sums: Sums, metric: Metric) -> ir.Value:
    return ibis.cases((sums["n"] > 0, _amount(sums, metric)), else_=ibis.null(EXACT))


def _lifetime_value(sums: Sums, metric: Metric) -> ir.Value:
    return _winsorized(_worth(sums, metric), metric)


def _margin(sums: Sums, metric: Metric) -> ir.Value:
    worth = _worth(sums, metric)
    return _winsorized(worth - _cut(sums["minus"]) if metric.minus else worth, metric)


def _worth(sums: Sums, metric: Metric) -> ir.Value:
    # By parts, since only 64-bit numbers have a whole quotient; what is left of it is dropped, towards 0.
    whole, rest = divmod(micro_of(metric.factor) or 0, SCALE)
    spent = _cut(_aggregated(sums, metric))
    size = spent.abs().cast("int64")
    exact = size.cast(EXACT) * ibis.literal(whole)
    value = exact + (size // SCALE) * rest + (size % SCALE * rest) // SCALE
    return ibis.cases((spent < 0, -value), else_=value)


def _answers(sums: Sums, _metric: Metric) -> ir.Value:
    return _cut(_whole(sums["n"]) * SCALE)


def _points_in_all(sums: Sums, _metric: Metric) -> ir.Value:
    return _cut(sums["amount"])


def _per(sums: Sums, metric: Metric) -> ir.Value:
    return _cut(sums["divisor"] if metric.per_value else _whole(sums["n_divisor"]) * SCALE)


# Each has a name of its own: sums of two sets of events are added, their largest numbers are compared.
_AGGREGATES: Mapping[Aggregate, tuple[str, Callable[[ir.Value, ir.BooleanValue], ir.Value]]] = {
    Aggregate.SUM: ("amount", lambda amounts, where: amounts.sum(where=where)),
    Aggregate.MAX: ("largest", lambda amounts, where: amounts.max(where=where)),
    Aggregate.MIN: ("smallest", lambda amounts, where: amounts.min(where=where)),
}
Rule = Callable[[Sums, Metric], ir.Value]
_VALUES: Mapping[MetricKind, Rule] = {
    MetricKind.CONVERSION: _did,
    MetricKind.COUNT: _how_often,
    MetricKind.MEAN: _amount,
    MetricKind.RATIO: _amount,
    MetricKind.QUANTILE: _taking_part,
    MetricKind.NPS: _points_in_all,
    MetricKind.CSAT: _points_in_all,
    MetricKind.CES: _points_in_all,
    MetricKind.RETENTION: _did,
    MetricKind.CHURN: _did_not,
    MetricKind.REPEAT_PURCHASE: _did_twice,
    MetricKind.CART_ABANDONMENT: _gave_up,
    MetricKind.FUNNEL: _went_on,
    MetricKind.LIFETIME_VALUE: _lifetime_value,
    MetricKind.MARGIN: _margin,
}
_DIVISORS: Mapping[MetricKind, Rule] = {
    MetricKind.RATIO: _per,
    MetricKind.NPS: _answers,
    MetricKind.CSAT: _answers,
    MetricKind.CES: _answers,
    MetricKind.REPEAT_PURCHASE: _did,
    MetricKind.CART_ABANDONMENT: _did,
    MetricKind.FUNNEL: _did,
}
