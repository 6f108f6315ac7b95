"""What each metric says at one look, behind a published burn-in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from experiments.definitions import Direction, Experiment, Guardrail, Metric, MetricKind
from experiments.effect import Comparison, Estimate, compare, effect_interval, lift_interval
from experiments.errors import InvalidParameterError
from experiments.evidence import Evidence, cumulate
from experiments.moments import NOTHING, Moments
from experiments.power import alpha_per_treatment, planned_total
from experiments.sequential import one_sided_critical_value

BURN_IN_CONVERSIONS = 100  # in both variants together, and as many units that do not convert
BURN_IN_EXPECTED = 25  # of these expected in the smaller variant
BURN_IN_UNITS = 1_000  # in each variant, for metrics that are no conversions


class Role(StrEnum):
    """What a metric is for."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"


class MetricState(StrEnum):
    """What is known of a metric; `safe` is for guardrails, `no_effect` for the primary."""

    CONTROL = "control"
    BURN_IN = "burn_in"
    NOT_YET_KNOWN = "not_yet_known"
    BETTER = "better"
    WORSE = "worse"
    NO_EFFECT = "no_effect"
    SAFE = "safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One metric of one variant; a treatment is compared with control.

    Attributes
    ----------
    n : int
        Units of this variant.
    estimate : float or None
        Mean per unit in the metric's unit; None without units.
    effect, lift : Estimate or None
        Two-sided for primary and secondary; for a guardrail each end is a one-sided bound. None for control.
    margin : Guardrail or None
        The limit of a guardrail.
    """

    metric: Metric
    role: Role
    variant: str
    n: int
    estimate: float | None
    state: MetricState
    effect: Estimate | None = None
    lift: Estimate | None = None
    p_value: float | None = None
    e_value: float | None = None
    margin: Guardrail | None = None


def is_burnt_in(kind: MetricKind, treatment: Moments, control: Moments) -> bool:
    """Return whether enough is known for the asymptotic boundary; before that, nothing may reject.

    The gate looks at both variants pooled, so that a treatment which stops all conversions is still caught.

    Parameters
    ----------
    kind : MetricKind
        Of the metric.
    treatment, control : Moments
        So far.

    Returns
    -------
    bool
        For a conversion: at least 100 units that converted and 100 that did not, with 25 of each expected in
        the smaller variant. Else: 1,000 units in each variant and a sum carried by at least 100 of them.

    References
    ----------
    .. [1] docs/decisions/0003-statistics.md, "Burn-in".

    Examples
    --------
    >>> is_burnt_in(MetricKind.CONVERSION, Moments.of([0, 10**6]), Moments.of([0, 10**6]))
    False
    """
    both = treatment + control
    smaller = min(treatment.n, control.n)
    carried = both.effective_n
    if kind is not MetricKind.CONVERSION:
        return smaller >= BURN_IN_UNITS and carried >= BURN_IN_CONVERSIONS
    rarer = min(carried, both.n - carried)
    return rarer >= BURN_IN_CONVERSIONS and rarer * smaller >= BURN_IN_EXPECTED * both.n


def compare_variants(
    experiment: Experiment, metric: Metric, *, variant: str, treatment: Moments, control: Moments
) -> Comparison:
    """Compare one treatment with control under the experiment's plan, or only estimate before the burn-in.

    Parameters
    ----------
    experiment : Experiment
        Gives alpha and the planned number of units.
    metric : Metric
        Gives the burn-in.
    variant : str
        The treatment's key.
    treatment, control : Moments
        So far.

    Returns
    -------
    Comparison
        Without intervals before the burn-in.

    Raises
    ------
    InvalidParameterError
        If the plan is outside its domain.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="buy"))
    >>> buy = Metric(key="buy", kind=MetricKind.CONVERSION, event="Order Completed", window_s=86_400)
    >>> compare_variants(e, buy, variant="b", treatment=NOTHING, control=NOTHING).effect.lower is None
    True
    """
    full = compare(
        treatment,
        control,
        n_star=planned_total(experiment, variant),
        alpha=alpha_per_treatment(experiment),
    )
    if is_burnt_in(metric.kind, treatment, control):
        return full
    return Comparison(
        n=full.n, effect=Estimate(full.effect.estimate), lift=Estimate(full.lift.estimate), side=0
    )


def read_metrics(
    experiment: Experiment, metrics: Mapping[str, Metric], evidence: Evidence
) -> tuple[Reading, ...]:
    """Read every metric of the plan: primary, secondary, guardrails; control first, then each treatment.

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

    Examples
    --------
    >>> [role.value for role in Role]
    ['primary', 'secondary', 'guardrail']
    """
    plan = experiment.metrics
    wanted: list[tuple[str, Role, Guardrail | None]] = [(plan.primary, Role.PRIMARY, None)]
    wanted += [(key, Role.SECONDARY, None) for key in plan.secondary]
    wanted += [(g.metric, Role.GUARDRAIL, g) for g in plan.guardrails]
    sums = cumulate(evidence.closed_periods())
    readings: list[Reading] = []
    for key, role, margin in wanted:
        if key not in metrics:
            raise InvalidParameterError(f"experiment {experiment.key!r} names the unknown metric {key!r}")
        moments = {v.key: sums.get((key, v.key), NOTHING) for v in experiment.variants}
        readings += _read_metric(experiment, metrics[key], role=role, margin=margin, moments=moments)
    return tuple(readings)


def _read_metric(
    experiment: Experiment,
    metric: Metric,
    *,
    role: Role,
    margin: Guardrail | None,
    moments: Mapping[str, Moments],
) -> list[Reading]:
    control = moments[experiment.control.key]
    readings = [
        Reading(
            metric=metric,
            role=role,
            variant=experiment.control.key,
            n=control.n,
            estimate=control.mean if control.n else None,
            state=MetricState.CONTROL,
            margin=margin,
        )
    ]
    for variant in experiment.variants[1:]:
        treatment = moments[variant.key]
        seen = compare_variants(experiment, metric, variant=variant.key, treatment=treatment, control=control)
        burnt_in = is_burnt_in(metric.kind, treatment, control)
        if margin is not None and burnt_in:
            seen = _one_sided(experiment, variant.key, treatment, control)
            state = _guardrail_state(margin, metric, seen)
        elif burnt_in:
            state = _state(experiment, metric, seen, role=role)
        else:
            state = MetricState.BURN_IN
        readings.append(
            Reading(
                metric=metric,
                role=role,
                variant=variant.key,
                n=treatment.n,
                estimate=treatment.mean if treatment.n else None,
                state=state,
                effect=seen.effect,
                lift=seen.lift,
                p_value=seen.p_value,
                e_value=seen.e_value,
                margin=margin,
            )
        )
    return readings


def _state(experiment: Experiment, metric: Metric, seen: Comparison, *, role: Role) -> MetricState:
    if seen.side:
        good = 1 if metric.direction is Direction.UP else -1
        return MetricState.BETTER if seen.side == good else MetricState.WORSE
    low, high, mde = seen.lift.lower, seen.lift.upper, experiment.analysis.mde
    if role is Role.PRIMARY and low is not None and high is not None and -mde < low and high < mde:
        return MetricState.NO_EFFECT
    return MetricState.NOT_YET_KNOWN


def _one_sided(experiment: Experiment, variant: str, treatment: Moments, control: Moments) -> Comparison:
    """Return one-sided bounds to both sides: one asks "worse than the margin?", the other "safe?"."""
    critical = one_sided_critical_value(
        treatment.n + control.n,
        n_star=planned_total(experiment, variant),
        alpha=alpha_per_treatment(experiment),
    )
    return Comparison(
        n=treatment.n + control.n,
        effect=effect_interval(treatment, control, critical=critical),
        lift=lift_interval(treatment, control, critical=critical),
        side=0,
    )


def _guardrail_state(margin: Guardrail, metric: Metric, seen: Comparison) -> MetricState:
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
