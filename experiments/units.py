"""Which text of a context identifies a unit or a person."""

from collections.abc import Mapping

from experiments.hashing import unit_raw
from experiments.identifiers import MAX_IDENTIFIER, is_identifier

ANONYMOUS_ID = "anonymous_id"
USER_ID = "user_id"
TARGETING_KEY = "targetingKey"
PEOPLE = (ANONYMOUS_ID, USER_ID)
"""The units that are people, whose history belongs to them."""

_TOO_LARGE = 10**MAX_IDENTIFIER  # Python refuses to print numbers of thousands of digits
_DELETE = 0x7F
_CONTROLS_ASIDE = bytes(ord("?") if byte < ord(" ") or byte == _DELETE else byte for byte in range(256))


def unit_text(value: object) -> str | None:
    """Return a unit id as the text that is hashed, or None when it cannot identify a unit.

    GrowthBook's SDKs do not bucket empty text, 0 or null either, and write whole numbers without a point.

    Parameters
    ----------
    value : object
        An attribute of the context.

    Returns
    -------
    str or None
        Text as it is, whole numbers in decimal; None for everything else.

    Examples
    --------
    >>> unit_text("u1"), unit_text(7), unit_text(7.0), unit_text(0), unit_text(True)
    ('u1', '7', '7', None, None)
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value) if abs(value) < _TOO_LARGE else None


def unit_id_of(unit: str, context: Mapping[str, object]) -> str | None:
    """Return the id that `unit` is randomized by, or None if the context does not hold one.

    An id that no event could carry (longer than 128 characters, control characters) is none: its exposure
    could never be stored, so it must not be enrolled.

    Parameters
    ----------
    unit : str
        Name of the attribute; ``anonymous_id`` may also arrive as OpenFeature's ``targetingKey``.
    context : mapping of str to object
        Attributes of the unit.

    Returns
    -------
    str or None
        The text that is hashed.

    Examples
    --------
    >>> unit_id_of("anonymous_id", {"targetingKey": "t-1"})
    't-1'
    """
    found = unit_text(context.get(unit))
    if is_identifier(found):
        return found
    if unit == ANONYMOUS_ID:
        found = unit_text(context.get(TARGETING_KEY))
        return found if is_identifier(found) else None
    return None


def unit_raw_of(unit: str, context: Mapping[str, object]) -> bytes | None:
    """Return `unit_id_of` as `experiments.hashing.unit_raw` writes it; plain ids in a third of the time.

    Parameters
    ----------
    unit : str
        Name of the attribute.
    context : mapping of str to object
        Attributes of the unit.

    Returns
    -------
    bytes or None
        None if the context does not hold a usable id.

    Examples
    --------
    >>> unit_raw_of("anonymous_id", {"targetingKey": "t-1"})
    b't-1'
    """
    value = context.get(unit)
    if value is None and unit == ANONYMOUS_ID:
        value = context.get(TARGETING_KEY)
    if isinstance(value, str) and value.isascii():
        raw = value.encode()
        if 0 < len(raw) <= MAX_IDENTIFIER and raw.translate(_CONTROLS_ASIDE) == raw:
            return raw
    found = unit_id_of(unit, context)
    return None if found is None else unit_raw(found)
