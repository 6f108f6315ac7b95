"""How many units an experiment needs: what the sequences are tuned to, and what they need for their power."""

import math
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from experiments.definitions import AnalysisPlan, Experiment
from experiments.errors import InvalidParameterError
from experiments.lifecycle import TOTAL_BP
from experiments.sequential import critical_value

MAX_PLANNED = 10**12
LOOKS = 28  # within the fixed-horizon plan: daily looks over four weeks
MAX_RATIO = 50
STEP = 0.02  # of the grid on which the distribution of the score is followed
UNITS = 10**6  # any large number: only n / n_star enters the boundary


def units_needed(plan: AnalysisPlan, *, share_treatment: float = 0.5) -> int:
    """Return how many units in both variants together a fixed-horizon test of a conversion would need.

    A test that may be looked at every day needs more for the same power: `sequential_n`.

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


def alpha_per_treatment(experiment: Experiment) -> float:
    """Return the error that one treatment may spend: alpha shared evenly (Bonferroni).

    Parameters
    ----------
    experiment : Experiment
        Any experiment.

    Returns
    -------
    float
        In (0, 1).

    References
    ----------
    .. [1] Dunn (1961), "Multiple comparisons among means", JASA 56.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> arms = tuple(Variant(key=k, value=k, weight_bp=w) for k, w in (("a", 5000), ("b", 3000), ("c", 2000)))
    >>> alpha_per_treatment(Experiment(key="x", variants=arms, metrics=MetricPlan(primary="m")))
    0.025
    """
    return experiment.analysis.alpha / (len(experiment.variants) - 1)


def sequential_n(experiment: Experiment, variant_key: str) -> int:
    """Return the units of control and one treatment by which daily looks find `mde` with the planned power.

    Half of all runs that find it are done long before. The base rate is taken to be as planned.

    Parameters
    ----------
    experiment : Experiment
        Its `analysis` and its number of treatments count.
    variant_key : str
        A treatment.

    Returns
    -------
    int
        Units; at least `planned_total`.

    References
    ----------
    .. [1] Armitage, McPherson, Rowe (1969), "Repeated significance tests on accumulating data", JRSS A 132:
       the recursion, here for a Brownian motion whose drift is that of the planned effect.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="m"))
    >>> round(sequential_n(e, "b") / planned_total(e, "b"), 2)
    1.7
    """
    planned = planned_total(experiment, variant_key)
    plan = experiment.analysis
    ratio = _sequential_ratio(plan.alpha, plan.power, alpha_per_treatment(experiment))
    return min(math.ceil(planned * ratio), MAX_PLANNED)


@lru_cache(maxsize=64)
def _sequential_ratio(planned_alpha: float, power: float, alpha: float) -> float:
    """Return sequential_n / planned_total: when a score of the planned drift has crossed with this power.

    Time runs from 0 and is 1 at the planned units. `inside` holds the mass of runs that have not crossed, by
    score; each look spreads it by one step of the motion and cuts off what lies beyond the boundary.
    """
    drift = float(ndtri(1 - planned_alpha / 2) + ndtri(power))
    width = 1 / math.sqrt(LOOKS)
    reach = math.ceil((6 * width + drift / LOOKS) / STEP)
    offsets = STEP * np.arange(-reach, reach + 1)
    kernel = np.diff(ndtr((np.append(offsets, offsets[-1] + STEP) - STEP / 2 - drift / LOOKS) / width))
    score, inside, before = np.zeros(1), np.ones(1), 0.0
    for look in range(1, MAX_RATIO * LOOKS + 1):
        time = look / LOOKS
        bound = critical_value(round(time * UNITS), n_star=UNITS, alpha=alpha) * math.sqrt(time)
        spread = np.convolve(inside, kernel)
        score = score[0] - STEP * reach + STEP * np.arange(len(spread))
        kept = np.abs(score) < bound
        score, inside = score[kept], spread[kept]
        crossed = 1 - float(inside.sum())
        if crossed >= power:
            return (look - (crossed - power) / (crossed - before)) / LOOKS
        before = crossed
    return float(MAX_RATIO)


def _check(plan: AnalysisPlan, share: float) -> None:
    inside = (0 < value < 1 for value in (plan.alpha, plan.power, plan.baseline, share))
    if not all(inside) or plan.mde <= 0 or plan.power <= plan.alpha / 2:
        raise InvalidParameterError(f"{plan=}, {share=}")
