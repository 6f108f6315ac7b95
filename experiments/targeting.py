"""Is this unit eligible? Conditions on attributes, parsed once and compiled to closures.

The operators are GrowthBook's under friendlier names and mean what they mean in its SDKs, so that an audience
picks the same people through every protocol. Three of those meanings surprise: a missing attribute is null;
compared with a number it counts as 0; ``in`` and ``not_in`` on a list ask whether any element matches.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import re2

from experiments.errors import InvalidDefinitionError
from experiments.operators import TEXT, VALUE_OPERATORS, Operand, Operator, ValueTest, frozen, is_text

Attributes: TypeAlias = Mapping[str, object]
Predicate: TypeAlias = Callable[[Attributes], bool]
Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 32
MAX_PATTERN = 1_000


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
class AudienceRef:
    """A condition that has a name in the catalog."""

    name: str


Condition: TypeAlias = All | Any_ | Not | Leaf | AudienceRef


def _regex(operand: Operand) -> ValueTest:
    search = re2.compile(operand).search

    def test(value: object) -> bool:
        # RE2 refuses text that is not valid Unicode; such an attribute matches nothing.
        try:
            return isinstance(value, str) and search(value) is not None
        except UnicodeError:
            return False

    return test


OPERATORS: Mapping[str, Operator] = {
    **VALUE_OPERATORS,
    "regex": Operator(_regex, is_text, TEXT),
}


# --- parsing


def parse_condition(node: object, *, path: Path = ()) -> Condition:
    """Turn plain YAML data into a condition, or say what is wrong and where.

    It does not resolve audience names: that needs the whole catalog (see `compile_condition`).

    Parameters
    ----------
    node : object
        Mappings, lists and scalars: ``{all: [..]}``, ``{any: [..]}``, ``{none: [..]}``, ``{not: ..}``,
        ``{audience: name}``, ``{attribute: {op: operand}}``, ``{attribute: scalar}``. Several members of
        one mapping must all hold, and so must several operators on one attribute.
    path : tuple of str or int
        Where `node` sits in its file; put in front of the path of an error.

    Returns
    -------
    Condition
        Frozen; equal text gives equal conditions.

    Raises
    ------
    InvalidDefinitionError
        With codes E201 to E206 and E209.

    Examples
    --------
    >>> parse_condition({"country": {"in": ["ES", "PT"]}})
    Leaf(attribute='country', op='in', operand=('ES', 'PT'))
    """
    if len(path) > MAX_DEPTH * 2:
        raise InvalidDefinitionError("the condition is nested too deeply", path=path, code="E209")
    if not isinstance(node, Mapping):
        raise InvalidDefinitionError(
            f"a condition is a mapping such as {{country: {{in: [ES, PT]}}}}, not {_kind(node)}",
            path=path,
            code="E201",
        )
    parts = [_parse_member(key, value, (*path, key)) for key, value in node.items()]
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _parse_member(key: object, value: object, path: Path) -> Condition:
    if not isinstance(key, str) or not key:
        raise InvalidDefinitionError(
            f"an attribute name is a text, not {_kind(key)}", path=path, code="E202", hint="put it in quotes"
        )
    match key:
        case "all":
            return All(_parse_list(key, value, path))
        case "any":
            return Any_(_parse_list(key, value, path))
        case "none":
            return Not(Any_(_parse_list(key, value, path)))
        case "not":
            return Not(parse_condition(value, path=path))
        case "audience":
            if not isinstance(value, str):
                raise InvalidDefinitionError("'audience' takes one name", path=path, code="E204")
            return AudienceRef(value)
        case _:
            return _parse_attribute(key, value, path)


def _parse_list(key: str, value: object, path: Path) -> tuple[Condition, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InvalidDefinitionError(
            f"{key!r} takes a list of conditions with at least one entry", path=path, code="E206"
        )
    return tuple(parse_condition(part, path=(*path, i)) for i, part in enumerate(value))


def _parse_attribute(attribute: str, value: object, path: Path) -> Condition:
    if isinstance(value, list | tuple):
        raise InvalidDefinitionError(
            f"{attribute!r} is compared with a list",
            path=path,
            code="E204",
            hint=f"did you mean {{{attribute}: {{in: [...]}}}}?",
        )
    if not isinstance(value, Mapping):
        return Leaf(attribute, "eq", frozen(value))
    if not value:
        raise InvalidDefinitionError(f"{attribute!r} has no operator", path=path, code="E203")
    leaves = [_parse_operator(attribute, op, operand, (*path, op)) for op, operand in value.items()]
    return leaves[0] if len(leaves) == 1 else All(tuple(leaves))


def _parse_operator(attribute: str, op: object, operand: object, path: Path) -> Leaf:
    operator = OPERATORS.get(op) if isinstance(op, str) else None
    if operator is None or not isinstance(op, str):
        near = difflib.get_close_matches(str(op), OPERATORS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "known operators: " + ", ".join(OPERATORS)
        raise InvalidDefinitionError(f"unknown operator {op!r}", path=path, code="E203", hint=hint)
    plain = frozen(operand)
    if not operator.accepts(plain):
        raise InvalidDefinitionError(
            f"{op!r} takes {operator.wants}, not {_kind(operand)}", path=path, code="E204"
        )
    if op == "regex":
        _check_pattern(cast("str", plain), path)
    return Leaf(attribute, op, plain)


def _check_pattern(pattern: str, path: Path) -> None:
    if len(pattern) > MAX_PATTERN:
        raise InvalidDefinitionError(
            f"the regular expression is longer than {MAX_PATTERN} characters", path=path, code="E205"
        )
    try:
        re2.compile(pattern)
    except re2.error as error:
        raise InvalidDefinitionError(
            f"not a regular expression that RE2 knows: {error}",
            path=path,
            code="E205",
            hint="RE2 has no look-around and no back-references",
        ) from error


def _kind(node: object) -> str:
    if isinstance(node, bool):
        return str(node).lower()
    if isinstance(node, str):
        return "a text"
    if isinstance(node, Mapping):
        return "a mapping"
    return "a list" if isinstance(node, list | tuple) else str(node)


# --- compiling


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
    >>> sorted(audience_refs(parse_condition({"any": [{"audience": "loyal"}, {"age": {"gt": 65}}]})))
    ['loyal']
    """
    match condition:
        case All(parts) | Any_(parts):
            return frozenset[str]().union(*(audience_refs(part) for part in parts))
        case Not(part):
            return audience_refs(part)
        case AudienceRef(name):
            return frozenset((name,))
        case _:
            return frozenset()


def compile_condition(condition: Condition, audiences: Mapping[str, Condition]) -> Predicate:
    """Compile a condition into one closure; what does not depend on attributes is done now.

    Parameters
    ----------
    condition : Condition
        What must hold.
    audiences : mapping of str to Condition
        Every named condition of the catalog.

    Returns
    -------
    callable
        Attributes -> bool. It never raises, whatever the attributes hold.

    Raises
    ------
    InvalidDefinitionError
        E207 for an unknown audience, E208 for audiences that need each other.

    Examples
    --------
    >>> young = compile_condition(parse_condition({"age": {"lt": 30}}), {})
    >>> young({"age": 29}), young({"age": "old"}), young({"age": [1]})
    (True, False, False)
    """
    return _compile(condition, audiences, ())


def _compile(condition: Condition, audiences: Mapping[str, Condition], opened: tuple[str, ...]) -> Predicate:
    match condition:
        case All(parts):
            return _every(tuple(_compile(part, audiences, opened) for part in parts))
        case Any_(parts):
            return _some(tuple(_compile(part, audiences, opened) for part in parts))
        case Not(part):
            inner = _compile(part, audiences, opened)
            return lambda attributes: not inner(attributes)
        case AudienceRef(name):
            return _compile_audience(name, audiences, opened)
        case _:
            return _compile_leaf(condition)


def _every(tests: tuple[Predicate, ...]) -> Predicate:
    if len(tests) == 1:
        return tests[0]

    def test(attributes: Attributes) -> bool:
        for part in tests:  # noqa: SIM110 - a loop makes no generator: twice as fast
            if not part(attributes):
                return False
        return True

    return test


def _some(tests: tuple[Predicate, ...]) -> Predicate:
    if len(tests) == 1:
        return tests[0]

    def test(attributes: Attributes) -> bool:
        for part in tests:  # noqa: SIM110 - a loop makes no generator: twice as fast
            if part(attributes):
                return True
        return False

    return test


def _compile_audience(name: str, audiences: Mapping[str, Condition], opened: tuple[str, ...]) -> Predicate:
    if name in opened:
        chain = " -> ".join((*opened, name))
        raise InvalidDefinitionError(f"audiences need each other: {chain}", path=("audience",), code="E208")
    if name not in audiences:
        near = difflib.get_close_matches(name, audiences, n=1)
        raise InvalidDefinitionError(
            f"there is no audience {name!r}",
            path=("audience",),
            code="E207",
            hint=f"did you mean {near[0]!r}?" if near else "",
        )
    return _compile(audiences[name], audiences, (*opened, name))


def _compile_leaf(leaf: Leaf) -> Predicate:
    test = OPERATORS[leaf.op].build(leaf.operand)
    name, *rest = leaf.attribute.split(".")
    if not rest:
        return lambda attributes: test(attributes.get(name))
    steps = (name, *rest)

    def walk(attributes: Attributes) -> bool:
        value: object = attributes
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        return test(value)

    return walk
