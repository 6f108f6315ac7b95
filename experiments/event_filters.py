"""Which events count: the language of audiences, asked of an event's own properties.

Every engine must give the same answer, so an event is asked less than a visitor, and more strictly:

- A property is asked by the name that it has, at the top of `properties`; a dot in it is a dot.
- `eq`, `ne`, `in` and `not_in` compare JSON values exactly: 5 is 5.0, true is not 1, "5" is not 5, texts are
  equal character by character. `ne` and `not_in` are the opposites: they hold where the property is absent.
  `null` equals a property that is null, never one that is absent.
- `gt`, `gte`, `lt` and `lte` compare numbers in whole micro-units, a property rounded to its sixth decimal,
  half to even. What is absent, null, true, or a text (also "5") is no number: none of the four holds.
- `exists` asks for a text, a number, true or false. A list or an object is no value here, for any operator.

Each question is answered by yes or no, never by null; `all`, `any`, `none` and `not` are plain logic.
"""

import difflib
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from experiments.errors import InvalidDefinitionError
from experiments.micro_units import is_exact, micro_of
from experiments.targeting.conditions import All, Any_, Condition, Leaf, Not, nodes
from experiments.targeting.forms import Path, kind
from experiments.targeting.syntax import MAX_DEPTH, OPERATORS, SPELLED, parse_attribute
from experiments.values import JsonValue, is_plain, same_plain

MAX_VALUES = 1_000
MAX_PARTS = 200
OF_FACTS = ("eq", "ne", "in", "not_in", "exists")
COMPARISONS: Mapping[str, Callable[[int, int], bool]] = MappingProxyType(
    {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
)
EVERYTHING: Condition = All(())
JOINING = ("all", "any", "none")
POSSIBLE = (*OF_FACTS, *COMPARISONS)
_POSSIBLE = "possible are " + ", ".join(POSSIBLE)
_PATTERNS = "engines differ in their regular expressions"
_TIMES = "times among properties are texts, which every sender writes in its own way"
_REFUSED = (
    ("regex", _PATTERNS, "send a property that says it, and ask for eq or in"),
    ("before", _TIMES, "send a number that says it"),
    (
        "after",
        _TIMES,
        "send a number that says it; a key of the metric counts from the first exposure: after",
    ),
)
_ABSENT = object()


def parse_filter(node: object, *, path: Path = ()) -> Condition:
    """Turn the plain data of a `where` into a condition, or say what is wrong and where.

    Parameters
    ----------
    node : object
        ``{category: tea}``, ``{price: {gte: 10, lt: 20}}``, ``{any: [{..}, {..}]}``: members must all hold.
        `all`, `any` and `none` with a list, and `not` with a mapping, join; any other key is a property.
    path : tuple of str or int
        Where `node` sits in its file; put in front of the path of an error.

    Returns
    -------
    Condition
        Of All, Any_, Not and Leaf only; `EVERYTHING` for an empty mapping.

    Raises
    ------
    InvalidDefinitionError
        With codes E201 to E204, E206, E209 and E212.

    Examples
    --------
    >>> parse_filter({"price": {"gte": 10}})
    Leaf(attribute='price', op='gte', operand=10)
    """
    condition = _parse(node, path)
    n = sum(1 for _ in nodes(condition))
    if n > MAX_PARTS:
        message = f"a filter has at most {MAX_PARTS} parts, not {n:,}"
        hint = "ask several values of one property at once: {sku: {in: [...]}}"
        raise InvalidDefinitionError(message, path=path, code="E209", hint=hint)
    return condition


def matches(condition: Condition, properties: Mapping[str, JsonValue]) -> bool:
    """Return whether an event counts.

    Parameters
    ----------
    condition : Condition
        From `parse_filter`.
    properties : mapping of str to JsonValue
        The event's own.

    Returns
    -------
    bool

    Examples
    --------
    >>> dear = parse_filter({"price": {"gt": 9.99}, "sample": {"ne": True}})
    >>> matches(dear, {"price": 10}), matches(dear, {"price": "10"}), matches(dear, {})
    (True, False, False)
    """
    if isinstance(condition, Leaf):
        return _holds(condition, properties.get(condition.attribute, cast("JsonValue", _ABSENT)))
    if isinstance(condition, Not):
        return not matches(condition.part, properties)
    parts = (matches(part, properties) for part in cast("All | Any_", condition).parts)
    return any(parts) if isinstance(condition, Any_) else all(parts)


def facts_asked(condition: Condition) -> frozenset[str]:
    """Return the properties whose plain values decide.

    Parameters
    ----------
    condition : Condition
        From `parse_filter`.

    Returns
    -------
    frozenset of str

    Examples
    --------
    >>> sorted(facts_asked(parse_filter({"a": 1, "b": {"gt": 1}, "c": {"exists": True}})))
    ['a', 'c']
    """
    return frozenset(n.attribute for n in nodes(condition) if isinstance(n, Leaf) and n.op in OF_FACTS)


def amounts_asked(condition: Condition) -> frozenset[str]:
    """Return the properties whose numbers decide.

    Parameters
    ----------
    condition : Condition
        From `parse_filter`.

    Returns
    -------
    frozenset of str

    Examples
    --------
    >>> sorted(amounts_asked(parse_filter({"a": 1, "b": {"gt": 1}})))
    ['b']
    """
    return frozenset(n.attribute for n in nodes(condition) if isinstance(n, Leaf) and n.op in COMPARISONS)


def _holds(leaf: Leaf, value: JsonValue) -> bool:
    wanted = leaf.operand
    if leaf.op in COMPARISONS:
        number, limit = micro_of(value), micro_of(wanted)
        return number is not None and limit is not None and COMPARISONS[leaf.op](number, limit)
    if leaf.op == "exists":
        return (is_plain(value) and value is not None) is wanted
    if leaf.op in ("in", "not_in"):
        among = any(same_plain(value, one) for one in cast("tuple[object, ...]", wanted))
        return among is (leaf.op == "in")
    return same_plain(value, wanted) is (leaf.op == "eq")


def _parse(node: object, path: Path) -> Condition:
    if len(path) > MAX_DEPTH:
        raise InvalidDefinitionError("the condition is nested too deeply", path=path, code="E209")
    if not isinstance(node, Mapping):
        message = f"expected properties and what they must be, not {kind(node)}"
        raise InvalidDefinitionError(message, path=path, code="E201", hint="for example {category: tea}")
    parts = tuple(_member(name, value, (*path, name)) for name, value in node.items())
    return parts[0] if len(parts) == 1 else All(parts)


def _member(name: object, value: object, path: Path) -> Condition:
    if name in JOINING and isinstance(value, list | tuple):
        return _joined(str(name), value, path)
    if name == "not" and isinstance(value, Mapping):
        return Not(_parse(value, path))
    if name == "":
        message = "a property's name is a text, not an empty name"
        raise InvalidDefinitionError(message, path=path, code="E202", hint="name the property")
    if not isinstance(name, str):
        message = f"a property's name is a text, not {kind(name)}"
        raise InvalidDefinitionError(message, path=path, code="E202", hint="put it in quotes")
    if name in JOINING and isinstance(value, Mapping) and not value.keys() & {*OPERATORS, "not"}:
        hint = f"for example {name}: [{{country: ES}}, {{country: PT}}]"
        raise InvalidDefinitionError(_takes_a_list(name), path=path, code="E206", hint=hint)
    _check(value, path)
    return parse_attribute(name, value, path)


def _joined(word: str, parts: list[object] | tuple[object, ...], path: Path) -> Condition:
    if not parts:
        raise InvalidDefinitionError(_takes_a_list(word), path=path, code="E206")
    read = tuple(_parse(part, (*path, i)) for i, part in enumerate(parts))
    return All(read) if word == "all" else Any_(read) if word == "any" else Not(Any_(read))


def _takes_a_list(word: str) -> str:
    return f"'{word}' takes a list of filters with at least one entry"


def _check(value: object, path: Path) -> None:
    """Refuse operators and operands that events do not have; what else is wrong is told by their parser."""
    if not isinstance(value, Mapping):
        return
    for op, operand in value.items():
        inner = (*path, op)
        if op == "not":
            _check(operand, inner)
        elif op in COMPARISONS and not is_exact(operand):
            raise _no_number(op, operand, inner)
        elif op in ("in", "not_in") and isinstance(operand, list | tuple):
            _check_length(op, len(operand), inner)
        elif op in ("eq", "ne") and not is_plain(operand):
            message = f"'{op}' takes one plain value here, not {kind(operand)}"
            raise InvalidDefinitionError(message, path=inner, code="E204", hint="for several: {in: [...]}")
        elif op not in POSSIBLE:
            raise _impossible(op, inner) if op in OPERATORS else _unknown(op, inner)


def _no_number(op: str, operand: object, path: Path) -> InvalidDefinitionError:
    if isinstance(operand, str):
        message = f"'{op}' compares numbers here, not texts: engines order texts differently"
        return InvalidDefinitionError(message, path=path, code="E204", hint="write a plain number")
    said = kind(operand) if micro_of(operand) is None else repr(operand)
    message = f"'{op}' takes a number below 10^12 with at most six decimals, not {said}"
    return InvalidDefinitionError(message, path=path, code="E204")


def _check_length(op: str, n: int, path: Path) -> None:
    if not 0 < n <= MAX_VALUES:
        message = f"'{op}' takes 1 to {MAX_VALUES:,} values here, not {n:,}"
        raise InvalidDefinitionError(message, path=path, code="E204")


def _unknown(op: object, path: Path) -> InvalidDefinitionError:
    near = [SPELLED.get(str(op), ""), *difflib.get_close_matches(str(op), POSSIBLE, n=1)]
    word = next(filter(POSSIBLE.__contains__, near), "")
    hint = f"did you mean {word!r}?" if word else _POSSIBLE
    return InvalidDefinitionError(f"unknown operator {op!r}", path=path, code="E203", hint=hint)


def _impossible(op: str, path: Path) -> InvalidDefinitionError:
    reasons = ((why, hint) for word, why, hint in _REFUSED if word in op)
    why, hint = next(reasons, ("a metric must be the same number on every engine", _POSSIBLE))
    return InvalidDefinitionError(
        f"'{op}' cannot be asked of events: {why}", path=path, code="E212", hint=hint
    )
