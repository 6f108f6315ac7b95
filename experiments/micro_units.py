"""Amounts as whole numbers: millionths of their unit, so that every engine adds up the same digits."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import isfinite

from experiments.moments import SCALE

MAX_AMOUNT = 10**18  # a single number beyond this is cut to it, so that it fits 64 bits
# Python's default 28 digits would round a long number twice.
_EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN)
_MICRO = Decimal(SCALE)


def micro_of(value: object) -> int | None:
    """Return a JSON number in micro-units, its decimal form rounded half to even; None for anything else.

    Parameters
    ----------
    value : object
        Of a property.

    Returns
    -------
    int or None
        Cut to 10^18 either way.

    Examples
    --------
    >>> micro_of(0.1), micro_of(0.0000005), micro_of(True), micro_of("3")
    (100000, 0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return cut(value * SCALE, MAX_AMOUNT)
    if not isfinite(value):
        return None
    scaled = _EXACT.multiply(Decimal(repr(value)), _MICRO)
    return cut(int(_EXACT.to_integral_value(scaled)), MAX_AMOUNT)


def is_exact(value: object) -> bool:
    """Return whether a number is below 10^12 either way and has at most six decimals: nothing is lost.

    Parameters
    ----------
    value : object
        Of a catalog.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_exact(0.1), is_exact(0.0000001), is_exact(10**12), is_exact("1")
    (True, False, False, False)
    """
    micro = micro_of(value)
    if micro is None or abs(micro) >= MAX_AMOUNT:
        return False
    return Decimal(micro) == _EXACT.multiply(Decimal(repr(value)), _MICRO)


def cut(number: int, limit: int) -> int:
    """Return a number no further from 0 than `limit`.

    Parameters
    ----------
    number, limit : int
        The limit is not negative.

    Returns
    -------
    int

    Examples
    --------
    >>> cut(-7, 5)
    -5
    """
    return max(-limit, min(limit, number))
