"""The nodes of a condition, and what can be told about it without asking anybody."""

import builtins
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from experiments.targeting.operators import Operand, Scalar
from experiments.targeting.personal import is_personal, personal_data
from experiments.units import ANONYMOUS_ID, TARGETING_KEY, USER_ID

Attributes: TypeAlias = Mapping[str, object]

ELEMENT = ""
"""The attribute of a leaf that asks an element (or a length) itself; no attribute can be called so."""

REQUEST = "request"
UNITS = frozenset({ANONYMOUS_ID, USER_ID, TARGETING_KEY, "account_id", "device_id", "session_id"})

_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; no parts hold for everybody."""

    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - `Any` is taken by typing
    """At least one part holds."""

    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Condition"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One operator on one attribute; dots in the name walk into objects."""

    attribute: str
    op: str
    operand: Operand


@dataclass(frozen=True, slots=True)
class Inside:
    """A condition of its own on what one list holds.

    Attributes
    ----------
    op : str
        ``any_element``: at least one element fits. ``size``: the number of elements fits.
    part : Condition
        Its leaves ask the element (the number) itself where their attribute is `ELEMENT`, else an attribute
        of an element that is an object; the two are never mixed. It holds All, Any_, Not, Leaf and Inside.
    """

    attribute: str
    op: str
    part: "Condition"


@dataclass(frozen=True, slots=True)
class AudienceRef:
    """A condition that has a name in the catalog."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A fact about what a person did, that only ever becomes true while events arrive: measure >= at_least.

    Attributes
    ----------
    where : tuple of (property, value)
        What the event's properties must equal, in order of property.
    measure : str
        ``count`` of events or ``sum`` of their `property`.
    within_s : int or None
        Only events of the last so many seconds; None is ever.
    """

    event: str
    where: tuple[tuple[str, Scalar], ...] = ()
    measure: str = "count"
    property: str = ""
    at_least: int | float = 1
    within_s: int | None = None

    @builtins.property
    def key(self) -> str:
        """Name the fact in a membership file: 16 hex digits that depend on nothing but the fact."""
        facts = {
            "event": self.event,
            "where": dict(self.where),
            "measure": self.measure,
            "property": self.property,
            "at_least": self.at_least,
            "within_s": self.within_s,
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


Condition: TypeAlias = All | Any_ | Not | Leaf | Inside | AudienceRef | Behaviour


def audience_refs(condition: Condition) -> frozenset[str]:
    """Return the names of the audiences that `condition` mentions itself, not those behind them.

    Parameters
    ----------
    condition : Condition
        Any condition.

    Returns
    -------
    frozenset of str
        Names; they need not exist.

    Examples
    --------
    >>> sorted(audience_refs(Any_((AudienceRef("loyal"), Leaf("age", "gt", 65)))))
    ['loyal']
    """
    return frozenset(node.name for node in nodes(condition) if isinstance(node, AudienceRef))


def list_refs(condition: Condition) -> frozenset[str]:
    """Return the names of the lists that `condition` mentions itself, not those of its audiences.

    Parameters
    ----------
    condition : Condition
        Any condition.

    Returns
    -------
    frozenset of str
        Names; they need not exist.

    Examples
    --------
    >>> sorted(list_refs(Not(Leaf("user_id", "in_list", "vips"))))
    ['vips']
    """
    return frozenset(
        str(node.operand)
        for node in nodes(condition)
        if isinstance(node, Leaf) and node.op in ("in_list", "not_in_list")
    )


def behaviours(condition: Condition, audiences: Mapping[str, Condition]) -> frozenset[Behaviour]:
    """Return every fact about behaviour that decides `condition`, also through its audiences.

    Parameters
    ----------
    condition : Condition
        Any condition.
    audiences : mapping of str to Condition
        Every named condition of the catalog; what it lacks is passed over.

    Returns
    -------
    frozenset of Behaviour
        Each with the key under which the membership file must hold it.

    Examples
    --------
    >>> tea = Behaviour(event="Product Viewed", at_least=3)
    >>> behaviours(AudienceRef("fans"), {"fans": Not(tea)}) == {tea}
    True
    """
    reached = _reached(condition, audiences)
    return frozenset(node for part in reached for node in nodes(part) if isinstance(node, Behaviour))


def reads_request(condition: Condition, audiences: Mapping[str, Condition]) -> bool:
    """Return whether `condition` asks for an attribute of the request, such as ``request.device``.

    Parameters
    ----------
    condition : Condition
        Any condition.
    audiences : mapping of str to Condition
        Every named condition of the catalog.

    Returns
    -------
    bool

    Examples
    --------
    >>> reads_request(Leaf("request.hour", "gte", 8), {})
    True
    """
    return any(_asks_request(node) for part in _reached(condition, audiences) for node in nodes(part))


def needs_server(
    condition: Condition, audiences: Mapping[str, Condition], *, units: frozenset[str] = UNITS
) -> str:
    """Say why an SDK in a browser cannot, or must not, decide a condition by itself.

    Parameters
    ----------
    condition : Condition
        Any condition.
    audiences : mapping of str to Condition
        Every named condition of the catalog.
    units : frozenset of str
        Attributes that hold ids of people, beside those of `experiments.targeting.personal`; what they are
        compared with must not be published.

    Returns
    -------
    str
        The reason, or empty text.

    Examples
    --------
    >>> needs_server(Leaf("country", "eq", "ES"), {})
    ''
    >>> needs_server(Leaf("user_id", "in", ("u1", "u2")), {})
    "it writes out ids of 'user_id'"
    """
    found = (_reason(node, units) for part in _reached(condition, audiences) for node in nodes(part))
    return next((reason for reason in found if reason), "")


def _reason(node: Condition, units: frozenset[str]) -> str:
    if isinstance(node, Behaviour):
        return f"it asks what people did ({node.event})"
    if _asks_request(node):
        return "it asks for attributes of the request"
    return _published(node, units) if isinstance(node, Leaf | Inside) else ""


def _published(node: Leaf | Inside, units: frozenset[str]) -> str:
    if isinstance(node, Leaf):
        return personal_data(node.attribute, node.op, node.operand, units)
    looks_into = node.op == "any_element" and is_personal(node.attribute, units)
    return f"it looks into {node.attribute!r}" if looks_into else ""


def _asks_request(node: Condition) -> bool:
    return isinstance(node, Leaf | Inside) and node.attribute.partition(".")[0] == REQUEST


def nodes(condition: Condition) -> Iterator[Condition]:
    """Yield a condition and each of its parts; an audience is one part.

    Parameters
    ----------
    condition : Condition
        Any condition.

    Yields
    ------
    Condition

    Examples
    --------
    >>> [type(node).__name__ for node in nodes(Not(AudienceRef("loyal")))]
    ['Not', 'AudienceRef']
    """
    yield condition
    match condition:
        case All(parts) | Any_(parts):
            for part in parts:
                yield from nodes(part)
        case Not(part) | Inside(part=part):
            yield from nodes(part)


def _reached(condition: Condition, audiences: Mapping[str, Condition]) -> list[Condition]:
    """Return the condition and every audience that it builds on, each once."""
    reached, seen = [condition], set[str]()
    for part in reached:
        for name in sorted(audience_refs(part) - seen):
            seen.add(name)
            if name in audiences:
                reached.append(audiences[name])
    return reached
