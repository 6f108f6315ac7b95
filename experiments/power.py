"""How many units an experiment needs: planned before launch, and what the sequences are tuned to."""

import math

from scipy.special import ndtri

from experiments.definitions import TOTAL_BP, AnalysisPlan, Experiment
from experiments.errors import InvalidParameterError

MAX_PLANNED = 10**12


def units_needed(plan: AnalysisPlan, *, share_treatment: float = 0.5) -> int:
    """Return how many units in both variants together a fixed-horizon test of a conversion would need.

    A sequential test needs about 10 to 20 % more on average to find exactly `plan.mde`, and fewer when the
    effect is larger.

    Parameters
    ----------
    plan : AnalysisPlan
        `alpha` (two-sided), `power`, `mde` (relative) and `baseline` (share that converts).
    share_treatment : float
        Share of the two variants' units that get the treatment; in (0, 1).

    Returns
    -------
    int
        Units in control and treatment together.

    Raises
    ------
    InvalidParameterError
        If a parameter lies outside its domain.

    References
    ----------
    .. [1] Fleiss, Levin, Paik (2003), Statistical Methods for Rates and Proportions, 3rd ed., section 4.3
       (unpooled variance, no continuity correction).

    Examples
    --------
    >>> units_needed(AnalysisPlan(alpha=0.05, power=0.8, mde=0.1, baseline=0.05))
    62462
    """
    _check(plan, share_treatment)
    control = plan.baseline
    # A lift that would carry the rate past 1 is planned for with the largest lift that exists.
    treatment = min(control * (1 + plan.mde), (1 + control) / 2)
    z = float(ndtri(1 - plan.alpha / 2) + ndtri(plan.power))
    spread = control * (1 - control) / (1 - share_treatment) + treatment * (1 - treatment) / share_treatment
    return min(math.ceil(z * z * spread / (treatment - control) ** 2), MAX_PLANNED)


def planned_total(experiment: Experiment, variant_key: str) -> int:
    """Return the planned number of units of control and one treatment: where the sequence is tightest.

    Tuning to the wrong number widens the interval a little and never makes it invalid; so a metric that is no
    conversion is tuned by the same plan.

    Parameters
    ----------
    experiment : Experiment
        Its `analysis` is fixed before launch.
    variant_key : str
        A treatment.

    Returns
    -------
    int
        Units; at least 1.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> planned_total(Experiment(key="x", variants=halves, metrics=MetricPlan(primary="m")), "b")
    62462
    """
    weights = {variant.key: variant.weight_bp for variant in experiment.variants}
    pair = weights[experiment.control.key] + weights[variant_key]
    share = weights[variant_key] / pair if pair else 0.5
    smallest = 1 / TOTAL_BP
    return units_needed(experiment.analysis, share_treatment=min(max(share, smallest), 1 - smallest))


def _check(plan: AnalysisPlan, share: float) -> None:
    inside = (0 < value < 1 for value in (plan.alpha, plan.power, plan.baseline, share))
    if not all(inside) or plan.mde <= 0 or plan.power <= plan.alpha / 2:
        raise InvalidParameterError(f"{plan=}, {share=}")
