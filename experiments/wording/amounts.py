"""Numbers of a metric in words: means, differences, intervals, limits, lengths of time."""

from collections.abc import Callable
from dataclasses import replace

from experiments.definitions import Direction, Guardrail, Metric, MetricKind
from experiments.estimates import Adjusted, BurnIn, Estimate, Reading
from experiments.wording.language import Language

SECONDS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
MEDIAN = 0.5
LEAST_LIFT = -1.0


def name_of(language: Language, metric: Metric) -> str:
    """Return what people call a metric."""
    name = metric.label or metric.key
    if metric.kind is not MetricKind.QUANTILE:
        return name
    if metric.quantile == MEDIAN:
        return language.say("median", metric=name)
    return language.say("quantile", metric=name, share=language.short_share(metric.quantile))


def mean_of(language: Language, metric: Metric, value: float) -> str:
    """Return an estimate of one variant: a share, money, or a plain number."""
    if metric.kind.is_share:
        return language.rate(value)
    if metric.currency:
        return language.money(value, metric.currency)
    return f"{language.plain(value)} {metric.unit}".rstrip()


def size_of(language: Language, metric: Metric, value: float) -> str:
    """Return a difference without its sign; shares differ by percentage points, not by per cent."""
    if metric.kind.is_share:
        return language.say("points", number=language.points(abs(value)))
    if metric.kind.in_points:
        return language.say("score_points", number=language.plain(abs(value)))
    return mean_of(language, metric, abs(value))


def lift_of(language: Language, value: float) -> str:
    """Return a lift with its sign."""
    return language.signed(language.share(abs(value)), value)


def limit_of(language: Language, metric: Metric, margin: Guardrail) -> str:
    """Return how much worse a guardrail may get, with the sign of what is worse."""
    worse = 1.0 if metric.direction is Direction.DOWN else -1.0
    if margin.relative:
        return language.signed(language.short_share(margin.margin), worse)
    return language.signed(size_of(language, metric, margin.margin), worse)


def bound_of(language: Language, metric: Metric, margin: Guardrail, value: float) -> str:
    """Return one end of a guardrail's interval, in the terms of its margin."""
    if margin.relative:
        return lift_of(language, value)
    return language.signed(size_of(language, metric, value), value)


def interval_of(language: Language, reading: Reading, *, brief: bool = False) -> str:
    """Return a lift with its interval; where there is none to speak of, the difference with its own."""
    lift, effect, in_points = reading.lift, reading.effect, reading.metric.kind.in_points
    if lift is not None and lift.estimate is not None and not in_points:
        return _range(language, reading, lift, _lifts(language), brief=brief)
    text = _range(language, reading, effect or Estimate(None), _sizes(language, reading.metric), brief=brief)
    return text if in_points else language.say("interval.absolute", interval=text)


def is_open(reading: Reading) -> bool:
    """Return whether an interval of the lift rules nothing out yet."""
    lift = reading.lift
    if lift is None or lift.estimate is None or reading.metric.kind.in_points or lift.upper is not None:
        return False
    return lift.lower is not None and lift.lower <= LEAST_LIFT


def unadjusted_interval_of(language: Language, reading: Reading, adjusted: Adjusted) -> str:
    """Return what `interval_of` would say without covariates."""
    plain = replace(reading, lift=adjusted.lift, effect=adjusted.effect)
    return interval_of(language, plain, brief=True)


def missing_for(language: Language, missing: BurnIn) -> str:
    """Return what a metric needs before it has an interval, and how much of it is there."""
    needed, so_far = language.whole(missing.needed), language.whole(missing.so_far)
    return language.say(f"burn_in.{missing.of.name.lower()}", needed=needed, so_far=so_far)


def time_of(language: Language, seconds: int, *, message: str = "") -> str:
    """Return a length of time in the largest unit that holds it without a rest."""
    unit = next(unit for unit, length in SECONDS.items() if seconds % length == 0)
    return language.say(f"{message}{unit}", n=seconds // SECONDS[unit])


def _lifts(language: Language) -> Callable[[float], str]:
    def write(value: float) -> str:
        return lift_of(language, value)

    return write


def _sizes(language: Language, metric: Metric) -> Callable[[float], str]:
    def write(value: float) -> str:
        return language.signed(size_of(language, metric, value), value)

    return write


def _range(
    language: Language, reading: Reading, found: Estimate, write: Callable[[float], str], *, brief: bool
) -> str:
    centre = language.say("interval.unknown") if found.estimate is None else write(found.estimate)
    if reading.burn_in is not None:
        missing = missing_for(language, reading.burn_in)
        return language.say("interval.burn_in", estimate=centre, missing=missing)
    if found.lower is None and found.upper is None:
        return language.say("interval.none", estimate=centre)
    low = language.say("interval.no_low") if found.lower is None else write(found.lower)
    high = language.say("interval.no_high") if found.upper is None else write(found.upper)
    if brief or reading.level is None:
        return language.say("interval.short", estimate=centre, low=low, high=high)
    level = language.short_share(1 - reading.level)
    return language.say("interval", estimate=centre, low=low, high=high, level=level)
