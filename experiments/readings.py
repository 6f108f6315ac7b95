"""What each metric says at one look: one call per test for all comparisons, one level per family."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from experiments.burn_in import burn_in_of
from experiments.comparisons import (
    ByDay,
    Pair,
    by_day,
    estimate_of,
    infer,
    infer_unadjusted,
    is_adjusted,
)
from experiments.definitions import Direction, Experiment, Guardrail, Metric, Test
from experiments.errors import InvalidParameterError
from experiments.estimates import Adjusted, BurnIn, Estimate, Reading
from experiments.evidence import Evidence, PeriodMoments
from experiments.inference.interval import FloatArray, Inference, IntArray, Intervals
from experiments.inference.multiplicity import shared_level
from experiments.power import alpha_per_treatment, planned_total
from experiments.sequential import MAX_LOG_E
from experiments.states import MetricState, Role

ByMetric = Mapping[tuple[str, str], ByDay]


class Asked(NamedTuple):
    """One comparison of the plan."""

    role: Role
    margin: Guardrail | None
    variant: str
    pair: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the arrays say of one comparison. Interval, p-value, e-value and `side` never disagree.

    Attributes
    ----------
    level : float
        Of the intervals.
    side : int
        1 or -1 when "no difference" is rejected at `level` and the treatment is above or below; else 0.
    p_value, e_value : float or None
        None before the burn-in, and of a guardrail.
    """

    level: float
    effect: Estimate
    lift: Estimate
    side: int
    p_value: float | None
    e_value: float | None


def read_metrics(
    experiment: Experiment, metrics: Mapping[str, Metric], evidence: Evidence
) -> tuple[Reading, ...]:
    """Read every metric of the plan: primary, secondary, guardrails; control first, then each treatment.

    The primary metric over all treatments is one family, and all secondary metrics over all treatments are
    another: of what a family calls different, at most a share alpha is not, on average (e-BH), and its
    intervals have one level. A guardrail stands alone: each of its two bounds spends alpha. Exploratory
    metrics that are no guardrails are a third family: what was planned is judged as if they were not there.

    Parameters
    ----------
    experiment : Experiment
        Names metrics, roles and margins.
    metrics : mapping of str to Metric
        Definitions.
    evidence : Evidence
        Only its closed periods count.

    Returns
    -------
    tuple of Reading

    Raises
    ------
    InvalidParameterError
        If a metric has no definition.

    References
    ----------
    .. [1] Wang, Ramdas (2022), "False discovery rate control with e-values", JRSS B 84(3).
    .. [2] docs/decisions/0003-statistics.md

    Examples
    --------
    >>> [role.value for role in Role]
    ['primary', 'secondary', 'guardrail']
    """
    asked = comparisons(experiment, metrics, evidence.closed_periods())
    readings: list[Reading] = []
    exploratory = evidence.exploratory
    for one, seen, adjusted in zip(asked, *_look(experiment, asked, exploratory), strict=True):
        metric, pair = one.pair.metric, one.pair
        burn_in = burn_in_of(metric, pair.treatment, pair.control)
        if one.variant == experiment.variants[1].key:
            readings.append(
                Reading(
                    metric=metric,
                    role=one.role,
                    variant=experiment.control.key,
                    n=pair.control.n,
                    estimate=estimate_of(metric, pair.control),
                    state=MetricState.CONTROL,
                    margin=one.margin,
                    exploratory=metric.key in exploratory,
                )
            )
        readings.append(
            Reading(
                metric=metric,
                role=one.role,
                variant=one.variant,
                n=pair.treatment.n,
                estimate=estimate_of(metric, pair.treatment),
                state=_state(experiment, one, seen, burn_in),
                effect=seen.effect,
                lift=seen.lift,
                p_value=seen.p_value,
                e_value=seen.e_value,
                margin=one.margin,
                level=seen.level,
                adjusted=adjusted,
                burn_in=burn_in,
                exploratory=metric.key in exploratory,
            )
        )
    return tuple(readings)


def comparisons(
    experiment: Experiment, metrics: Mapping[str, Metric], periods: Sequence[PeriodMoments]
) -> list[Asked]:
    """Return every comparison of a plan, in the order of its metrics, then of its treatments.

    Parameters
    ----------
    experiment : Experiment
        Names metrics, roles and margins.
    metrics : mapping of str to Metric
        Definitions.
    periods : sequence of PeriodMoments
        Closed ones, in any order.

    Returns
    -------
    list of Asked

    Raises
    ------
    InvalidParameterError
        If a metric has no definition.
    """
    plan, days = experiment.metrics, by_day(periods)
    wanted: list[tuple[str, Role, Guardrail | None]] = [(plan.primary, Role.PRIMARY, None)]
    wanted += [(key, Role.SECONDARY, None) for key in plan.secondary]
    wanted += [(g.metric, Role.GUARDRAIL, g) for g in plan.guardrails]
    asked: list[Asked] = []
    for key, role, margin in wanted:
        if key not in metrics:
            raise InvalidParameterError(f"experiment {experiment.key!r} names the unknown metric {key!r}")
        pairs = _pairs_of(experiment, metrics[key], days)
        asked += [Asked(role, margin, variant, pair) for variant, pair in pairs.items()]
    return asked


def estimates_of(found: Intervals) -> list[Estimate]:
    """Return intervals one by one; what is not a finite number is None.

    Parameters
    ----------
    found : Intervals
        Of k comparisons.

    Returns
    -------
    list of Estimate

    Examples
    --------
    >>> estimates_of(Intervals(np.array([0.5]), np.array([0.1]), np.array([np.inf])))
    [Estimate(estimate=0.5, lower=0.1, upper=None)]
    """
    rows = zip(found.estimate.tolist(), found.lower.tolist(), found.upper.tolist(), strict=True)
    return [Estimate(*(end if math.isfinite(end) else None for end in row)) for row in rows]


class _Group(NamedTuple):
    """The comparisons that one test judges: where they stand, and what it says of them."""

    rows: IntArray
    inference: Inference
    one_sided: bool

    def estimates(self, level: FloatArray) -> list[tuple[Estimate, Estimate]]:
        """Return effect and lift of each comparison."""
        mine = level[self.rows]
        found = self.inference.one_sided(mine) if self.one_sided else self.inference.two_sided(mine)
        return list(zip(estimates_of(found.effect), estimates_of(found.lift), strict=True))


def two_sided_of(
    experiment: Experiment, metric: Metric, evidence: Evidence
) -> Mapping[str, tuple[Estimate, int]]:
    """Return the difference of each treatment in one metric, by itself at the plan's level, and its units.

    Parameters
    ----------
    experiment : Experiment
        The plan; it need not name the metric.
    metric : Metric
    evidence : Evidence
        Only its closed periods count.

    Returns
    -------
    mapping of treatment to (Estimate, int)
        In the metric's unit; no end before the burn-in.
    """
    pairs = _pairs_of(experiment, metric, by_day(evidence.closed_periods()))
    alpha = experiment.analysis.alpha
    found = infer(
        metric.test, list(pairs.values()), plan=experiment.analysis, alpha=alpha_per_treatment(experiment)
    )
    effects = estimates_of(found.two_sided(np.full(len(pairs), alpha)).effect)
    return {key: (one, pairs[key].treatment.n) for key, one in zip(pairs, effects, strict=True)}


def _pairs_of(experiment: Experiment, metric: Metric, days: ByMetric) -> dict[str, Pair]:
    """Return each treatment beside control."""
    control = days.get((metric.key, experiment.control.key), {})
    return {
        variant.key: Pair.of(
            metric,
            n_star=planned_total(experiment, variant.key),
            treatment=days.get((metric.key, variant.key), {}),
            control=control,
        )
        for variant in experiment.variants[1:]
    }


def _look(
    experiment: Experiment, asked: Sequence[Asked], exploratory: Set[str]
) -> tuple[list[Seen], list[Adjusted | None]]:
    """Return what is seen of each comparison, and what covariates did to it."""
    groups = [
        _Group(
            rows,
            infer(test, pairs, plan=experiment.analysis, alpha=alpha_per_treatment(experiment)),
            one_sided,
        )
        for test, one_sided, rows, pairs in _by_test(asked)
    ]
    alpha = experiment.analysis.alpha
    log_e, level = np.full(len(asked), np.nan), np.full(len(asked), alpha)
    for group in groups:
        if not group.one_sided:
            log_e[group.rows] = group.inference.log_e
    families: dict[tuple[Role, bool], list[int]] = {}
    for i, one in enumerate(asked):
        if one.margin is None:
            is_exploratory = one.pair.metric.key in exploratory
            role = Role.SECONDARY if is_exploratory else one.role
            families.setdefault((role, is_exploratory), []).append(i)
    for family in families.values():
        level[family] = shared_level(log_e[family], alpha=alpha)
    seen = {
        row: _seen(log_e[row], level[row], effect, lift)
        for group in groups
        for row, (effect, lift) in zip(group.rows.tolist(), group.estimates(level), strict=True)
    }
    unadjusted = _unadjusted(experiment, asked, level)
    return [seen[i] for i in range(len(asked))], [unadjusted.get(i) for i in range(len(asked))]


def _by_test(asked: Sequence[Asked]) -> Iterator[tuple[Test, bool, IntArray, list[Pair]]]:
    for test, one_sided in product(Test, (False, True)):
        rows = [
            i
            for i, one in enumerate(asked)
            if one.pair.metric.test is test and (one.margin is not None) is one_sided
        ]
        if rows:
            yield test, one_sided, np.array(rows), [asked[i].pair for i in rows]


def _unadjusted(experiment: Experiment, asked: Sequence[Asked], level: FloatArray) -> dict[int, Adjusted]:
    """Return, for comparisons with covariates, what they would be without, at the same level."""
    found: dict[int, Adjusted] = {}
    for test, one_sided, rows, pairs in _by_test(asked):
        kept = [i for i, pair in enumerate(pairs) if is_adjusted(pair)]
        if not kept:
            continue
        plain, ratios = infer_unadjusted(
            test, [pairs[i] for i in kept], alpha=alpha_per_treatment(experiment)
        )
        group = _Group(rows[kept], plain, one_sided)
        for row, ratio, (effect, lift) in zip(
            group.rows.tolist(), ratios.tolist(), group.estimates(level), strict=True
        ):
            # Not a number where nothing varies: then nothing was adjusted either.
            if math.isfinite(ratio):
                found[row] = Adjusted(variance_ratio=ratio, effect=effect, lift=lift)
    return found


def _seen(log_e: float, level: float, effect: Estimate, lift: Estimate) -> Seen:
    side = 0
    if effect.lower is not None and effect.lower > 0:
        side = 1
    elif effect.upper is not None and effect.upper < 0:
        side = -1
    if math.isnan(log_e):
        return Seen(level=level, effect=effect, lift=lift, side=side, p_value=None, e_value=None)
    # What is equal on paper may differ in the last digit: the interval has the last word.
    p_value, e_value = math.exp(-max(log_e, 0.0)), math.exp(min(log_e, MAX_LOG_E))
    p_value = min(p_value, level) if side else max(p_value, math.nextafter(level, 1))
    e_value = max(e_value, 1 / level) if side else min(e_value, math.nextafter(1 / level, 0))
    return Seen(level=level, effect=effect, lift=lift, side=side, p_value=p_value, e_value=e_value)


def _state(experiment: Experiment, one: Asked, seen: Seen, burn_in: BurnIn | None) -> MetricState:
    metric = one.pair.metric
    if burn_in is not None:
        return MetricState.BURN_IN
    if one.margin is not None:
        return _guardrail_state(one.margin, metric, seen)
    if seen.side:
        good = 1 if metric.direction is Direction.UP else -1
        return MetricState.BETTER if seen.side == good else MetricState.WORSE
    low, high, mde = seen.lift.lower, seen.lift.upper, experiment.analysis.mde
    if one.role is Role.PRIMARY and low is not None and high is not None and -mde < low and high < mde:
        return MetricState.NO_EFFECT
    return MetricState.NOT_YET_KNOWN


def _guardrail_state(margin: Guardrail, metric: Metric, seen: Seen) -> MetricState:
    interval = seen.lift if margin.relative else seen.effect
    low, high = interval.lower, interval.upper
    if metric.direction is Direction.DOWN:
        # Mirror, so that "below minus the margin" is bad for every metric.
        low, high = (None if high is None else -high), (None if low is None else -low)
    if high is not None and high < -margin.margin:
        return MetricState.WORSE
    if low is not None and low > -margin.margin:
        return MetricState.SAFE
    return MetricState.NOT_YET_KNOWN
