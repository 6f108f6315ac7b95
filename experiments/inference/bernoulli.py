"""Beta-binomial mixtures: evidence about a share that holds at every look, without any approximation.

An observation is centred at its mean under the hypothesis and takes two values, -g and h: of a share p, g = p
and h = 1 - p. Evidence is a likelihood ratio, averaged over a Beta distribution of alternatives around the
hypothesis. All arguments broadcast.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln, digamma

from experiments.errors import InvalidParameterError
from experiments.inference.interval import BoolArray, FloatArray

Numbers = npt.NDArray[np.float64] | float
STEPS = 60  # of a bisection: each halves the error
UNDERFLOW = 1e-250
TINY = 1e-300
FRACTION_STEPS = 40  # where it is used, 10 give all digits
ROUNDING = 1e-14


def log_mixture(
    s: Numbers, v: Numbers, *, g: Numbers, h: Numbers, v_opt: Numbers, alpha_opt: float
) -> FloatArray:
    """Return the logarithm of the evidence against a mean of zero, to either side.

    Parameters
    ----------
    s : array
        Sum of the n observations; in [-g n, h n].
    v : array
        Their variance under the hypothesis, all together: g h n.
    g, h : array
        What an observation is at worst and at best; above 0.
    v_opt : array
        Where the boundary at `alpha_opt` is lowest, in the unit of `v`; fixed beforehand; above 0.
    alpha_opt : float
        In (0, 1).

    Returns
    -------
    array
        Convex in `s`. Its exponential has mean 1 under the hypothesis, and at most 1 at any stopping time.

    Raises
    ------
    InvalidParameterError
        If `g`, `h`, `v_opt` or `alpha_opt` is outside its domain.

    References
    ----------
    .. [1] Howard, Ramdas, McAuliffe, Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence
       sequences", Annals of Statistics 49(2), Proposition 7.

    Examples
    --------
    >>> round(float(log_mixture(10, 100, g=0.2, h=0.8, v_opt=100, alpha_opt=0.05)), 6)
    -0.694101
    """
    r = _prior(g, h, v_opt, alpha_opt)
    low, high = g * (g + h), h * (g + h)
    return np.asarray(
        _weights(s, v, g, h)
        + betaln((r + v - g * s) / low, (r + v + h * s) / high)
        - betaln(r / low, r / high)
    )


def log_one_sided_mixture(
    s: Numbers, v: Numbers, *, g: Numbers, h: Numbers, v_opt: Numbers, alpha_opt: float
) -> FloatArray:
    """Return the logarithm of the evidence against a mean of zero or less.

    For evidence against zero or more, pass -s and swap `g` and `h`.

    Parameters
    ----------
    s, v, g, h, v_opt
        As in `log_mixture`.
    alpha_opt : float
        In (0, 0.5).

    Returns
    -------
    array
        Grows with `s`; under a mean of zero or less its exponential is at most 1 on average.

    Raises
    ------
    InvalidParameterError
        As in `log_mixture`.

    References
    ----------
    .. [1] Howard et al. (2021), Annals of Statistics 49(2), Proposition 8.

    Examples
    --------
    >>> round(float(log_one_sided_mixture(10, 100, g=0.2, h=0.8, v_opt=100, alpha_opt=0.05)), 6)
    -0.07134
    """
    r = _prior(g, h, v_opt, 2 * alpha_opt)
    low, high, share = g * (g + h), h * (g + h), h / (g + h)
    return np.asarray(
        _weights(s, v, g, h)
        + _log_incomplete_beta((r + v - g * s) / low, (r + v + h * s) / high, share)
        - _log_incomplete_beta(r / low, r / high, share)
    )


def boundary(
    v: Numbers, *, g: Numbers, h: Numbers, v_opt: Numbers, alpha_opt: float, level: Numbers
) -> FloatArray:
    """Return the smallest sum at which `log_mixture` rejects on its upper side.

    Parameters
    ----------
    v, g, h, v_opt, alpha_opt
        As in `log_mixture`.
    level : array
        Rejected is what has evidence of 1 / level; in (0, 1).

    Returns
    -------
    array
        In the unit of an observation; the largest sum possible, v / g, where no sum rejects.

    Raises
    ------
    InvalidParameterError
        As in `log_mixture`.

    References
    ----------
    .. [1] Howard et al. (2021), Annals of Statistics 49(2), Proposition 7.

    Examples
    --------
    >>> round(float(boundary(100, g=0.2, h=0.8, v_opt=100, alpha_opt=0.05, level=0.05)), 4)
    31.4308
    """
    shape = np.broadcast(v, g, h, v_opt, level).shape
    low = np.zeros(shape)
    high = np.broadcast_to(np.asarray(v / g, dtype=np.float64), shape)
    for _ in range(STEPS):
        middle = (low + high) / 2
        rejected = log_mixture(middle, v, g=g, h=h, v_opt=v_opt, alpha_opt=alpha_opt) >= -np.log(level)
        low, high = np.where(rejected, low, middle), np.where(rejected, middle, high)
    return (low + high) / 2


def least_evident(
    trials: FloatArray, share: FloatArray, *, v_opt: FloatArray, alpha_opt: float
) -> FloatArray:
    """Return the number of successes at which `log_mixture` speaks least against a share.

    Parameters
    ----------
    trials : array, shape (k,)
        At least 0.
    share : array, shape (k,)
        In (0, 1).
    v_opt, alpha_opt
        As in `log_mixture`.

    Returns
    -------
    array, shape (k,)
        Not whole: within one of share * trials, in [0, trials].

    Raises
    ------
    InvalidParameterError
        As in `log_mixture`.

    Examples
    --------
    >>> found = least_evident(np.array([100.0]), np.array([0.2]), v_opt=np.array([50.0]), alpha_opt=0.05)
    >>> found.round(3).tolist()
    [20.299]
    """
    r = _prior(share, 1 - share, v_opt, alpha_opt)
    odds, low, high = np.log(share) - np.log1p(-share), np.zeros_like(trials), trials
    for _ in range(STEPS):
        middle = (low + high) / 2
        slope = digamma(r / (1 - share) + middle) - digamma(r / share + trials - middle) - odds
        low, high = np.where(slope < 0, middle, low), np.where(slope < 0, high, middle)
    return (low + high) / 2


def share_sequence(
    successes: FloatArray, trials: FloatArray, *, level: Numbers, t_opt: Numbers, alpha_opt: float
) -> tuple[FloatArray, FloatArray]:
    """Bound a share uniformly over time: all shares that `log_mixture` does not reject at `level`.

    Parameters
    ----------
    successes, trials : array
        So far; 0 <= successes <= trials, and at least 1 trial.
    level : array
        Chance, over the whole run, that any interval misses; in (0, 1).
    t_opt : array
        Trials at which the interval is about tightest; fixed beforehand; above 0.
    alpha_opt : float
        In (0, 1).

    Returns
    -------
    lower, upper : array
        In [0, 1].

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    References
    ----------
    .. [1] Howard et al. (2021), Annals of Statistics 49(2), section 4.2.

    Examples
    --------
    >>> ends = share_sequence(np.array([15.0]), np.array([50.0]), level=0.05, t_opt=50, alpha_opt=0.05)
    >>> [round(float(end[0]), 4) for end in ends]
    [0.1296, 0.5119]
    """
    if np.any(trials < 1) or np.any(successes < 0) or np.any(successes > trials):
        raise InvalidParameterError(f"{successes=}, {trials=}")
    share = successes / trials

    def rejects(p: FloatArray) -> BoolArray:
        q = np.clip(p, TINY, 1 - ROUNDING)
        tuned = {"g": q, "h": 1 - q, "v_opt": q * (1 - q) * t_opt}
        evidence = log_mixture(successes - q * trials, q * (1 - q) * trials, alpha_opt=alpha_opt, **tuned)
        return evidence >= -np.log(level)

    def end(outside: FloatArray) -> FloatArray:
        inside = share
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            rejected = rejects(middle)
            inside, outside = np.where(rejected, inside, middle), np.where(rejected, middle, outside)
        return outside

    return end(np.zeros_like(share)), end(np.ones_like(share))


def _prior(g: Numbers, h: Numbers, v_opt: Numbers, alpha: float) -> FloatArray:
    """Return how narrow the Beta distribution of alternatives is, in the unit of v."""
    if np.any(np.asarray(g) <= 0) or np.any(np.asarray(h) <= 0) or np.any(np.asarray(v_opt) <= 0):
        raise InvalidParameterError(f"{g=}, {h=}, {v_opt=}")
    if not 0 < alpha < 1:
        raise InvalidParameterError(f"no mixture is tuned to {alpha=}")
    squeeze = -2 * np.log(alpha)
    rho = np.asarray(v_opt) / (squeeze + np.log1p(squeeze))
    return np.asarray(np.maximum(rho - g * h, 1e-3 * g * h))


def _weights(s: Numbers, v: Numbers, g: Numbers, h: Numbers) -> Numbers:
    """Return minus the log likelihood under the hypothesis, as far as the mixture does not share it."""
    whole = g + h
    return (
        v / (g * h) * np.log(whole)
        - (v + h * s) / (h * whole) * np.log(g)
        - (v - g * s) / (g * whole) * np.log(h)
    )


def _log_incomplete_beta(a: Numbers, b: Numbers, x: Numbers) -> FloatArray:
    """Return the logarithm of the integral of t**(a-1) (1-t)**(b-1) from 0 to x."""
    a, b, x = np.broadcast_arrays(*(np.asarray(n, dtype=np.float64) for n in (a, b, x)))
    share = betainc(a, b, x)
    far = share < UNDERFLOW
    found: FloatArray = np.asarray(np.log(np.where(far, 1.0, share)) + betaln(a, b))
    if far.any():
        # So far out in the tail the integral is too small for a float, and its continued fraction is short.
        found[far] = a[far] * np.log(x[far]) + b[far] * np.log1p(-x[far]) - np.log(a[far])
        found[far] -= np.log(_fraction(a[far], b[far], x[far]))
    return found


def _fraction(a: FloatArray, b: FloatArray, x: FloatArray) -> FloatArray:
    """Return 1 + d1/(1 + d2/(1 + ...)) of NIST DLMF 8.17.22, by Lentz's method."""
    value, c, d = np.ones_like(a), np.ones_like(a), np.zeros_like(a)
    for step in range(1, FRACTION_STEPS + 1):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        value = value * c * d
    return value
