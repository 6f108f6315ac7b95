"""A unit's numbers for each kind of metric, as Ibis expressions that follow `experiments.kinds`.

First the events that a metric reads, with what each of them adds; then their sums over a unit's span of time;
then the unit's value, and its denominator. All are whole micro-units, as decimal(38,0).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from experiments.definitions import Metric, MetricKind, Test
from experiments.kinds import DETRACTOR, MAX_VALUE, PROMOTER, WITH_CURRENCY, micro_of, scale_of
from experiments.moments import SCALE
from service.lake.rows import canonical_json
from service.lake.texts import text_fact

EXACT = "decimal(38, 0)"
SECOND_US = 1_000_000
OWN_COLUMNS = frozenset({"user_id", "anonymous_id"})
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


def events_of(events: ir.Table, *, unit: str, metric: Metric) -> ir.Table:
    """Return the events that a metric reads: `occurred_us`, `owner`, and what each adds to the sums."""
    owner = events[unit] if unit in OWN_COLUMNS else text_fact(events, unit)
    of_value, of_other = _is_value(events, metric), _is_other(events, metric)
    amount = events.amounts.get(metric.value) if metric.value else None
    columns: dict[str, ir.Value] = {}
    if metric.kind in SURVEYS and amount is not None:
        of_value = ibis.and_(of_value, _on_scale(amount, metric))
        amount = _points(amount, metric)
    if amount is not None:
        columns["amount"] = ibis.coalesce(amount, 0).cast(EXACT)
    if of_other is None:
        return events.filter(of_value, owner.notnull()).select("occurred_us", owner=owner, **columns)
    if metric.per_value:
        columns["divisor"] = ibis.coalesce(events.amounts.get(metric.per_value), 0).cast(EXACT)
    either = events.filter(ibis.or_(of_value, of_other), owner.notnull())
    return either.select("occurred_us", owner=owner, counts=of_value, divides=of_other, **columns)


def sums_of(rows: ir.Table, *, metric: Metric, span: Span | None) -> dict[str, ir.Value]:
    """Return what is added up for a unit; of rows of several spans only those of `span` count."""
    inside = span.holds(rows) if span else None
    if "counts" not in rows.columns:
        return _sum("n", "amount", rows, where=inside)
    mine = rows.counts if inside is None else ibis.and_(rows.counts, inside)
    theirs = rows.divides if inside is None else ibis.and_(rows.divides, inside)
    if metric.then:
        return {
            "n": rows.counts.count(where=mine),
            "since_us": rows.occurred_us.min(where=mine),
            "last_us": rows.occurred_us.max(where=theirs),
        }
    return _sum("n", "amount", rows, where=mine) | _sum("n_divisor", "divisor", rows, where=theirs)


def value_of(sums: Mapping[str, ir.Value], metric: Metric) -> ir.Value:
    """Return the value of a unit; null for one that does not take part."""
    return _VALUES[metric.kind](sums, metric).cast(EXACT)


def divisor_of(sums: Mapping[str, ir.Value], metric: Metric) -> ir.Value | None:
    """Return the denominator of a unit; None for a kind without one."""
    rule = _DIVISORS.get(metric.kind)
    return None if rule is None else rule(sums, metric).cast(EXACT)


def _is_value(events: ir.Table, metric: Metric) -> ir.BooleanValue:
    wanted = [events.facts.get(name) == canonical_json(value) for name, value in metric.where.items()]
    return ibis.and_(events.type == metric.event, *wanted, *_in_currency(events, metric))


def _is_other(events: ir.Table, metric: Metric) -> ir.BooleanValue | None:
    if metric.kind is MetricKind.RATIO:
        return ibis.and_(events.type == metric.per, *_in_currency(events, metric))
    return events.type == metric.then if metric.then else None


def _in_currency(events: ir.Table, metric: Metric) -> list[ir.BooleanValue]:
    if metric.kind not in WITH_CURRENCY or not metric.currency:
        return []
    told = events.facts.get("currency")
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


def _sum(n: str, amount: str, rows: ir.Table, *, where: ir.BooleanValue | None) -> dict[str, ir.Value]:
    counted = {n: rows.count(where=where)}
    return counted | {amount: rows[amount].sum(where=where)} if amount in rows.columns else counted


def _whole(number: ir.Value) -> ir.Value:
    """Return the number of a unit, 0 for one without events."""
    return ibis.coalesce(number, ibis.literal(0)).cast(EXACT)


def _cut(number: ir.Value, limit: int = MAX_VALUE) -> ir.Value:
    exact = _whole(number)
    return ibis.least(ibis.greatest(exact, ibis.literal(-limit)), ibis.literal(limit))


def _winsorized(number: ir.Value, metric: Metric) -> ir.Value:
    cap = MAX_VALUE if metric.cap is None else min(MAX_VALUE, micro_of(metric.cap) or MAX_VALUE)
    return _cut(number, cap)


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
    return _winsorized(sums["amount"], metric) if metric.value else _how_often(sums, metric)


def _how_often(sums: Sums, metric: Metric) -> ir.Value:
    return _winsorized(_whole(sums["n"]) * SCALE, metric)


def _taking_part(sums: Sums, metric: Metric) -> ir.Value:
    return ibis.cases((sums["n"] > 0, _amount(sums, metric)), else_=ibis.null(EXACT))


def _lifetime_value(sums: Sums, metric: Metric) -> ir.Value:
    # By parts, since only 64-bit numbers have a whole quotient; what is left of it is dropped, towards 0.
    whole, rest = divmod(micro_of(metric.factor) or 0, SCALE)
    spent = _cut(sums["amount"])
    size = spent.abs().cast("int64")
    exact = size.cast(EXACT) * ibis.literal(whole)
    value = exact + (size // SCALE) * rest + (size % SCALE * rest) // SCALE
    return _winsorized(ibis.cases((spent < 0, -value), else_=value), metric)


def _answers(sums: Sums, _metric: Metric) -> ir.Value:
    return _cut(_whole(sums["n"]) * SCALE)


def _points_in_all(sums: Sums, _metric: Metric) -> ir.Value:
    return _cut(sums["amount"])


def _per(sums: Sums, metric: Metric) -> ir.Value:
    return _cut(sums["divisor"] if metric.per_value else _whole(sums["n_divisor"]) * SCALE)


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
