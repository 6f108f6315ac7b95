"""How many units an experiment needs: what the sequences are tuned to, and what they need for their power."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from experiments.definitions import AnalysisPlan, Experiment, Test
from experiments.errors import InvalidParameterError
from experiments.inference.interval import FloatArray
from experiments.inference.normal import critical_values
from experiments.lifecycle import TOTAL_BP

MAX_PLANNED = 10**12
LOOKS = 28  # within the fixed-horizon plan: daily looks over four weeks
MAX_RATIO = 50
STEP = 0.02  # of the grid on which the distribution of the score is followed
HALVINGS = 60
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


def sequential_n(
    experiment: Experiment, variant_key: str, *, test: Test = Test.CONVERSION, chance: float | None = None
) -> int:
    """Return the units of control and one treatment by which daily looks find `mde` with a given chance.

    The base rate is taken to be as planned, and the primary metric to be a conversion: for other metrics it
    is a rough guide.

    Parameters
    ----------
    experiment : Experiment
        Its `analysis` and its number of treatments count.
    variant_key : str
        A treatment.
    test : Test
        The one that judges the primary metric: conversions and counts are tested against a mixture of the
        planned effect and a normal one around none, others against a normal mixture tuned to the plan.
    chance : float or None
        In (0, 1); the planned power unless given.

    Returns
    -------
    int
        Units; at least 1.

    References
    ----------
    .. [1] Armitage, McPherson, Rowe (1969), "Repeated significance tests on accumulating data", JRSS A 132:
       the recursion, here for a Brownian motion whose drift is that of the planned effect.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="m"))
    >>> planned = planned_total(e, "b")
    >>> round(sequential_n(e, "b") / planned, 2), round(sequential_n(e, "b", test=Test.MEAN) / planned, 2)
    (1.53, 1.7)
    """
    planned = planned_total(experiment, variant_key)
    plan = experiment.analysis
    level = alpha_per_treatment(experiment)
    bounds = _bounds(test, _drift(plan.alpha, plan.power), level)
    ratio = _time_of(plan.power if chance is None else chance, _drift(plan.alpha, plan.power), bounds)
    return min(math.ceil(planned * ratio), MAX_PLANNED)


def power_by(time: float, plan: AnalysisPlan, *, test: Test, level: float) -> float:
    """Return with which chance daily looks find `mde` within `time` times the fixed-horizon units.

    Parameters
    ----------
    time : float
        Above 0; 1 is `units_needed`, which has 28 looks.
    plan : AnalysisPlan
        Its `alpha` and `power` set how large `mde` is in standard errors.
    test : Test
        As in `sequential_n`.
    level : float
        Evidence of 1 / level rejects; in (0, 1).

    Returns
    -------
    float
        In [0, 1]; in the limit of many units.

    Examples
    --------
    >>> round(power_by(1, AnalysisPlan(), test=Test.CONVERSION, level=0.05), 2)
    0.58
    """
    drift = _drift(plan.alpha, plan.power)
    crossed = _crossed(drift, _bounds(test, drift, level))
    found = 0.0
    for _ in range(math.floor(time * LOOKS)):
        found = next(crossed)
    return found


def _drift(alpha: float, power: float) -> float:
    """Return how many standard errors the planned effect is at the planned units."""
    return float(ndtri(1 - alpha / 2) + ndtri(power))


@lru_cache(maxsize=64)
def _bounds(test: Test, drift: float, level: float) -> tuple[float, ...]:
    """Return the score, of variance 1 at the planned units, at which each look rejects."""
    time = np.arange(1, MAX_RATIO * LOOKS + 1) / LOOKS
    if test in (Test.CONVERSION, Test.COUNT):
        return tuple(_mixture_bounds(time, drift, level).tolist())
    units = np.round(time * UNITS).astype(np.int64)
    critical = critical_values(units, n_star=UNITS, alpha=level, level=level)
    return tuple((critical * np.sqrt(time)).tolist())


def _mixture_bounds(time: FloatArray, drift: float, level: float) -> FloatArray:
    """Return where half the two-point mixture at +-drift and half the normal one reach 1 / level.

    Both halves grow with the distance of the score from 0, so that halving an interval finds the place.
    """
    low, high = np.zeros_like(time), np.full_like(time, 2.0)
    while np.any(short := _log_mixture(high, time, drift) < -math.log(level)):
        high = np.where(short, 2 * high, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        beyond = _log_mixture(middle, time, drift) >= -math.log(level)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return high


def _log_mixture(score: FloatArray, time: FloatArray, drift: float) -> FloatArray:
    """Return the logarithm of the evidence of a score, as `experiments.inference.conversion` in the limit."""
    two_point = np.logaddexp(drift * score, -drift * score) - math.log(2) - drift**2 * time / 2
    spread = 1 + drift**2 * time
    normal = np.square(drift * score) / (2 * spread) - np.log(spread) / 2
    return np.asarray(np.logaddexp(two_point, normal) - math.log(2))


@lru_cache(maxsize=64)
def _time_of(power: float, drift: float, bounds: tuple[float, ...]) -> float:
    """Return when a score with the planned drift has crossed with this chance; 1 is the planned units."""
    before = 0.0
    for look, crossed in enumerate(_crossed(drift, bounds), start=1):
        if crossed >= power:
            return (look - (crossed - power) / (crossed - before)) / LOOKS
        before = crossed
    return float(MAX_RATIO)


def _crossed(drift: float, bounds: Sequence[float]) -> Iterator[float]:
    """Yield the chance that a score has crossed its boundary, after each look.

    `inside` holds the mass of runs that have not crossed, by score; each look spreads it by one step of the
    motion and cuts off what lies beyond the boundary.
    """
    width = 1 / math.sqrt(LOOKS)
    reach = math.ceil((6 * width + drift / LOOKS) / STEP)
    offsets = STEP * np.arange(-reach, reach + 1)
    kernel = np.diff(ndtr((np.append(offsets, offsets[-1] + STEP) - STEP / 2 - drift / LOOKS) / width))
    score, inside = np.zeros(1), np.ones(1)
    for bound in bounds:
        spread = np.convolve(inside, kernel)
        score = score[0] - STEP * reach + STEP * np.arange(len(spread))
        kept = np.abs(score) < bound
        score, inside = score[kept], spread[kept]
        yield 1 - float(inside.sum())


def _check(plan: AnalysisPlan, share: float) -> None:
    inside = (0 < value < 1 for value in (plan.alpha, plan.power, plan.baseline, share))
    if not all(inside) or plan.mde <= 0 or plan.power <= plan.alpha / 2:
        raise InvalidParameterError(f"{plan=}, {share=}")
