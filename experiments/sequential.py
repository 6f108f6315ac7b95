"""Boundaries that hold at every look: a normal mixture, tuned to a planned number of units."""

import math

from scipy.special import ndtr

from experiments.errors import InvalidParameterError

MAX_LOG_E = 600.0  # e-values are reported as floats: e**600 is evidence enough


def critical_value(n: int, *, n_star: int, alpha: float) -> float:
    """Return how many standard errors an estimate may lie from the truth, at any look of a whole run.

    The truth leaves ``estimate +- critical_value * standard_error`` at any `n`, ever, with probability at
    most `alpha`, asymptotically: callers keep the first look away from tiny `n`.

    Parameters
    ----------
    n : int
        Units so far, all variants that are compared together; at least 1.
    n_star : int
        Units where the boundary is lowest; planned before launch; at least 1.
    alpha : float
        In (0, 1).

    Returns
    -------
    float
        In standard errors; above the fixed-horizon value.

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), "Time-uniform central limit theory and asymptotic confidence
       sequences", Annals of Statistics 52(6), Theorem 2.2.
    .. [2] Robbins (1970), "Statistical methods related to the law of the iterated logarithm".

    Examples
    --------
    >>> round(critical_value(5000, n_star=5000, alpha=0.05), 4)
    3.0352
    """
    x = _information(n, n_star, alpha)
    return math.sqrt((x + 1) / x * math.log((x + 1) / alpha**2))


def one_sided_critical_value(n: int, *, n_star: int, alpha: float) -> float:
    """Return how many standard errors an estimate may lie on one given side of the truth, at any look.

    Parameters
    ----------
    n : int
        Units so far; at least 1.
    n_star : int
        Units where the boundary is about lowest; at least 1.
    alpha : float
        Chance of ever leaving on that side; in (0, 0.5).

    Returns
    -------
    float
        In standard errors.

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), Annals of Statistics 52(6), Proposition B.1 (the closed form).

    Examples
    --------
    >>> round(one_sided_critical_value(5000, n_star=5000, alpha=0.05), 4)
    2.7791
    """
    x = _information(n, n_star, 2 * alpha)
    return math.sqrt(2 * (x + 1) / x * math.log1p(math.sqrt(x + 1) / (2 * alpha)))


def log_e_value(z: float, n: int, *, n_star: int, alpha: float) -> float:
    """Return the logarithm of the evidence against "no difference": log(1/alpha) or more means rejection.

    Under no difference its exponential has mean at most 1 at every stopping time (asymptotically).

    Parameters
    ----------
    z : float
        Estimate over its standard error.
    n : int
        Units so far; at least 1.
    n_star : int
        As in `critical_value`.
    alpha : float
        The level that tunes the mixture; as in `critical_value`.

    Returns
    -------
    float
        Natural logarithm; negative when the data speak for no difference.

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    References
    ----------
    .. [1] Howard et al. (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences",
       Annals of Statistics 49(2), equation (14).

    Examples
    --------
    >>> z = critical_value(800, n_star=5000, alpha=0.05)
    >>> round(math.exp(log_e_value(z, 800, n_star=5000, alpha=0.05)), 9)
    20.0
    """
    x = _information(n, n_star, alpha)
    return x * z * z / (2 * (x + 1)) - math.log1p(x) / 2


def fixed_horizon_p_value(z: float) -> float:
    """Return the classical two-sided p-value: right at one planned look, wrong when looked at repeatedly.

    scripts/calibrate_demo.py counts what it would have got wrong; no verdict uses it.

    Parameters
    ----------
    z : float
        Estimate over its standard error.

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> round(fixed_horizon_p_value(1.959964), 6)
    0.05
    """
    return float(2 * ndtr(-abs(z)))


def _information(n: int, n_star: int, alpha: float) -> float:
    """Return n in units of the tuning parameter: n * rho**2."""
    if n < 1 or n_star < 1 or not 0 < alpha < 1:
        raise InvalidParameterError(f"{n=}, {n_star=}, {alpha=}")
    rho_sq = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / n_star
    return n * rho_sq
