"""Conditions as GrowthBook's SDKs read them.

Its SDKs disagree with one another where an operator meets a value of another type: JavaScript turns the value
into a number or a text, Python answers no. What leaves here says the type too, so that every SDK gives the
answer of `compile_condition`. One gap stays: a number sent as a text is a number in JavaScript only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from experiments.growthbook.patterns import UntranslatableError, anchored_end, literal, portable
from experiments.targeting.conditions import ELEMENT, All, Any_, AudienceRef, Condition, Inside, Leaf, Not
from experiments.targeting.operators import VALUE_OPERATORS, Operand

Node: TypeAlias = dict[str, Any]
"""Operators and operands that are asked of one value, or a whole condition."""

NOT_AN_ARRAY: Node = {"$not": {"$type": "array"}}
_PLAIN = {
    "in": "$in",
    "not_in": "$nin",
    "in_any_case": "$ini",
    "not_in_any_case": "$nini",
    "in_list": "$inGroup",
    "not_in_list": "$notInGroup",
    "exists": "$exists",
    "type": "$type",
}
_COMPARISONS = {"gt": "$gt", "gte": "$gte", "lt": "$lt", "lte": "$lte", "before": "$lt", "after": "$gt"}
_VERSIONS = {
    name: "$v" + name.removeprefix("semver_") for name in VALUE_OPERATORS if name.startswith("semver_")
}
_PATTERNS: Mapping[str, Callable[[str], str]] = {
    "regex": portable,
    "regex_any_case": lambda pattern: portable(pattern, fold=True),
    "starts_with": lambda text: "^" + literal(text),
    "ends_with": anchored_end,
}
_TAKEN = frozenset({"$and", "$or", "$nor", "$not", "$savedGroup", "$savedGroups"})
_INHERITED = frozenset(
    {"constructor", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable"}
    | {"toLocaleString", "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__"}
    | {"__lookupSetter__"}
)
_FIELDS: Node = {"_": {"$nin": []}}
"""Holds for everything, and tells JavaScript that what stands beside it asks the members of an object."""


def to_mongo(condition: Condition, audiences: Mapping[str, Condition]) -> Node:
    """Return a condition in GrowthBook's form.

    It does not hide anything: ask `needs_server` before what it returns is published.

    Parameters
    ----------
    condition : Condition
        What must hold.
    audiences : mapping of str to Condition
        Every named condition of the catalog; they are written out.

    Returns
    -------
    dict
        JSON; lists are called by their names.

    Raises
    ------
    UntranslatableError
        If there is no form that every SDK understands alike.

    Examples
    --------
    >>> to_mongo(Leaf("country", "in", ("ES", "PT")), {})
    {'country': {'$in': ['ES', 'PT']}}
    """
    match condition:
        case All(parts):
            return every([to_mongo(part, audiences) for part in parts])
        case Any_(parts):
            return _some([to_mongo(part, audiences) for part in parts])
        case Not(part):
            return {"$not": to_mongo(part, audiences)}
        case AudienceRef(name):
            return to_mongo(audiences[name], audiences)
        case Leaf(attribute, op, operand):
            return _asked(attribute, _leaf(op, operand))
        case Inside(attribute, op, part):
            return _asked(attribute, _inside(op, part))
    raise UntranslatableError("no SDK knows what people did")


def _asked(attribute: str, alternatives: Sequence[Node]) -> Node:
    first, *rest = attribute.split(".")
    if first in _TAKEN or any(step in _INHERITED for step in (first, *rest)):
        raise UntranslatableError(f"an SDK cannot ask for an attribute called {attribute!r}")
    if any(step == "length" or (step.isascii() and step.isdigit()) for step in rest):
        raise UntranslatableError(f"an SDK would look into a list for {attribute!r}")
    return _some([{attribute: one} for one in alternatives])


def every(parts: Sequence[Node]) -> Node:
    """Return a condition that holds when all parts do.

    Parameters
    ----------
    parts : sequence of dict
        In GrowthBook's form; an empty one holds for everybody.

    Returns
    -------
    dict

    Examples
    --------
    >>> every([{"a": {"$eq": 1}}, {}, {"b": {"$eq": 2}}])
    {'a': {'$eq': 1}, 'b': {'$eq': 2}}
    """
    found = [part for part in parts if part]
    names = [name for part in found for name in part]
    if len(set(names)) == len(names):
        return {name: value for part in found for name, value in part.items()}
    return {"$and": found}


def _some(parts: Sequence[Node]) -> Node:
    return parts[0] if len(parts) == 1 else {"$or": list(parts)}


# --- one value: operators that must all hold, in alternatives of which one must


def _leaf(op: str, operand: Operand) -> list[Node]:
    if op in _PLAIN:
        return [{_PLAIN[op]: _plain(operand)}]
    if op in _COMPARISONS:
        return _comparison(op, operand)
    if op in _VERSIONS:
        return _version(op, cast("str", operand))
    if op in _PATTERNS:
        return [_pattern(_PATTERNS[op](cast("str", operand)))]
    if op.removeprefix("not_") in _PATTERNS:
        return [{"$not": _leaf(op.removeprefix("not_"), operand)[0]}]
    return _OTHERS[op](operand)


def _is_scalar(operand: Operand) -> bool:
    return not isinstance(operand, tuple | Mapping)


def _plain(operand: Operand) -> Any:  # noqa: ANN401 - JSON
    if isinstance(operand, tuple):
        return [_plain(item) for item in operand]
    if isinstance(operand, Mapping):
        if len(operand) != 1 or any(name.startswith("$") for name in operand):
            raise UntranslatableError("SDKs compare objects of several members by their order too")
        return {name: _plain(item) for name, item in operand.items()}
    return operand


def _equal(operand: Operand) -> list[Node]:
    if operand is None:
        return [{"$exists": False}]
    return [{"$eq": operand} if _is_scalar(operand) else {"$not": {"$not": _plain(operand)}}]


def _unequal(operand: Operand) -> list[Node]:
    if operand is None:
        return [{"$exists": True}]
    return [{"$ne": operand} if _is_scalar(operand) else {"$not": _plain(operand)}]


def _has_all(operand: Operand) -> list[Node]:
    return [{"$all": [{"$eq": item} for item in cast("tuple[Operand, ...]", operand)]}]


def _has_all_any_case(operand: Operand) -> list[Node]:
    wanted = cast("tuple[Operand, ...]", operand)
    return [{"$all": [{"$ini": [item], **NOT_AN_ARRAY} for item in wanted]}]


def _pattern(pattern: str) -> Node:
    return {"$type": "string", "$regex": pattern}


def _contains(operand: Operand) -> list[Node]:
    held: Node = {"$type": "array", "$in": [operand]}
    return [_pattern(literal(operand)), held] if isinstance(operand, str) else [held]


def _comparison(op: str, operand: Operand) -> list[Node]:
    """Compare with a number, or with a text; what has no number in it compares as false."""
    holds = VALUE_OPERATORS[op].build(operand)
    words = [value for value in (None, True, False) if holds(value)]
    others: list[Node] = [{"$in": words, **NOT_AN_ARRAY}] if words else []
    name = _COMPARISONS[op]
    if not isinstance(operand, str):
        return [{name: operand, **NOT_AN_ARRAY}, *others]
    as_number = _number_in(operand)
    numbers: list[Node] = [] if as_number is None else [{"$type": "number", name: as_number}]
    return [{"$type": "string", name: operand}, *numbers, *others]


def _number_in(text: str) -> float | None:
    """Return the number that JavaScript reads in an operand, None if none or one that JSON cannot hold."""
    is_number = VALUE_OPERATORS["gte"].build(text)(math.inf)
    try:
        found = float(text.strip() or 0)
    except ValueError:
        return None
    return found if is_number and math.isfinite(found) else None


def _version(op: str, operand: str) -> list[Node]:
    name = _VERSIONS[op]
    if not VALUE_OPERATORS[op].build(operand)(None):
        return [{name: operand}]
    types = [{"$type": other} for other in ("boolean", "array", "object")]
    return [{name: operand}, {"$exists": False}, *types]


_OTHERS: Mapping[str, Callable[[Operand], list[Node]]] = {
    "eq": _equal,
    "ne": _unequal,
    "contains": _contains,
    "has_all": _has_all,
    "has_all_any_case": _has_all_any_case,
}


# --- what a list holds


Ask: TypeAlias = Callable[[str, Operand], list[Node]]


def _inside(op: str, part: Condition) -> list[Node]:
    if op == "size":
        return [{"$size": one} for one in _of_element(part, _of_number)]
    if _asks_elements(part):
        return [{"$elemMatch": one} for one in _of_element(part, _leaf)]
    return [{"$elemMatch": {**_FIELDS, **_clear_of_fields(to_mongo(part, {}))}}]


def _clear_of_fields(condition: Node) -> Node:
    return {"$and": [condition]} if "_" in condition else condition


def _asks_elements(part: Condition) -> bool:
    match part:
        case All(parts) | Any_(parts):
            return any(_asks_elements(one) for one in parts)
        case Not(inner):
            return _asks_elements(inner)
        case Leaf(attribute=name) | Inside(attribute=name):
            return name == ELEMENT
    return False


def _of_number(op: str, operand: Operand) -> list[Node]:
    """Return the alternatives that a number can fit."""
    return [one for one in _leaf(op, operand) if not _is_for_words(one)]


def _is_for_words(one: Node) -> bool:
    return "$in" in one and all(item is None or isinstance(item, bool) for item in one["$in"])


def _of_element(part: Condition, ask: Ask) -> list[Node]:
    """Return alternatives, of which an element must fit one with all of its operators."""
    match part:
        case Any_(parts):
            return [one for inner in parts for one in _of_element(inner, ask)]
        case All(parts):
            return _together([_of_element(inner, ask) for inner in parts])
        case Not(inner):
            return _together([[{"$not": one}] for one in _of_element(inner, ask)])
        case Leaf(op=op, operand=operand):
            return ask(op, operand)
        case Inside(op=op, part=inner):
            return _inside(op, inner)
    raise UntranslatableError("an element cannot be asked for an audience or a behaviour")


def _together(groups: Sequence[Sequence[Node]]) -> list[Node]:
    combined: list[Node] = [{}]
    for group in groups:
        combined = [_both(left, right) for left in combined for right in group]
    return combined


def _both(left: Node, right: Node) -> Node:
    """Return operators that hold when both do; a double negation makes room for one used twice."""
    clash = [name for name in left.keys() & right.keys() if left[name] != right[name]]
    if not clash:
        return {**left, **right}
    if clash == ["$in"]:
        return {**left, **right, "$in": [item for item in left["$in"] if _holds(right["$in"], item)]}
    for one, two in ((left, right), (right, left)):
        if "$not" not in one:
            return {**one, "$not": {"$not": two}}
    raise UntranslatableError("too many conditions on one element of a list")


def _holds(items: Sequence[object], wanted: object) -> bool:
    return any(item == wanted and isinstance(item, bool) == isinstance(wanted, bool) for item in items)
