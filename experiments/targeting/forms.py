"""Words that conditions share: what kind of thing a node is, lengths of time, moments."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TypeAlias

from experiments.errors import InvalidDefinitionError
from experiments.notation import seconds_in

Path: TypeAlias = tuple[str | int, ...]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})")


def kind(node: object) -> str:
    """Say what a node is, for an error."""
    if isinstance(node, bool):
        return str(node).lower()
    if isinstance(node, str):
        return "a text"
    if isinstance(node, Mapping):
        return "a mapping"
    return "a list" if isinstance(node, list | tuple) else str(node)


def parse_duration(node: object, path: Path) -> int:
    """Return the seconds of a length of time such as ``30d``.

    Parameters
    ----------
    node : object
        As `experiments.notation.seconds_in` reads it.
    path : tuple of str or int
        Where it was written.

    Returns
    -------
    int

    Raises
    ------
    InvalidDefinitionError
        E210 when it is none.

    Examples
    --------
    >>> parse_duration("7d", ())
    604800
    """
    seconds = seconds_in(node)
    if seconds is None:
        said = repr(node) if isinstance(node, str) else kind(node)
        raise InvalidDefinitionError(
            f"expected a length of time up to 400d, not {said}",
            path=path,
            code="E210",
            hint="for example 30m, 24h or 7d",
        )
    return seconds


def parse_moment(op: str, node: object, path: Path) -> str:
    """Return the text with which moments are compared: ISO 8601 in UTC, whole seconds.

    Parameters
    ----------
    op : str
        ``before`` or ``after``. Nothing of a day lies after it, not even its last second.
    node : object
        ``2027-01-07T09:00+01:00``, always with a zone, or a day ``2027-01-31``.
    path : tuple of str or int
        Where it was written.

    Returns
    -------
    str

    Raises
    ------
    InvalidDefinitionError
        E211 when it is neither.

    Examples
    --------
    >>> parse_moment("before", "2027-01-07T09:00+01:00", ())
    '2027-01-07T08:00:00Z'
    >>> parse_moment("before", "2027-01-31", ()), parse_moment("after", "2027-01-31", ())
    ('2027-01-31', '2027-01-31T23:59:59Z')
    """
    text = node if isinstance(node, str) else ""
    try:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text).isoformat()
            return day if op == "before" else f"{day}T23:59:59Z"
        if _INSTANT.fullmatch(text):
            moment = datetime.fromisoformat(text).astimezone(UTC)
            return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    except (ValueError, OverflowError):
        text = ""
    said = repr(node) if isinstance(node, str) else kind(node)
    raise InvalidDefinitionError(
        f"{op!r} takes a time with a zone or a day, not {said}",
        path=path,
        code="E211",
        hint="for example 2027-01-07T09:00+01:00 or 2027-01-31",
    )
