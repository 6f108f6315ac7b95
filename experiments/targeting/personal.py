"""What a condition says about people: it must not stand where every visitor can read it."""

import re
from collections.abc import Iterator, Mapping

from experiments.targeting.operators import Operand

PERSONAL = frozenset(
    {"id", "uid", "uuid", "anonymous_id", "user_id", "targeting_key", "account_id", "device_id", "session_id"}
    | {"customer_id", "client_id", "member_id", "visitor_id", "user", "user_name", "username", "login"}
    | {"email", "e_mail", "mail", "email_address", "mail_address"}
    | {"phone", "phone_number", "mobile", "mobile_number", "tel", "telephone", "ip", "ip_address"}
)
"""Attributes that tell who somebody is."""

_NAMES_NOBODY = frozenset({"exists", "type", "size", "in_list", "not_in_list"})
_EMAIL = re.compile(r"\S@")
_DOMAIN = re.compile(r"@[^\s@]+")
_NO_ESCAPES = str.maketrans("", "", "[]\\")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_personal(attribute: str, units: frozenset[str] = frozenset()) -> bool:
    """Return whether an attribute holds what tells who somebody is, going by its name.

    Parameters
    ----------
    attribute : str
        The last step of a path counts; it may be in the plural and in capitals.
    units : frozenset of str
        Names beside those of `PERSONAL`.

    Returns
    -------
    bool

    Examples
    --------
    >>> [is_personal(name) for name in ("user.id", "userIds", "E-Mail", "user.plan", "tips")]
    [True, True, True, False, False]
    """
    step = attribute.rpartition(".")[2]
    plain = _HUMP.sub("_", step).lower().replace("-", "_")
    ways = (attribute, step, step.removesuffix("s"), plain, plain.removesuffix("s"), plain.removesuffix("es"))
    return not units.isdisjoint(ways) or not PERSONAL.isdisjoint(ways)


def personal_data(attribute: str, op: str, operand: Operand, units: frozenset[str]) -> str:
    """Say which personal data one comparison writes out.

    Parameters
    ----------
    attribute, op, operand
        Of a leaf.
    units : frozenset of str
        As for `is_personal`.

    Returns
    -------
    str
        The reason, or empty text.

    Examples
    --------
    >>> personal_data("contact", "starts_with", "maria@", frozenset())
    'it writes out an e-mail address'
    >>> personal_data("email", "ends_with", "@shop.example", frozenset())
    ''
    """
    if any(_EMAIL.search(text.translate(_NO_ESCAPES)) for text in _texts(operand)):
        return "it writes out an e-mail address"
    is_domain = op == "ends_with" and _DOMAIN.fullmatch(str(operand))
    if op in _NAMES_NOBODY or operand in (None, ()) or is_domain:
        return ""
    asked = (attribute, *_names(operand))
    name = next((name for name in asked if is_personal(name, units)), "")
    return f"it writes out ids of {name!r}" if name else ""


def _texts(operand: Operand) -> Iterator[str]:
    if isinstance(operand, str):
        yield operand
    elif isinstance(operand, tuple):
        for item in operand:
            yield from _texts(item)
    elif isinstance(operand, Mapping):
        yield from operand
        for item in operand.values():
            yield from _texts(item)


def _names(operand: Operand) -> Iterator[str]:
    """Yield the names of the members of objects."""
    if isinstance(operand, tuple):
        for item in operand:
            yield from _names(item)
    elif isinstance(operand, Mapping):
        yield from operand
        for item in operand.values():
            yield from _names(item)
