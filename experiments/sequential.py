"""One number at a time from `experiments.inference.normal`: a boundary, tuned and used at one level."""

from scipy.special import ndtr

from experiments.inference.normal import critical_values, log_e_values, one_sided_critical_values

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
    return float(critical_values(n, n_star=n_star, alpha=alpha, level=alpha))


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
    return float(one_sided_critical_values(n, n_star=n_star, alpha=alpha, level=alpha))


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
    >>> import math
    >>> z = critical_value(800, n_star=5000, alpha=0.05)
    >>> round(math.exp(log_e_value(z, 800, n_star=5000, alpha=0.05)), 9)
    20.0
    """
    return float(log_e_values(z, n, n_star=n_star, alpha=alpha))


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
