"""Several questions at once: which to call answered, so that few of the answers are wrong.

Of the metrics (or variants) called different, at most a share alpha truly is not, on average, however the
metrics depend on each other and whenever one stops. Intervals at the shared level miss as rarely among those
called different, and exclude zero for exactly these.
"""

import numpy as np

from experiments.errors import InvalidParameterError
from experiments.inference.interval import FloatArray, IntArray


def e_bh(log_e: FloatArray, *, alpha: float) -> int:
    """Return how many hypotheses the e-Benjamini-Hochberg procedure rejects: those with the most evidence.

    The largest k whose k-th largest e-value is at least K / (alpha k), K the number of hypotheses.

    Parameters
    ----------
    log_e : array, shape (K,)
        Logarithms of e-values, each for its own hypothesis; nan counts as no evidence, and its hypothesis
        still as asked.
    alpha : float
        Bound of the false discovery rate; in (0, 1).

    Returns
    -------
    int
        In 0..K.

    Raises
    ------
    InvalidParameterError
        If `alpha` is outside its domain.

    References
    ----------
    .. [1] Wang, Ramdas (2022), "False discovery rate control with e-values", JRSS B 84(3), Theorem 2.

    Examples
    --------
    >>> e_bh(np.log([100, 50, 10, 5, 1]), alpha=0.1)
    2
    """
    if not len(log_e):
        return 0
    return int(np.sum(log_e >= -np.log(shared_level(log_e, alpha=alpha))))


def shared_level(log_e: FloatArray, *, alpha: float) -> float:
    """Return the level of every interval of a family: alpha * max(k, 1) / K, k being rejected.

    Parameters
    ----------
    log_e : array, shape (K,)
        As in `e_bh`.
    alpha : float
        Bound of the false coverage rate; in (0, 1).

    Returns
    -------
    float
        In (0, alpha]; a hypothesis is rejected when its `log_e` is at least minus the logarithm of this.

    Raises
    ------
    InvalidParameterError
        If `alpha` is outside its domain, or nothing is asked.

    References
    ----------
    .. [1] Xu, Wang, Ramdas (2024), "Post-selection inference for e-value based confidence intervals",
       Electronic Journal of Statistics 18(1), Theorem 2 (e-BY).

    Examples
    --------
    >>> round(shared_level(np.log([100, 50, 10, 5, 1]), alpha=0.1), 6)
    0.04
    """
    if not len(log_e):
        raise InvalidParameterError("a level needs at least one question")
    return float(shared_levels(log_e, np.zeros(len(log_e), dtype=np.int64), alpha=alpha)[0])


def shared_levels(log_e: FloatArray, family: IntArray, *, alpha: FloatArray | float) -> FloatArray:
    """Return `shared_level` for many families at once.

    Parameters
    ----------
    log_e : array, shape (k,)
        As in `e_bh`.
    family : array of int, shape (k,)
        To which family each belongs; any numbers from 0 on, in any order.
    alpha : array, shape (k,), or float
        Bound of each family; the same for all its members; in (0, 1).

    Returns
    -------
    array, shape (k,)

    Raises
    ------
    InvalidParameterError
        If an `alpha` is outside its domain.

    References
    ----------
    .. [1] Wang, Ramdas (2022), JRSS B 84(3), Theorem 2.

    Examples
    --------
    >>> shared_levels(np.log([100, 1, 100]), np.array([7, 7, 2]), alpha=0.1).tolist()
    [0.05, 0.05, 0.1]
    """
    bound = np.broadcast_to(np.asarray(alpha, dtype=np.float64), log_e.shape)
    if not np.all((bound > 0) & (bound < 1)):
        raise InvalidParameterError(f"no error rate is {alpha=}")
    size = np.bincount(family)
    evidence = np.where(np.isnan(log_e), -np.inf, log_e)
    order = np.lexsort((-evidence, family))
    first = np.cumsum(size) - size
    place = np.arange(1, len(order) + 1) - first[family[order]]
    answered = evidence[order] >= -np.log(_level(bound[order], place, size[family[order]]))
    rejected = np.zeros(len(size), dtype=np.int64)
    np.maximum.at(rejected, family[order], np.where(answered, place, 0))
    return _level(bound, np.maximum(rejected, 1)[family], size[family])


def _level(alpha: FloatArray, rejected: IntArray, asked: IntArray) -> FloatArray:
    return alpha * rejected / asked
