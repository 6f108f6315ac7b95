"""What each kind of metric counts, exactly: from one unit's events to its whole numbers of micro-units.

The lake computes the same in bulk, and tests compare it with this. Rules for all kinds:

- Time is whole microseconds since the unit's first exposure. The window holds its start and not its end,
  [0, window): an event at the very moment of the exposure counts. Only the times of events matter, never the
  order in which they arrived.
- `where` keeps the events of `event` that `experiments.event_filters` says, `per_where` those of `per`.
  Events of `then` are never filtered.
- With a `currency`, an event of `event` or `per` that names another one does not count; one that names none
  does. Kinds that add up no amounts ignore it.
- An amount is a number among the event's own properties, in micro-units, rounded half to even. A property
  that is absent or no number adds 0 to a sum. `aggregate: max` and `min` pass it over; they give 0 where no
  event has a number.
- Winsorizing: the value of a unit is cut to [-cap, cap], and any number to 10^9 units either way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from experiments.event_filters import matches
from experiments.metric_kinds import MetricKind, Test
from experiments.metrics import Aggregate, Metric
from experiments.micro_units import MAX_AMOUNT as MAX_AMOUNT  # noqa: PLC0414 - for importers of this module
from experiments.micro_units import cut
from experiments.micro_units import micro_of as micro_of  # noqa: PLC0414 - likewise
from experiments.moments import SCALE
from experiments.values import JsonValue, is_plain, same_plain

MAX_VALUE = 10**15  # one unit is never worth more: 10^8 such units squared still fit 38 digits
SECOND_US = 1_000_000
NPS_SCALE = (0, 10)
PROMOTER, DETRACTOR = 9, 6
SCALES = MappingProxyType({MetricKind.CSAT: (1, 5), MetricKind.CES: (1, 7)})  # unless the metric says another
WITH_CURRENCY = frozenset(
    {
        MetricKind.MEAN,
        MetricKind.RATIO,
        MetricKind.QUANTILE,
        MetricKind.LIFETIME_VALUE,
        MetricKind.MARGIN,
    }
)
_CHOSEN: Mapping[Aggregate, Callable[[Sequence[int]], int]] = {Aggregate.MAX: max, Aggregate.MIN: min}
_NO_PROPERTIES: Mapping[str, JsonValue] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """One event of a unit.

    Attributes
    ----------
    at_us : int
        Microseconds since the unit's first exposure; negative before it.
    """

    type: str
    at_us: int
    properties: Mapping[str, JsonValue] = field(default_factory=lambda: _NO_PROPERTIES)


def numbers_of(metric: Metric, events: Sequence[SeenEvent]) -> tuple[int, ...] | None:
    """Return a unit's numbers in the window: its value and, of what is tested as a ratio, the denominator.

    ================ ===================================================================================
    conversion       1 if it did it at all
    count            how often
    mean             the sum of `value` (or its `max` or `min`: `aggregate`)
    ratio            the sum of `value`, or how often, over the sum of `per_value`, or how often `per`
    quantile         the sum of `value`; only units that did it take part
    nps              per answer +100 (9 or 10), -100 (0 to 6) or 0, over answers
    csat             answers that gave one of the two highest scores, over answers
    ces              the sum of scores over answers
    retention        1 if it did it in [after, window)
    churn            1 if it did not do it in [after, window)
    repeat_purchase  1 if at least twice, over 1 if at least once
    cart_abandonment 1 if no `then` came at or after the first of them, over 1 if it did it at all
    funnel           1 if a `then` came at or after the first of them, over 1 if it did it at all
    lifetime_value   `factor` times the sum of `value`
    margin           `factor` times the sum of `value`, less the sum of `minus`
    ================ ===================================================================================

    Whoever did nothing has the value 0 (churn: 1) and the denominator 0. A score off the `scale` is no
    answer; NPS is always 0 to 10, CSAT 1 to 5 and CES 1 to 7 unless the metric says otherwise.
    `then` is another event than `event`: at the same moment it counts as after it.
    A factor counts to its sixth decimal; what is left of a micro-unit is dropped, towards zero. Of a margin
    the sums are cut to 10^9 units before, and the difference is winsorized.

    Parameters
    ----------
    metric : Metric
        Its window must have ended for this unit: until then nothing is known, and a churn is censored.
    events : sequence of SeenEvent
        All of the unit's, in any order; those of other types and times are left out here.

    Returns
    -------
    tuple of int, or None
        In micro-units; None: the unit does not take part.

    Examples
    --------
    >>> def metric(kind, **more):
    ...     return Metric(key="m", kind=MetricKind(kind), **{"event": "Order", "window_s": 7 * 86_400} | more)
    >>> def on(day, type="Order", **properties):
    ...     return SeenEvent(type, day * 86_400 * SECOND_US, properties)

    Two orders, of 20 and of 30, on the first and on the third day; then one on day 8, too late:

    >>> orders = [on(0, total=20), on(2, total=30), on(8, total=999)]
    >>> numbers_of(metric("conversion"), orders)
    (1000000,)
    >>> numbers_of(metric("count"), orders)
    (2000000,)
    >>> numbers_of(metric("mean", value="total"), orders)
    (50000000,)
    >>> numbers_of(metric("mean", value="total", cap=40), orders)
    (40000000,)
    >>> numbers_of(metric("lifetime_value", value="total", factor=0.3), orders)
    (15000000,)
    >>> numbers_of(metric("mean", value="total", aggregate=Aggregate.MAX), orders)
    (30000000,)
    >>> numbers_of(metric("margin", value="total", factor=0.3, minus="voucher"), [on(0, total=20, voucher=5)])
    (1000000,)
    >>> numbers_of(metric("repeat_purchase"), orders)
    (1000000, 1000000)

    What an order is worth, and how many orders a visit brings:

    >>> numbers_of(metric("ratio", value="total", per="Order"), orders)
    (50000000, 2000000)
    >>> numbers_of(metric("ratio", per="Visit"), [*orders, on(0, "Visit"), on(2, "Visit"), on(3, "Visit")])
    (2000000, 3000000)

    The median of what buyers spend: who bought nothing has no part in it.

    >>> spent = metric("quantile", value="total")
    >>> numbers_of(spent, orders), numbers_of(spent, [])
    ((50000000,), None)

    Did they come back from the second day on, or not?

    >>> numbers_of(metric("retention", after_s=86_400), orders)
    (1000000,)
    >>> numbers_of(metric("churn", after_s=3 * 86_400), orders)
    (1000000,)

    A cart on day 1 and an order on day 2: the step was taken, the cart was not abandoned.

    >>> cart = [on(1, "Cart"), on(2, "Order")]
    >>> numbers_of(metric("funnel", event="Cart", then="Order"), cart)
    (1000000, 1000000)
    >>> numbers_of(metric("cart_abandonment", event="Cart", then="Order"), cart)
    (0, 1000000)

    Answers of 10, 7 and 3 (11 is on no scale) to "how likely are you to recommend us?": 100 + 0 - 100 over 3.

    >>> answers = [on(day, "Answer", score=score) for day, score in enumerate((10, 7, 3, 11))]
    >>> numbers_of(metric("nps", event="Answer", value="score"), answers)
    (0, 3000000)
    >>> numbers_of(metric("csat", event="Answer", value="score", scale=(1, 10)), answers)
    (1000000, 3000000)
    >>> numbers_of(metric("ces", event="Answer", value="score", scale=(1, 7)), answers)
    (10000000, 2000000)
    """
    if metric.kind is MetricKind.QUANTILE and not list(_matching(metric, _inside(metric, events))):
        return None
    return tuple(rule(metric, events) for rule in _RULES[metric.kind])


def before_of(metric: Metric, events: Sequence[SeenEvent]) -> tuple[int, ...]:
    """Return a unit's covariate: its value, not its denominator, in the `lookback_s` before exposure.

    Parameters
    ----------
    metric : Metric
        Conversions and quantiles, and what is tested as one, have no covariate.
    events : sequence of SeenEvent
        All of the unit's; those in [-lookback, 0) count.

    Returns
    -------
    tuple of int
        In micro-units; empty without a covariate. A unit without a past has 0.

    Examples
    --------
    >>> spend = Metric(
    ...     key="m", kind=MetricKind.MEAN, event="Order", value="total", window_s=86_400, lookback_s=86_400
    ... )
    >>> before_of(spend, [SeenEvent("Order", -1, {"total": 20}), SeenEvent("Order", 0, {"total": 30})])
    (20000000,)
    """
    if not metric.lookback_s or metric.kind.test in (Test.CONVERSION, Test.QUANTILE):
        return ()
    past = replace(metric, window_s=metric.lookback_s, lookback_s=0, after_s=0)
    shift = metric.lookback_s * SECOND_US
    return (_RULES[metric.kind][0](past, [replace(e, at_us=e.at_us + shift) for e in events]),)


def scale_of(metric: Metric) -> tuple[int, int]:
    """Return the lowest and the highest score that a survey metric counts as an answer.

    Parameters
    ----------
    metric : Metric
        An NPS, CSAT or CES.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> scale_of(Metric(key="s", kind=MetricKind.CSAT, event="Answered", window_s=1, value="score"))
    (1, 5)
    """
    return NPS_SCALE if metric.kind is MetricKind.NPS else metric.scale or SCALES[metric.kind]


def _inside(metric: Metric, events: Sequence[SeenEvent]) -> list[SeenEvent]:
    first_us = metric.after_s * SECOND_US if metric.kind in (MetricKind.RETENTION, MetricKind.CHURN) else 0
    return [e for e in events if first_us <= e.at_us < metric.window_s * SECOND_US]


def _matching(metric: Metric, inside: Sequence[SeenEvent]) -> Iterator[SeenEvent]:
    """Yield the events of `event`."""
    for event in inside:
        mine = event.type == metric.event and matches(metric.counts, event.properties)
        if mine and _in_currency(metric, event):
            yield event


def _in_currency(metric: Metric, event: SeenEvent) -> bool:
    if not metric.currency or metric.kind not in WITH_CURRENCY:
        return True
    told = event.properties.get("currency")
    # The lake keeps no facts of lists and objects: they name no currency.
    return told is None or not is_plain(told) or same_plain(told, metric.currency)


def _sum(events: Sequence[SeenEvent], name: str) -> int:
    if not name:
        return len(events) * SCALE
    return sum(_amounts(events, name))


def _amounts(events: Sequence[SeenEvent], name: str) -> list[int]:
    told = (micro_of(event.properties.get(name)) for event in events)
    return [amount for amount in told if amount is not None]


def _times(metric: Metric, events: Sequence[SeenEvent]) -> list[int]:
    return sorted(event.at_us for event in _matching(metric, _inside(metric, events)))


def _did(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return SCALE * bool(_times(metric, events))


def _did_not(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return SCALE - _did(metric, events)


def _did_twice(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return SCALE * (len(_times(metric, events)) > 1)


def _went_on(metric: Metric, events: Sequence[SeenEvent]) -> int:
    times = _times(metric, events)
    later = [e for e in _inside(metric, events) if e.type == metric.then and times and e.at_us >= times[0]]
    return SCALE * bool(later)


def _gave_up(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return _did(metric, events) - _went_on(metric, events)


def _how_often(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return _winsorized(metric, SCALE * len(_times(metric, events)))


def _amount(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return _winsorized(metric, _aggregated(metric, list(_matching(metric, _inside(metric, events)))))


def _aggregated(metric: Metric, found: Sequence[SeenEvent]) -> int:
    if metric.aggregate is Aggregate.SUM or not metric.value:
        return _sum(found, metric.value)
    amounts = _amounts(found, metric.value)
    return _CHOSEN[metric.aggregate](amounts) if amounts else 0


def _lifetime_value(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return _winsorized(metric, _worth(metric, list(_matching(metric, _inside(metric, events)))))


def _worth(metric: Metric, found: Sequence[SeenEvent]) -> int:
    product = cut(_aggregated(metric, found), MAX_VALUE) * (micro_of(metric.factor) or 0)
    return product // SCALE if product >= 0 else -(-product // SCALE)


def _margin(metric: Metric, events: Sequence[SeenEvent]) -> int:
    found = list(_matching(metric, _inside(metric, events)))
    given = cut(sum(_amounts(found, metric.minus)), MAX_VALUE) if metric.minus else 0
    return _winsorized(metric, _worth(metric, found) - given)


def _winsorized(metric: Metric, number: int) -> int:
    cap = micro_of(metric.cap)
    return cut(number, MAX_VALUE if cap is None else min(cap, MAX_VALUE))


def _per(metric: Metric, events: Sequence[SeenEvent]) -> int:
    inside = _inside(metric, events)
    theirs = [e for e in inside if e.type == metric.per and matches(metric.per_counts, e.properties)]
    found = [e for e in theirs if _in_currency(metric, e)]
    return cut(_sum(found, metric.per_value), MAX_VALUE)


def _scores(metric: Metric, events: Sequence[SeenEvent]) -> list[int]:
    """Return the scores on the scale, in micro-units."""
    low, high = scale_of(metric)
    told = _amounts(list(_matching(metric, _inside(metric, events))), metric.value)
    return [score for score in told if low * SCALE <= score <= high * SCALE]


def _answers(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return cut(SCALE * len(_scores(metric, events)), MAX_VALUE)


def _promoters_less_detractors(metric: Metric, events: Sequence[SeenEvent]) -> int:
    scores = _scores(metric, events)
    above = sum(score >= PROMOTER * SCALE for score in scores)
    below = sum(score <= DETRACTOR * SCALE for score in scores)
    return cut(100 * SCALE * (above - below), MAX_VALUE)


def _satisfied(metric: Metric, events: Sequence[SeenEvent]) -> int:
    _, high = scale_of(metric)
    return cut(SCALE * sum(score >= (high - 1) * SCALE for score in _scores(metric, events)), MAX_VALUE)


def _score_sum(metric: Metric, events: Sequence[SeenEvent]) -> int:
    return cut(sum(_scores(metric, events)), MAX_VALUE)


_Rule = Callable[[Metric, Sequence[SeenEvent]], int]
_RULES: Mapping[MetricKind, tuple[_Rule, ...]] = {
    MetricKind.CONVERSION: (_did,),
    MetricKind.COUNT: (_how_often,),
    MetricKind.MEAN: (_amount,),
    MetricKind.RATIO: (_amount, _per),
    MetricKind.QUANTILE: (_amount,),
    MetricKind.NPS: (_promoters_less_detractors, _answers),
    MetricKind.CSAT: (_satisfied, _answers),
    MetricKind.CES: (_score_sum, _answers),
    MetricKind.RETENTION: (_did,),
    MetricKind.CHURN: (_did_not,),
    MetricKind.REPEAT_PURCHASE: (_did_twice, _did),
    MetricKind.CART_ABANDONMENT: (_gave_up, _did),
    MetricKind.FUNNEL: (_went_on, _did),
    MetricKind.LIFETIME_VALUE: (_lifetime_value,),
    MetricKind.MARGIN: (_margin,),
}
