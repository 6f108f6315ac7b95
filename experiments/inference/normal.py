"""Normal-mixture boundaries that hold at every look, for many comparisons at once.

`n_star` and `alpha` tune the mixture before launch; `level` is chosen afterwards and only says how much
evidence an interval asks for. So intervals at different levels invert one and the same e-value.
"""

from typing import TypeAlias

import numpy as np

from experiments.errors import InvalidParameterError
from experiments.inference.interval import FloatArray, IntArray

Numbers: TypeAlias = FloatArray | IntArray | float


def log_e_values(z: Numbers, n: Numbers, *, n_star: Numbers, alpha: Numbers) -> FloatArray:
    """Return the logarithm of the evidence against "no difference": log(1/level) or more rejects at `level`.

    Under no difference its exponential has mean at most 1 at every stopping time, asymptotically: callers
    keep the first look away from tiny `n`.

    Parameters
    ----------
    z : array, shape (k,)
        Estimates over their standard errors; nan gives nan.
    n : array, shape (k,)
        Units so far, all variants that are compared together; at least 1.
    n_star : array, shape (k,)
        Units where the boundary is lowest; planned before launch; at least 1.
    alpha : array, shape (k,), or float
        The level that the mixture is tuned to; in (0, 1).

    Returns
    -------
    array, shape (k,)
        Natural logarithms; negative when the data speak for no difference.

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    References
    ----------
    .. [1] Howard et al. (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences",
       Annals of Statistics 49(2), equation (14).
    .. [2] Robbins (1970), "Statistical methods related to the law of the iterated logarithm".

    Examples
    --------
    >>> z = critical_values(np.array([800, 900]), n_star=5000, alpha=0.05, level=0.02)
    >>> np.exp(log_e_values(z, np.array([800, 900]), n_star=5000, alpha=0.05)).round(9).tolist()
    [50.0, 50.0]
    """
    x = _information(n, n_star, alpha)
    return np.asarray(x * np.square(z) / (2 * (x + 1)) - np.log1p(x) / 2)


def critical_values(n: Numbers, *, n_star: Numbers, alpha: Numbers, level: Numbers) -> FloatArray:
    """Return how many standard errors an estimate may lie from the truth, at any look of a whole run.

    The truth leaves ``estimate +- critical * standard_error`` at any `n`, ever, with probability at most
    `level`, asymptotically.

    Parameters
    ----------
    n, n_star, alpha : array
        As in `log_e_values`.
    level : array, shape (k,), or float
        Share of runs that ever miss; in (0, 1).

    Returns
    -------
    array, shape (k,)
        In standard errors; above the fixed-horizon value.

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), "Time-uniform central limit theory and asymptotic confidence
       sequences", Annals of Statistics 52(6), Theorem 2.2.

    Examples
    --------
    >>> critical_values(np.array([5000]), n_star=5000, alpha=0.05, level=0.05).round(4).tolist()
    [3.0352]
    """
    x = _information(n, n_star, alpha)
    return np.asarray(np.sqrt((x + 1) / x * (np.log1p(x) - 2 * np.log(_level(level)))))


def one_sided_critical_values(n: Numbers, *, n_star: Numbers, alpha: Numbers, level: Numbers) -> FloatArray:
    """Return how many standard errors an estimate may lie on one given side of the truth, at any look.

    Parameters
    ----------
    n, n_star : array
        As in `log_e_values`.
    alpha : array, shape (k,), or float
        One-sided level that the mixture is tuned to; in (0, 0.5).
    level : array, shape (k,), or float
        Share of runs that ever leave on that side; in (0, 1).

    Returns
    -------
    array, shape (k,)
        In standard errors.

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), Annals of Statistics 52(6), Proposition B.1 (the closed form, which
       lies a little above the exact boundary of the half-normal mixture).

    Examples
    --------
    >>> one_sided_critical_values(np.array([5000]), n_star=5000, alpha=0.05, level=0.05).round(4).tolist()
    [2.7791]
    """
    x = _information(n, n_star, np.multiply(2, alpha))
    return np.asarray(np.sqrt(2 * (x + 1) / x * np.log1p(np.sqrt(x + 1) / (2 * _level(level)))))


def _information(n: Numbers, n_star: Numbers, alpha: Numbers) -> FloatArray:
    """Return n in units of the tuning parameter: n * rho**2."""
    tuned = -2 * np.log(_level(alpha))
    if not (np.all(np.greater_equal(n, 1)) and np.all(np.greater_equal(n_star, 1))):
        raise InvalidParameterError(f"a number of units is below 1: {n=}, {n_star=}")
    return np.asarray(n * ((tuned + np.log1p(tuned)) / n_star))


def _level(share: Numbers) -> FloatArray:
    found = np.asarray(share, dtype=np.float64)
    if not np.all((found > 0) & (found < 1)):
        raise InvalidParameterError(f"not a share between 0 and 1: {share}")
    return found
