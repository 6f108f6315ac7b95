"""The bins of a quantile: whole micro-units, about 2 % wide, fixed for ever, so that histograms add up.

Edges never change: histograms of different days, servers and releases are added bin by bin.
"""

from bisect import bisect_left

from experiments.errors import InvalidParameterError

N_BINS = 1024
_FIRST = 10_000  # one cent
_GROWTH = 10_205  # an edge is 1.0205 times the one before: 1,021 steps of it reach 10^7 units


def _edges() -> tuple[int, ...]:
    edges = [0, _FIRST]
    while len(edges) < N_BINS - 1:
        # Whole numbers only: no floating point, so no machine rounds an edge differently.
        edges.append((edges[-1] * _GROWTH + 5_000) // 10_000)
    return tuple(edges)


EDGES = _edges()
"""Upper ends of the bins 0 to 1,022, in micro-units, ascending; the last bin has none."""


def bin_of(value_micro: int) -> int:
    """Return the bin of a value.

    Bin 0 holds 0 and everything below, bin 1 what is above 0 and at most 0.01, the last bin all above
    9.95 million. A bin includes its upper end and not its lower one.

    Parameters
    ----------
    value_micro : int
        In micro-units.

    Returns
    -------
    int
        In 0..1023.

    Examples
    --------
    >>> bin_of(0), bin_of(1), bin_of(10_000), bin_of(10_001), bin_of(10**18)
    (0, 1, 1, 2, 1023)
    """
    return bisect_left(EDGES, value_micro)


def lower_end(number: int) -> int:
    """Return the smallest value that a bin holds, in micro-units; of bin 0, which counts as zero, 0.

    Parameters
    ----------
    number : int
        Of the bin, in 0..1023.

    Returns
    -------
    int
        In micro-units.

    Raises
    ------
    InvalidParameterError
        If there is no such bin.

    Examples
    --------
    >>> lower_end(0), lower_end(1), lower_end(2)
    (0, 1, 10001)
    """
    _check(number)
    return EDGES[number - 1] + 1 if number else 0


def upper_end(number: int) -> int | None:
    """Return the largest value that a bin holds, in micro-units; None for the last bin.

    Parameters
    ----------
    number : int
        Of the bin, in 0..1023.

    Returns
    -------
    int or None
        In micro-units.

    Raises
    ------
    InvalidParameterError
        If there is no such bin.

    Examples
    --------
    >>> upper_end(0), upper_end(1), upper_end(2), upper_end(1023)
    (0, 10000, 10205, None)
    """
    _check(number)
    return EDGES[number] if number < N_BINS - 1 else None


def _check(number: int) -> None:
    if not 0 <= number < N_BINS:
        raise InvalidParameterError(f"there is no bin {number}")
