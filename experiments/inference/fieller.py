"""The lift of two estimated means: all lifts that a test on their difference does not reject."""

import numpy as np

from experiments.inference.interval import BoolArray, FloatArray, Intervals
from experiments.inference.pairs import Pairs


def lift_estimates(pairs: Pairs) -> FloatArray:
    """Return the effect over control's mean: a fraction, at least -1.

    Parameters
    ----------
    pairs : Pairs
        Means of k comparisons.

    Returns
    -------
    array, shape (k,)
        nan where a lift has no meaning: control's mean is not above zero or the treatment's is below it.

    Examples
    --------
    >>> one, zero = np.ones(2), np.zeros(2)
    >>> lift_estimates(Pairs(n_t=one, n_c=one, mean_t=np.array([3.0, 3.0]), mean_c=np.array([2.0, 0.0]),
    ...                      var_t=one, var_c=one, cov=zero)).tolist()
    [0.5, nan]
    """
    exists = (pairs.mean_c > 0) & (pairs.mean_t >= 0)
    return np.asarray(np.where(exists, pairs.mean_t, np.nan) / np.where(exists, pairs.mean_c, 1.0) - 1)


def lift_intervals(pairs: Pairs, critical: FloatArray) -> Intervals:
    """Return the lifts and all lifts that the same test does not reject (Fieller's set, cut at -1).

    The set holds every lift x = r - 1 with ``|m_t - r m_c| <= critical * sqrt(v_t - 2 r cov + r**2 v_c)``.
    Unlike the delta method it needs no linearization, so that it excludes 0 exactly when the difference does.
    Means are taken to be of things that cannot be negative, so the true lift is at least -1. When control's
    mean cannot be told from zero, no upper end exists, and none is invented. Only then, and only with a
    covariance, can the set fall into two parts: they are joined, unless "no difference" lies between them;
    then the part with the estimate is given, for the difference has ruled out the other one's side.

    Parameters
    ----------
    pairs : Pairs
        Means of k comparisons.
    critical : array, shape (k,)
        Standard errors; above 0, or nan.

    Returns
    -------
    Intervals
        Fractions; nan where there is no lift or no variance.

    References
    ----------
    .. [1] Fieller (1954), "Some problems in interval estimation", JRSS B 16(2).

    Examples
    --------
    >>> one = np.ones(1)
    >>> few = Pairs(n_t=1000 * one, n_c=1000 * one, mean_t=0.06 * one, mean_c=0.003 * one,
    ...             var_t=0.0564e-3 * one, var_c=0.002991e-3 * one, cov=0 * one)
    >>> lift_intervals(few, 3 * one).upper.item()
    inf
    """
    lift = lift_estimates(pairs)
    known = np.isfinite(lift) & np.isfinite(critical) & np.isfinite(pairs.var_t + pairs.var_c + pairs.cov)
    lower, upper = _ratios(pairs, critical, known)
    return Intervals(lift, np.where(known, lower - 1, np.nan), np.where(known, upper - 1, np.nan))


def _ratios(pairs: Pairs, critical: FloatArray, known: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the set of ratios m_t / m_c, within [0, inf); anything where not `known`."""
    mean_t, mean_c, spread_t, spread_c, shared = (
        np.where(known, part, 1.0)
        for part in (
            pairs.mean_t,
            pairs.mean_c,
            critical**2 * pairs.var_t,
            critical**2 * pairs.var_c,
            critical**2 * pairs.cov,
        )
    )
    # In the ratio r the set is a r**2 - 2 b r + d <= 0 with these coefficients.
    a, b, d = mean_c**2 - spread_c, mean_t * mean_c - shared, mean_t**2 - spread_t
    discriminant = (
        mean_c**2 * spread_t
        + mean_t**2 * spread_c
        - 2 * mean_t * mean_c * shared
        + (shared**2 - spread_c * spread_t)
    )
    root = np.sqrt(np.maximum(discriminant, 0.0))
    # Both roots without a difference of like numbers: one is far / a, the other d / far.
    far = b + np.copysign(root, b)
    by_a = _divided(far, a)
    by_far = _divided(d, far)
    first, second = np.minimum(by_a, by_far), np.maximum(by_a, by_far)

    everything = (a <= 0) & ((discriminant < 0) | (second <= 0))
    # Open to the right: from the larger root on, and up to the smaller one if that is above zero.
    apart = (a <= 0) & ~everything & (first > 0)
    between = (first < 1) & (second > 1)
    below = apart & between & (mean_t < mean_c)
    everything |= apart & ~between
    lower = np.where(a > 0, first, np.where(below, 0.0, second))
    upper = np.where(a > 0, second, np.where(below, first, np.inf))
    return np.where(everything, 0.0, np.maximum(lower, 0.0)), np.where(everything, np.inf, upper)


def _divided(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient; at 0 its limit from below, as `a` is never above zero where that matters."""
    nothing = denominator == 0
    limit = -np.copysign(np.inf, numerator)
    return np.asarray(np.where(nothing, limit, numerator / np.where(nothing, 1.0, denominator)))
