"""What a treatment earns: the difference in money per unit, less what it costs, and what that adds up to."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from experiments.decision import Case
from experiments.definitions import Direction, Experiment, Metric, MetricKind
from experiments.estimates import Estimate
from experiments.evidence import Arrivals, Enrolled
from experiments.lifecycle import TOTAL_BP
from experiments.metrics import Aggregate
from experiments.readings import two_sided_of
from experiments.states import Role

PER_UNIT = frozenset({MetricKind.MEAN, MetricKind.MARGIN, MetricKind.LIFETIME_VALUE})
"""The kinds whose mean times units is an amount that somebody has."""
PACE_DAYS = 7
PROJECTED_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """What one treatment earns more than control, after costs, in the metric's currency.

    Attributes
    ----------
    extra_cost : float
        What a unit costs more than one of control.
    units : int
        Units of the treatment whose window has ended.
    level : float
        Share of experiments in which `per_unit` may ever miss.
    per_unit, so_far : Estimate
        For each unit, and for `units` of them.
    projected : Estimate or None
        For as many units as would come in `PROJECTED_DAYS`, if everybody got it; None without a pace.
    """

    variant: str
    extra_cost: float
    units: int
    level: float
    per_unit: Estimate
    so_far: Estimate
    projected: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """All treatments in one metric. `declared` says whether the plan has a `money`, so that costs are known.

    `pace_units` is how many units come in `PROJECTED_DAYS` at full traffic, None where nobody knows.
    """

    metric: Metric
    declared: bool
    costs: Mapping[str, float]
    pace_units: int | None
    earned: tuple[Earned, ...]

    def of(self, variant: str) -> Earned:
        """Return what one treatment earns."""
        return next(one for one in self.earned if one.variant == variant)


def money_of(case: Case) -> Money | None:
    """Return what each treatment earns; None where no metric of the plan is an amount of money.

    The interval is the metric's own confidence sequence, moved by a constant: it holds at every look too. The
    projection takes the pace of the last closed week for certain. It does not promise that the effect lasts.

    Parameters
    ----------
    case : Case
        What was seen.

    Returns
    -------
    Money or None

    Examples
    --------
    >>> moved(Estimate(2.0, 1.0, None), by=-0.5)
    Estimate(estimate=1.5, lower=0.5, upper=None)
    """
    metric = _metric(case)
    if metric is None:
        return None
    experiment, plan = case.experiment, case.experiment.money
    evidence, control = case.evidence, experiment.control.key
    pace = units_at_full_traffic(experiment, evidence.closed_arrivals(), evidence.enrolled)
    sign = -1.0 if metric.direction is Direction.DOWN else 1.0
    earned = []
    for variant, (effect, units, level) in _effects(case, metric).items():
        extra = plan.extra_cost(variant, control) if plan else 0.0
        per_unit = moved(scaled(effect, by=sign), by=-extra)
        earned.append(
            Earned(
                variant=variant,
                extra_cost=extra,
                units=units,
                level=level,
                per_unit=per_unit,
                so_far=scaled(per_unit, by=units),
                projected=None if pace is None else scaled(per_unit, by=pace),
            )
        )
    costs = {v.key: plan.costs.get(v.key, 0.0) for v in experiment.variants} if plan else {}
    return Money(metric=metric, declared=plan is not None, costs=costs, pace_units=pace, earned=tuple(earned))


def moved(found: Estimate, *, by: float) -> Estimate:
    """Return an estimate with its interval, all moved by the same amount."""
    return Estimate(
        *(None if end is None else end + by for end in (found.estimate, found.lower, found.upper))
    )


def scaled(found: Estimate, *, by: float) -> Estimate:
    """Return an estimate with its interval, all times the same number; below zero the ends change places."""
    low, high = (found.lower, found.upper) if by >= 0 else (found.upper, found.lower)
    return Estimate(*(None if end is None else end * by for end in (found.estimate, low, high)))


def units_at_full_traffic(
    experiment: Experiment, arrivals: tuple[Arrivals, ...], enrolled: Sequence[Enrolled] = ()
) -> int | None:
    """Return how many units come in `PROJECTED_DAYS` if everybody takes part, at the pace of the last week.

    Parameters
    ----------
    experiment : Experiment
        Where nothing is known of the days: its allocation, or the step of its ramp at the end of each day,
        and its place in a layer, say which share of all units came.
    arrivals : tuple of Arrivals
        Of closed days, oldest first.
    enrolled : sequence of Enrolled
        Which share came on each day. A day of which that is not known is passed over.

    Returns
    -------
    int or None
        None before the first closed day, and where no day is left.
    """
    if not arrivals:
        return None
    last = arrivals[-1].period
    span = min(PACE_DAYS, (last - arrivals[0].period).days + 1)
    days = [last - timedelta(days=i) for i in range(span)]
    shares = {day: _share_on(day, experiment, enrolled) for day in days}
    counted = {day: share for day, share in shares.items() if share}
    if not counted:
        return None
    whole = sum(arrived.n / counted[arrived.period] for arrived in arrivals if arrived.period in counted)
    return round(whole / len(counted) * PROJECTED_DAYS)


def _share_on(day: date, experiment: Experiment, enrolled: Sequence[Enrolled]) -> float | None:
    if enrolled:
        return enrolled[max(0, bisect_right(enrolled, day, key=lambda one: one.since) - 1)].share
    place = experiment.layer.share_bp / TOTAL_BP if experiment.layer else 1.0
    midnight = datetime.combine(day + timedelta(days=1), time(), UTC)
    return experiment.share_at(midnight) / TOTAL_BP * place


def _metric(case: Case) -> Metric | None:
    """Return the metric that the plan names, else the first one of it that is money per unit."""
    plan, metrics = case.experiment.metrics, case.metrics
    if case.experiment.money is not None:
        return metrics[case.experiment.money.metric]
    keys = (plan.primary, *plan.secondary)
    return next((metrics[key] for key in keys if is_money(metrics[key])), None)


def is_money(metric: Metric) -> bool:
    """Return whether the mean of a metric is an amount of money for each unit, which adds up over units."""
    adds_up = metric.aggregate is Aggregate.SUM
    return metric.kind in PER_UNIT and adds_up and bool(metric.currency)


def _effects(case: Case, metric: Metric) -> dict[str, tuple[Estimate, int, float]]:
    """Return the difference, units and level of each treatment: what the verdict says of it elsewhere."""
    said = {
        r.variant: (r.effect, r.n, r.level)
        for r in case.readings
        if r.metric.key == metric.key and r.role is not Role.GUARDRAIL and r.effect and r.level
    }
    if said:
        return said
    alpha = case.experiment.analysis.alpha
    found = two_sided_of(case.experiment, metric, case.evidence)
    return {variant: (effect, units, alpha) for variant, (effect, units) in found.items()}
