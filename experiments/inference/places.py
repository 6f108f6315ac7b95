"""Where a quantile lies: in a histogram whose bins are cut in parts, as if a bin's units lay evenly in it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from experiments.histogram import EDGES, N_BINS
from experiments.inference.interval import FloatArray, IntArray
from experiments.moments import SCALE

PARTS = 4  # of a bin: an interval is rounded outwards by one part at most, half a per cent
LAST = N_BINS - 1
START = np.array([0, *EDGES], dtype=np.float64)  # of each bin, in micro-units
WIDTH = np.array([0, *np.diff(EDGES), 0], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a quantile may lie, ascending: the bins, each cut in `parts`. Arrays of shape (1024 * parts,).

    The first and the last bin are not cut, but repeated: one holds the single value 0, the other has no end.

    Attributes
    ----------
    number : array of int
        Of the bin.
    since, until : array
        Share of the bin's units below the place, and up to its upper end.
    low, high : array
        Ends of the place, in micro-units.
    """

    parts: int
    number: IntArray
    since: FloatArray
    until: FloatArray
    low: FloatArray
    high: FloatArray

    def __len__(self) -> int:
        return len(self.number)


@lru_cache
def places_of(parts: int) -> Places:
    """Return the places when each bin is cut in `parts`, at least 1.

    Parameters
    ----------
    parts : int
        Of each bin.

    Returns
    -------
    Places

    Examples
    --------
    >>> places_of(2).low[:6].tolist(), places_of(2).high[:6].tolist()
    ([0.0, 0.0, 1.0, 5000.0, 10001.0, 10102.5], [0.0, 0.0, 5000.0, 10000.0, 10102.5, 10205.0])
    """
    number = np.repeat(np.arange(N_BINS), parts)
    part = np.tile(np.arange(parts), N_BINS)
    whole = (number == 0) | (number == LAST)
    since, until = np.where(whole, 0.0, part / parts), np.where(whole, 1.0, (part + 1) / parts)
    start, width = START[number], WIDTH[number]
    low = np.where(number == 0, 0.0, start + np.maximum(since * width, 1))
    high = np.where(number == LAST, np.inf, start + until * width)
    return Places(parts, number, since, until, low, high)


def placed(below: FloatArray, units: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the bin in which a number of units is reached, and which share of the bin's units that takes.

    Parameters
    ----------
    below : array, shape (k, 1025)
        Units below each bin, and in all.
    units : array, shape (k,)
        Above 0, at most all.

    Returns
    -------
    number : array of int, shape (k,)
        Of the bin.
    share : array, shape (k,)
        In [0, 1]; nan without units.

    Examples
    --------
    >>> below = np.minimum(np.arange(1025.0) * 4, 8)[None, :]
    >>> [found.tolist() for found in placed(below, np.array([5.0]))]
    [[1], [0.25]]
    """
    rows = np.arange(len(units))
    number = np.minimum((below[:, 1:] < units[:, None]).sum(axis=1), LAST)
    before, held = below[rows, number], below[rows, number + 1] - below[rows, number]
    share = np.full(len(units), np.nan)
    np.divide(units - before, held, out=share, where=held > 0)
    return number, share


def sample_quantiles(counts: IntArray, quantile: FloatArray) -> FloatArray:
    """Return the sample quantile of each histogram, inside its bin as if units lay evenly.

    Parameters
    ----------
    counts : array of int, shape (k, 1024)
        Units by bin of `experiments.histogram`.
    quantile : array, shape (k,)
        Which quantile; in (0, 1).

    Returns
    -------
    array, shape (k,)
        In the metric's unit; nan without units. In the last bin, whose end is not known, its beginning.

    Examples
    --------
    >>> counts = np.zeros((2, N_BINS), dtype=np.int64)
    >>> counts[0, 1] = 5
    >>> sample_quantiles(counts, np.array([0.5, 0.5])).round(3).tolist()
    [0.005, nan]
    """
    return read_off(cumulated(counts), quantile)


def read_off(below: FloatArray, quantile: FloatArray) -> FloatArray:
    """Return `sample_quantiles` of histograms that are added up already.

    Parameters
    ----------
    below : array, shape (k, 1025)
        As from `cumulated`.
    quantile : array, shape (k,)
        In (0, 1).

    Returns
    -------
    array, shape (k,)
        In the metric's unit; nan without units.

    Examples
    --------
    >>> read_off(np.minimum(np.arange(1025.0) * 4, 8)[None, :], np.array([0.75])).tolist()
    [0.005]
    """
    number, share = placed(below, quantile * below[:, -1])
    inside = np.where(number == 0, 0.0 * share, np.maximum(share * WIDTH[number], 1))
    return np.asarray((START[number] + inside) / SCALE)


def cumulated(counts: IntArray) -> FloatArray:
    """Return how many units lie below each bin, and in all.

    Parameters
    ----------
    counts : array of int, shape (k, 1024)
        Units by bin.

    Returns
    -------
    array, shape (k, 1025)

    Examples
    --------
    >>> cumulated(np.array([[1, 2, 3]])).tolist()
    [[0.0, 1.0, 3.0, 6.0]]
    """
    below = np.zeros((len(counts), counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=below[:, 1:])
    return below
