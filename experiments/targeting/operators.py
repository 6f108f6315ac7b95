"""What each operator of a condition means: operand in once, out comes a test of an attribute's value."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias, cast

from experiments.targeting.patterns import searcher

Scalar: TypeAlias = "bool | int | float | str | None"
Operand: TypeAlias = "Scalar | tuple[Operand, ...] | Mapping[str, Operand]"
ValueTest: TypeAlias = Callable[[object], bool]

# Visitors choose these texts: no pattern here may have two ways to match the same characters, and no text
# longer than these is taken for a number or a version at all.
MAX_NUMBER_LENGTH = 64
MAX_VERSION_LENGTH = 256
_DECIMAL = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|Infinity)", re.ASCII)
_RELEASE_PARTS = 3
_SCALARS = (str, bool, int, float, type(None))
_LISTS = (list, tuple)
_NUMBERS = (int, float)
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "number": _NUMBERS,
    "object": Mapping,
    "array": _LISTS,
}
TYPES = ("null", *_TYPES)
_LARGEST = 1e18  # Python refuses to print numbers of thousands of digits


def frozen(node: object) -> Operand:
    """Return `node` with lists as tuples, so that conditions can be compared and never change."""
    if isinstance(node, list | tuple):
        return tuple(frozen(item) for item in node)
    if isinstance(node, Mapping):
        return {str(key): frozen(value) for key, value in node.items()}
    return cast("Scalar", node)


def same(operand: Operand, value: object) -> bool:
    """Return whether a value equals an operand; no deeper than the operand goes, and true is never 1."""
    if operand is None or isinstance(operand, bool):
        return value is operand
    if isinstance(operand, tuple):
        return (
            isinstance(value, list | tuple) and len(value) == len(operand) and all(map(same, operand, value))
        )
    if isinstance(operand, Mapping):
        return (
            isinstance(value, Mapping)
            and len(value) == len(operand)
            and all(key in value and same(item, value[key]) for key, item in operand.items())
        )
    if isinstance(operand, str):
        return isinstance(value, str) and value == operand
    return isinstance(value, int | float) and value.__class__ is not bool and value == operand


def _equals(operand: Operand) -> ValueTest:
    if operand is None or isinstance(operand, bool):
        return lambda value: value is operand
    if isinstance(operand, int | float):
        return lambda value: value == operand and isinstance(value, _NUMBERS) and value.__class__ is not bool
    if isinstance(operand, str):
        return lambda value: value == operand
    return partial(same, operand)


def _differs(operand: Operand) -> ValueTest:
    return lambda value: not same(operand, value)


Folding: TypeAlias = Callable[[object], object]


def _as_it_is(value: object) -> object:
    return value


def _any_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _members(operand: Operand, fold: Folding) -> frozenset[tuple[bool, object]]:
    return frozenset((item.__class__ is bool, fold(item)) for item in cast("tuple[Scalar, ...]", operand))


def _among(fold: Folding) -> Callable[[Operand], ValueTest]:
    def build(operand: Operand) -> ValueTest:
        members = _members(operand, fold)
        texts = frozenset(item for _is_bool, item in members if isinstance(item, str))

        def is_member(value: object) -> bool:
            return isinstance(value, _SCALARS) and (value.__class__ is bool, fold(value)) in members

        def test(value: object) -> bool:
            if value.__class__ is str:
                return fold(value) in texts
            return any(map(is_member, value)) if isinstance(value, _LISTS) else is_member(value)

        return test

    return build


def _opposite(build: Callable[[Operand], ValueTest]) -> Callable[[Operand], ValueTest]:
    def build_opposite(operand: Operand) -> ValueTest:
        test = build(operand)
        return lambda value: not test(value)

    return build_opposite


def _has_all(fold: Folding) -> Callable[[Operand], ValueTest]:
    def build(operand: Operand) -> ValueTest:
        members = _members(operand, fold)

        def test(value: object) -> bool:
            if not isinstance(value, _LISTS):
                return False
            held = {(v.__class__ is bool, fold(v)) for v in value if isinstance(v, _SCALARS)}
            return members <= held

        return test

    return build


def _number(value: object) -> float:
    """Return the number that JavaScript would see; NaN, which compares as false, where there is none."""
    if value is None:
        return 0
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return 0
        return float(text) if len(text) <= MAX_NUMBER_LENGTH and _DECIMAL.fullmatch(text) else math.nan
    return math.nan


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Operand], ValueTest]:
    def build(operand: Operand) -> ValueTest:
        limit = _number(operand)
        if isinstance(operand, str):
            return lambda value: (
                compare(value, operand) if isinstance(value, str) else compare(_number(value), limit)
            )
        return lambda value: compare(_number(value), limit)

    return build


def _contains(operand: Operand) -> ValueTest:
    def test(value: object) -> bool:
        if isinstance(value, str):
            return isinstance(operand, str) and operand in value
        return isinstance(value, _LISTS) and any(same(operand, v) for v in value)

    return test


def _starts_with(operand: Operand) -> ValueTest:
    prefix = cast("str", operand)
    return lambda value: isinstance(value, str) and value.startswith(prefix)


def _ends_with(operand: Operand) -> ValueTest:
    suffix = cast("str", operand)
    return lambda value: isinstance(value, str) and value.endswith(suffix)


def _exists(operand: Operand) -> ValueTest:
    return lambda value: (value is not None) is operand


def type_of(value: object) -> str:
    """Return the name of a value's type in JSON."""
    if value is None:
        return "null"
    return next((name for name, types in _TYPES.items() if isinstance(value, types)), "unknown")


def _has_type(operand: Operand) -> ValueTest:
    return lambda value: type_of(value) == operand


def _regex(*, any_case: bool = False) -> Callable[[Operand], ValueTest]:
    return lambda operand: searcher(cast("str", operand), any_case=any_case)


def _is_plain_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def version_key(value: object) -> str:
    """Return text whose alphabetical order is the order of semantic versions, as GrowthBook pads them.

    Build metadata and a leading ``v`` do not count; a release sorts after its prereleases.

    Parameters
    ----------
    value : object
        A version as text or number; anything else, and text beyond 256 characters, counts as version ``0``.

    Returns
    -------
    str
        The key; it has no meaning but its order.

    References
    ----------
    .. [1] GrowthBook SDK specification 0.8.0, ``paddedVersionString``.

    Examples
    --------
    >>> version_key("1.9.0") < version_key("1.10.0-rc.1") < version_key("v1.10.0+build7")
    True
    """
    text = str(value) if _is_plain_number(value) else value
    return _padded(text if isinstance(text, str) and 0 < len(text) <= MAX_VERSION_LENGTH else "0")


@lru_cache(maxsize=1_024)
def _padded(text: str) -> str:
    parts = text.removeprefix("v").partition("+")[0].replace("-", ".").split(".")
    if len(parts) == _RELEASE_PARTS:
        parts.append("~")
    return "-".join(p.rjust(5) if p.isascii() and p.isdigit() else p for p in parts)


def _version(compare: Callable[[str, str], bool]) -> Callable[[Operand], ValueTest]:
    def build(operand: Operand) -> ValueTest:
        limit = version_key(operand)
        return lambda value: compare(version_key(value), limit)

    return build


# --- what each operator accepts


def _is_scalar(operand: Operand) -> bool:
    return isinstance(operand, _SCALARS)


def _is_list(operand: Operand) -> bool:
    return isinstance(operand, tuple) and all(_is_scalar(item) for item in operand)


def _is_ordered(operand: Operand) -> bool:
    return isinstance(operand, int | float | str) and not isinstance(operand, bool)


def _is_text(operand: Operand) -> bool:
    return isinstance(operand, str) and operand != ""


@dataclass(frozen=True, slots=True)
class Operator:
    """How to build the test, which operands it takes, and how to say so."""

    build: Callable[[Operand], ValueTest]
    accepts: Callable[[Operand], bool]
    wants: str


_LIST, _ORDERED, _TEXT = "a list of plain values", "a number or a text", "a text"
_PATTERN, _MOMENT = "a regular expression", "a time with a zone or a day"
_VERSION = 'a version in quotes, such as "5.2.0"'
VALUE_OPERATORS: Mapping[str, Operator] = {
    "eq": Operator(_equals, lambda _: True, "a value"),
    "ne": Operator(_differs, lambda _: True, "a value"),
    "in": Operator(_among(_as_it_is), _is_list, _LIST),
    "not_in": Operator(_opposite(_among(_as_it_is)), _is_list, _LIST),
    "in_any_case": Operator(_among(_any_case), _is_list, _LIST),
    "not_in_any_case": Operator(_opposite(_among(_any_case)), _is_list, _LIST),
    "has_all": Operator(_has_all(_as_it_is), _is_list, _LIST),
    "has_all_any_case": Operator(_has_all(_any_case), _is_list, _LIST),
    "gt": Operator(_comparison(operator.gt), _is_ordered, _ORDERED),
    "gte": Operator(_comparison(operator.ge), _is_ordered, _ORDERED),
    "lt": Operator(_comparison(operator.lt), _is_ordered, _ORDERED),
    "lte": Operator(_comparison(operator.le), _is_ordered, _ORDERED),
    "contains": Operator(_contains, _is_scalar, "a plain value"),
    "starts_with": Operator(_starts_with, _is_text, _TEXT),
    "ends_with": Operator(_ends_with, _is_text, _TEXT),
    "exists": Operator(_exists, lambda o: isinstance(o, bool), "true or false"),
    "regex": Operator(_regex(), _is_text, _PATTERN),
    "not_regex": Operator(_opposite(_regex()), _is_text, _PATTERN),
    "regex_any_case": Operator(_regex(any_case=True), _is_text, _PATTERN),
    "not_regex_any_case": Operator(_opposite(_regex(any_case=True)), _is_text, _PATTERN),
    "type": Operator(_has_type, lambda o: o in TYPES, "one of " + ", ".join(TYPES)),
    "before": Operator(_comparison(operator.lt), _is_text, _MOMENT),
    "after": Operator(_comparison(operator.gt), _is_text, _MOMENT),
    "semver_eq": Operator(_version(operator.eq), _is_text, _VERSION),
    "semver_ne": Operator(_version(operator.ne), _is_text, _VERSION),
    "semver_gt": Operator(_version(operator.gt), _is_text, _VERSION),
    "semver_gte": Operator(_version(operator.ge), _is_text, _VERSION),
    "semver_lt": Operator(_version(operator.lt), _is_text, _VERSION),
    "semver_lte": Operator(_version(operator.le), _is_text, _VERSION),
}
