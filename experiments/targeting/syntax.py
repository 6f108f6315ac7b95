"""From plain YAML data to a condition, or what is wrong and where."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from experiments.errors import InvalidDefinitionError
from experiments.targeting.behaviour_syntax import parse_behaviour
from experiments.targeting.conditions import ELEMENT, All, Any_, AudienceRef, Condition, Inside, Leaf, Not
from experiments.targeting.forms import Path, kind, parse_moment
from experiments.targeting.operators import TYPES, VALUE_OPERATORS, Operand, frozen
from experiments.targeting.patterns import check_pattern

MAX_DEPTH = 32

_PATTERNS = ("regex", "not_regex", "regex_any_case", "not_regex_any_case")
_NAMES_A_LIST = "the name of a list"
OPERATORS: Mapping[str, str] = {
    **{name: operator.wants for name, operator in VALUE_OPERATORS.items()},
    "in_list": _NAMES_A_LIST,
    "not_in_list": _NAMES_A_LIST,
    "any_element": "operators, or a condition on the elements",
    "size": "a whole number, or operators on one",
}
"""Every operator and what it takes."""
MEMBERS = ("all", "any", "none", "not", "audience", "behaviour")
"""What may stand in a condition beside attributes."""
SIGNS = {"gt": (">",), "gte": (">=",), "lt": ("<",), "lte": ("<=",), "eq": ("=", "=="), "ne": ("!=", "<>")}
SPELLED = {
    "equals": "eq",
    "is": "eq",
    "not_equals": "ne",
    "is_not": "ne",
    "like": "contains",
    "matches": "regex",
    **{sign: word for word, signs in SIGNS.items() for sign in signs},
}
"""Operators as other tools call them."""


def parse_condition(node: object, *, path: Path = ()) -> Condition:
    """Turn plain YAML data into a condition, or say what is wrong and where.

    It does not resolve names of audiences and lists: that needs the whole catalog (see `compile_condition`).

    Parameters
    ----------
    node : object
        Mappings, lists and scalars: ``{all: [..]}``, ``{any: [..]}``, ``{none: [..]}``, ``{not: ..}``,
        ``{audience: name}``, ``{behaviour: {event: ..}}``, ``{attribute: {op: operand}}``,
        ``{attribute: scalar}``. Several members of one mapping must all hold, and so must several operators
        on one attribute.
    path : tuple of str or int
        Where `node` sits in its file; put in front of the path of an error.

    Returns
    -------
    Condition
        Frozen; equal text gives equal conditions.

    Raises
    ------
    InvalidDefinitionError
        With codes E201 to E206 and E209 to E211.

    Examples
    --------
    >>> parse_condition({"country": {"in": ["ES", "PT"]}})
    Leaf(attribute='country', op='in', operand=('ES', 'PT'))
    """
    return _parse(node, path, element=False)


def _parse(node: object, path: Path, *, element: bool) -> Condition:
    if len(path) > MAX_DEPTH * 2:
        raise InvalidDefinitionError("the condition is nested too deeply", path=path, code="E209")
    if not isinstance(node, Mapping):
        raise InvalidDefinitionError(
            f"a condition is a mapping such as {{country: {{in: [ES, PT]}}}}, not {kind(node)}",
            path=path,
            code="E201",
            hint=f"if {node!r} is an audience: {{audience: {node}}}" if isinstance(node, str) else "",
        )
    return _together(
        [_parse_member(key, value, (*path, key), element=element) for key, value in node.items()]
    )


def _together(parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _parse_member(key: object, value: object, path: Path, *, element: bool) -> Condition:
    if not isinstance(key, str) or not key:
        raise InvalidDefinitionError(
            f"an attribute name is a text, not {kind(key)}", path=path, code="E202", hint="put it in quotes"
        )
    match key:
        case "all" | "any" | "none":
            parts = _parse_list(key, value, path, element=element)
            return All(parts) if key == "all" else Any_(parts) if key == "any" else Not(Any_(parts))
        case "not":
            return Not(_parse(value, path, element=element))
        case "audience" | "behaviour" if element:
            raise InvalidDefinitionError(
                f"{key!r} asks about the whole context, not about one element", path=path, code="E204"
            )
        case "audience" | "behaviour":
            return _parse_audience(value, path) if key == "audience" else parse_behaviour(value, path)
    return parse_attribute(key, value, path)


def _parse_audience(value: object, path: Path) -> AudienceRef:
    if not isinstance(value, str):
        raise InvalidDefinitionError("'audience' takes one name", path=path, code="E204")
    return AudienceRef(value)


def _parse_list(key: str, value: object, path: Path, *, element: bool) -> tuple[Condition, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InvalidDefinitionError(
            f"{key!r} takes a list of conditions with at least one entry", path=path, code="E206"
        )
    return tuple(_parse(part, (*path, i), element=element) for i, part in enumerate(value))


def parse_attribute(attribute: str, value: object, path: Path) -> Condition:
    """Turn what one attribute must be into a condition: a plain value or operators; see `parse_condition`."""
    if isinstance(value, list | tuple):
        raise InvalidDefinitionError(
            f"{attribute!r} is compared with a list",
            path=path,
            code="E204",
            hint=f"did you mean {{{attribute}: {{in: [...]}}}}?",
        )
    if isinstance(value, Mapping):
        return _parse_operators(attribute, value, path)
    return Leaf(attribute, "eq", frozen(value))


def _parse_operators(attribute: str, operators: Mapping[Any, object], path: Path) -> Condition:
    if not operators:
        raise InvalidDefinitionError(f"{attribute or path[-1]!r} has no operator", path=path, code="E203")
    if len(path) > MAX_DEPTH * 2:
        raise InvalidDefinitionError("the condition is nested too deeply", path=path, code="E209")
    return _together([_parse_operator(attribute, op, x, (*path, op)) for op, x in operators.items()])


def _parse_operator(attribute: str, op: Any, operand: object, path: Path) -> Condition:  # noqa: ANN401 - any key may come
    match op:
        case "not":
            return Not(parse_attribute(attribute, operand, path))
        case "any_element":
            return Inside(attribute, op, _parse_elements(attribute, operand, path))
        case "size":
            return Inside(attribute, op, _parse_size(operand, path))
        case "in_list" | "not_in_list":
            if not isinstance(operand, str) or not operand:
                raise _wrong_operand(op, operand, path, hint="declare it under 'lists:'; or use in: [...]")
            return Leaf(attribute, op, operand)
        case str() if op in VALUE_OPERATORS:
            return Leaf(attribute, op, _parse_operand(op, operand, path))
    hint = _meant(attribute, str(op))
    raise InvalidDefinitionError(f"unknown operator {op!r}", path=path, code="E203", hint=hint)


def _meant(attribute: str, op: str) -> str:
    member = difflib.get_close_matches(attribute, MEMBERS, n=1)
    if member:
        return f"did you mean '{member[0]}:'?"
    near = [SPELLED.get(op, ""), *difflib.get_close_matches(op, OPERATORS, n=1)]
    word = next(filter(None, near), "")
    return f"did you mean {word!r}?" if word else "known operators: " + ", ".join(OPERATORS)


def _parse_elements(attribute: str, operand: object, path: Path) -> Condition:
    if not isinstance(operand, Mapping):
        hint = f"did you mean {{{attribute or 'tags'}: {{contains: ...}}}}?"
        raise _wrong_operand("any_element", operand, path, hint=hint)
    if not operand or _are_operators(operand):
        return _parse_operators(ELEMENT, operand, path)
    return _parse(operand, path, element=True)


def _are_operators(node: Mapping[object, object]) -> bool:
    return all(
        key in OPERATORS or (key == "not" and (not isinstance(inner, Mapping) or _are_operators(inner)))
        for key, inner in node.items()
    )


def _parse_size(operand: object, path: Path) -> Condition:
    if isinstance(operand, Mapping):
        return _parse_operators(ELEMENT, operand, path)
    if not isinstance(operand, int) or isinstance(operand, bool) or operand < 0:
        raise _wrong_operand("size", operand, path)
    return Leaf(ELEMENT, "eq", operand)


def _parse_operand(op: str, operand: object, path: Path) -> Operand:
    if op in ("before", "after"):
        return parse_moment(op, operand, path)
    plain = "null" if op == "type" and operand is None else frozen(operand)
    operator = VALUE_OPERATORS[op]
    if not operator.accepts(plain):
        raise _wrong_operand(op, operand, path, hint=_instead(op, plain))
    if op in _PATTERNS:
        check_pattern(cast("str", plain), path, any_case=op.endswith("_any_case"))
    return plain


def _instead(op: str, plain: Operand) -> str:
    if op in ("in", "not_in") and isinstance(plain, str):
        return f"write {op}: [{plain}]; for a list that has a name {op}_list: {plain}"
    return _near(plain) if op == "type" else ""


def _near(word: Operand) -> str:
    near = difflib.get_close_matches(str(word), TYPES, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _wrong_operand(op: str, operand: object, path: Path, *, hint: str = "") -> InvalidDefinitionError:
    return InvalidDefinitionError(
        f"{op!r} takes {OPERATORS[op]}, not {kind(operand)}", path=path, code="E204", hint=hint
    )
