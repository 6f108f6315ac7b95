"""What the checks of single days and single sources share."""

SMALL_SHARE = 0.01  # of all units: parts no larger cannot move a result by more, whatever is wrong with them


def weight(place: int) -> float:
    """Return the share of the level for the `place`-th part; over all parts they add up to 1.

    Parameters
    ----------
    place : int
        Of the part in the order in which the parts appear; from 1.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(1 / weight(place)) for place in (1, 2, 3)]
    [2, 6, 12]
    >>> round(sum(weight(place) for place in range(1, 1_000)), 3)
    0.999
    """
    return 1 / (place * (place + 1))
