"""What a treatment did: the difference and the lift, each with the interval that inverts the same test."""

import math
from dataclasses import dataclass

from experiments.errors import InvalidParameterError
from experiments.moments import MIN_UNITS, Moments
from experiments.sequential import MAX_LOG_E, critical_value, log_e_value

SMALLEST = 1e-300


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the set of values that the data do not rule out; None is "without bound" or "undefined".

    Attributes
    ----------
    estimate : float or None
        None when it does not exist, as a lift over a mean of zero.
    lower, upper : float or None
        None where the set has no end on that side; both None when nothing can be said.
    """

    estimate: float | None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A treatment against control at one look. Interval, p-value, e-value and `side` never disagree.

    Attributes
    ----------
    n : int
        Units in both variants.
    effect : Estimate
        Treatment minus control, in the metric's unit.
    lift : Estimate
        The effect over control's mean, a fraction.
    side : int
        1 or -1 when "no difference" is rejected and the treatment is above or below; else 0.
    p_value, e_value : float or None
        Anytime-valid; None while the spread of the data is unknown.
    """

    n: int
    effect: Estimate
    lift: Estimate
    side: int
    p_value: float | None = None
    e_value: float | None = None


def compare(treatment: Moments, control: Moments, *, n_star: int, alpha: float) -> Comparison:
    """Compare two variants so that looking at every moment is safe.

    Asymptotic: keep the first look behind the burn-in of `experiments.verdict`.

    Parameters
    ----------
    treatment, control : Moments
        The metric so far.
    n_star : int
        Planned units of both variants together.
    alpha : float
        Chance, over the whole run, that an interval misses; in (0, 1).

    Returns
    -------
    Comparison
        Intervals are None while a variant has fewer than two units or nothing varies.

    Raises
    ------
    InvalidParameterError
        If `n_star` or `alpha` is outside its domain.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), Annals of Statistics 52(6), Theorem 2.2.
    .. [2] Fieller (1954), "Some problems in interval estimation", JRSS B 16(2).

    Examples
    --------
    >>> c = compare(Moments(10_000, 600 * 10**6, 600 * 10**12), Moments(10_000, 500 * 10**6, 500 * 10**12),
    ...     n_star=20_000, alpha=0.05)
    >>> round(c.lift.estimate, 3), c.side
    (0.2, 1)
    """
    n = treatment.n + control.n
    if min(treatment.n, control.n) < MIN_UNITS or treatment.var + control.var <= 0:
        return _only_estimates(treatment, control)
    c = critical_value(n, n_star=n_star, alpha=alpha)
    effect = effect_interval(treatment, control, critical=c)
    side = side_of(effect)
    z = (treatment.mean - control.mean) / _standard_error(treatment, control)
    log_e = min(log_e_value(z, n, n_star=n_star, alpha=alpha), MAX_LOG_E)
    p_value = min(1.0, math.exp(-log_e))
    # Formulas that are equal on paper may differ in the last digit: the interval has the last word.
    p_value = min(p_value, alpha) if side else max(p_value, math.nextafter(alpha, 1))
    e_value = max(math.exp(log_e), 1 / alpha) if side else min(math.exp(log_e), math.nextafter(1 / alpha, 0))
    lift = _agree(lift_interval(treatment, control, critical=c), side)
    return Comparison(n=n, effect=effect, lift=lift, side=side, p_value=p_value, e_value=e_value)


def _only_estimates(treatment: Moments, control: Moments) -> Comparison:
    n = treatment.n + control.n
    if not treatment.n or not control.n:
        return Comparison(n=n, effect=Estimate(None), lift=Estimate(None), side=0)
    effect = Estimate(treatment.mean - control.mean)
    return Comparison(n=n, effect=effect, lift=Estimate(lift_estimate(treatment, control)), side=0)


def side_of(effect: Estimate) -> int:
    """Return 1 if the whole interval lies above zero, -1 if below, 0 if it holds zero or is unknown.

    Parameters
    ----------
    effect : Estimate
        An interval.

    Returns
    -------
    int
        -1, 0 or 1.

    Examples
    --------
    >>> side_of(Estimate(2.0, 1.0, 3.0)), side_of(Estimate(2.0, -1.0, 5.0))
    (1, 0)
    """
    if effect.lower is not None and effect.lower > 0:
        return 1
    return -1 if effect.upper is not None and effect.upper < 0 else 0


def effect_interval(treatment: Moments, control: Moments, *, critical: float) -> Estimate:
    """Return the difference of the means with an interval of `critical` standard errors to each side.

    Parameters
    ----------
    treatment, control : Moments
        At least two units each.
    critical : float
        Standard errors; at least 0.

    Returns
    -------
    Estimate
        In the metric's unit.

    Raises
    ------
    InvalidParameterError
        If a variant has fewer than two units.

    Examples
    --------
    >>> effect_interval(Moments.of([0, 2 * 10**6]), Moments.of([0, 0]), critical=1.0)
    Estimate(estimate=1.0, lower=0.0, upper=2.0)
    """
    if min(treatment.n, control.n) < MIN_UNITS or critical < 0:
        raise InvalidParameterError(f"{treatment.n=}, {control.n=}, {critical=}")
    difference = treatment.mean - control.mean
    half_width = critical * _standard_error(treatment, control)
    return Estimate(difference, difference - half_width, difference + half_width)


def lift_estimate(treatment: Moments, control: Moments) -> float | None:
    """Return the effect over control's mean, or None where a lift has no meaning.

    Parameters
    ----------
    treatment, control : Moments
        At least one unit each.

    Returns
    -------
    float or None
        A fraction, at least -1; None when control's mean is not above zero or treatment's is below.

    Examples
    --------
    >>> lift_estimate(Moments.of([3 * 10**6]), Moments.of([2 * 10**6]))
    0.5
    """
    if control.mean <= 0 or treatment.mean < 0:
        return None
    return treatment.mean / control.mean - 1


def lift_interval(treatment: Moments, control: Moments, *, critical: float) -> Estimate:
    """Return the lift and all lifts that the same test does not reject (Fieller's set, cut at -1).

    The set holds every lift x with ``|m_t - (1+x) m_c| <= critical * sqrt(v_t/n_t + (1+x)**2 v_c/n_c)``.
    Unlike the delta method it needs no linearization, so that it excludes 0 exactly when the difference does.
    Means are taken to be of things that cannot be negative, so the true lift is at least -1. When control's
    mean cannot be told from zero, no upper end exists, and none is invented.

    Parameters
    ----------
    treatment, control : Moments
        At least two units each.
    critical : float
        Standard errors; at least 0.

    Returns
    -------
    Estimate
        Fractions. Everything None when control's mean is not above zero or treatment's is below.

    Raises
    ------
    InvalidParameterError
        If a variant has fewer than two units.

    References
    ----------
    .. [1] Fieller (1954), "Some problems in interval estimation", JRSS B 16(2).

    Examples
    --------
    >>> few = Moments(1000, 3 * 10**6, 3 * 10**12)
    >>> lift_interval(Moments(1000, 60 * 10**6, 60 * 10**12), few, critical=3.0).upper is None
    True
    """
    if min(treatment.n, control.n) < MIN_UNITS or critical < 0:
        raise InvalidParameterError(f"{treatment.n=}, {control.n=}, {critical=}")
    lift = lift_estimate(treatment, control)
    if lift is None:
        return Estimate(None)
    mean_t, mean_c = treatment.mean, control.mean
    spread_t = critical**2 * treatment.var / treatment.n
    spread_c = critical**2 * control.var / control.n
    # In ratio = 1 + theta the set is a*ratio**2 - 2*b*ratio + d <= 0 with these coefficients.
    a, b, d = mean_c**2 - spread_c, mean_t * mean_c, mean_t**2 - spread_t
    discriminant = mean_c**2 * spread_t + mean_t**2 * spread_c - spread_c * spread_t
    if discriminant < 0:
        return Estimate(lift, -1.0, None)
    # b is not negative, so this sum loses no digits; the roots are q/a and d/q.
    q = b + math.sqrt(discriminant)
    lower = d / q - 1 if d > 0 else -1.0
    return Estimate(lift, lower, q / a - 1 if a > 0 else None)


def _standard_error(treatment: Moments, control: Moments) -> float:
    return math.sqrt(treatment.var / treatment.n + control.var / control.n)


def _agree(lift: Estimate, side: int) -> Estimate:
    """Keep rounding from moving an end of the lift across zero when the effect's end is not."""
    lower, upper = lift.lower, lift.upper
    if lower is not None:
        lower = max(lower, SMALLEST) if side > 0 else min(lower, 0.0)
    if upper is not None:
        upper = min(upper, -SMALLEST) if side < 0 else max(upper, 0.0)
    return Estimate(lift.estimate, lower, upper)
