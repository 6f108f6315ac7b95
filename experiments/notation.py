"""Lengths of time and shares as the YAML files write them: one grammar for everything that reads them."""

import re

LONGEST_S = 400 * 86_400

_DURATION = re.compile(r"([1-9][0-9]{0,7})\s?([smhdw])", re.ASCII)
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = ("d", "h", "m", "s")


def seconds_in(text: object) -> int | None:
    """Return the seconds in a length of time.

    Parameters
    ----------
    text : object
        ``30m``, ``24h``, ``7d`` or ``2w``, up to ``400d``; seconds, ``90s``, are read too.

    Returns
    -------
    int or None
        None for anything else.

    Examples
    --------
    >>> seconds_in("7d"), seconds_in("401d"), seconds_in("0d"), seconds_in(7)
    (604800, None, None, None)
    """
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    return seconds if 0 < seconds <= LONGEST_S else None


def duration_words(seconds: int) -> str:
    """Return seconds in the largest unit up to days that holds them without a rest.

    Parameters
    ----------
    seconds : int
        Any number.

    Returns
    -------
    str
        What `seconds_in` reads.

    Examples
    --------
    >>> duration_words(604_800), duration_words(5_400)
    ('7d', '90m')
    """
    unit = next(unit for unit in _WRITTEN if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


def percent(basis_points: int) -> str:
    """Return basis points as a percentage.

    Parameters
    ----------
    basis_points : int
        10,000 are all.

    Returns
    -------
    str

    Examples
    --------
    >>> percent(5_000), percent(1_250)
    ('50%', '12.5%')
    """
    return f"{basis_points / 100:g}%"
