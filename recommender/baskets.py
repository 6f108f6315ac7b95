"""How a person's events fall into baskets; serving needs this without the tables of `interactions`."""

import numpy as np
import numpy.typing as npt

BASKET_GAP_US = 30 * 60 * 1_000_000
"""A longer pause starts a new basket: the lines of an order and the views of one visit belong together."""


def basket_ages(occurred_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return, for the events of one person in order of time, newest first, how many baskets ago each was.

    Parameters
    ----------
    occurred_us : array of int, shape (n,)
        Microseconds, descending.

    Returns
    -------
    array of int, shape (n,)
        0 for the newest basket; it grows by one at each pause longer than `BASKET_GAP_US`.

    Examples
    --------
    >>> basket_ages(np.array([9_000_000_000, 8_999_000_000, 1_000_000_000])).tolist()
    [0, 0, 1]
    """
    if occurred_us.size == 0:
        return np.zeros(0, dtype=np.int64)
    pause = occurred_us[:-1] - occurred_us[1:] > BASKET_GAP_US
    return np.concatenate([[0], np.cumsum(pause)]).astype(np.int64)
