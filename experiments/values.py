"""JSON values, as catalogs and events hold them."""

from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


def same_plain(one: object, other: object) -> bool:
    """Return whether two plain JSON values are equal: 5 is 5.0, true is not 1, lists and objects never are.

    Parameters
    ----------
    one, other : object
        JSON values; anything else equals nothing.

    Returns
    -------
    bool

    Examples
    --------
    >>> same_plain(5, 5.0), same_plain(1, True), same_plain([1], [1])
    (True, False, False)
    """
    plain = is_plain(one) and is_plain(other)
    return plain and isinstance(one, bool) == isinstance(other, bool) and one == other


def is_plain(value: object) -> bool:
    """Return whether a value is a text, a number, true, false or null.

    Parameters
    ----------
    value : object
        Any value.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_plain("x"), is_plain(None), is_plain(["x"])
    (True, True, False)
    """
    return value is None or isinstance(value, str | int | float)


def type_name(value: JsonValue) -> str:
    """Return OpenFeature's name for the type of `value`; whole and broken numbers are both ``number``.

    Parameters
    ----------
    value : JsonValue
        Any JSON value.

    Returns
    -------
    str

    Examples
    --------
    >>> type_name(True), type_name(5.0), type_name([])
    ('boolean', 'number', 'object')
    """
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "object"
