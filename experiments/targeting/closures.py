"""The closures that conditions are compiled to: no call and no check more than the answer needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from experiments.targeting.conditions import Attributes, Leaf
from experiments.targeting.operators import ValueTest

T = TypeVar("T")
Test: TypeAlias = Callable[[T], bool]
Predicate: TypeAlias = Callable[[Attributes], bool]

_PAIR = 2


def always(_asked: object) -> bool:
    """Hold for everybody."""
    return True


def never(_asked: object) -> bool:
    """Hold for nobody."""
    return False


def negated(test: Test[T]) -> Test[T]:
    """Return the opposite of a test."""
    if test is always:
        return never
    return always if test is never else lambda asked: not test(asked)


def every(tests: Sequence[Test[T]]) -> Test[T]:
    """Return the test that all of `tests` pass, asked in order until one fails."""
    open_tests = [test for test in tests if test is not always]
    if never in open_tests:
        return never
    if len(open_tests) <= 1:
        return open_tests[0] if open_tests else always
    if len(open_tests) == _PAIR:
        one, two = open_tests
        return lambda asked: one(asked) and two(asked)

    def test(asked: T) -> bool:
        for part in open_tests:  # noqa: SIM110 - a loop makes no generator: twice as fast
            if not part(asked):
                return False
        return True

    return test


def some(tests: Sequence[Test[T]]) -> Test[T]:
    """Return the test that at least one of `tests` passes, asked in order until one does."""
    open_tests = [test for test in tests if test is not never]
    if always in open_tests:
        return always
    if len(open_tests) <= 1:
        return open_tests[0] if open_tests else never
    if len(open_tests) == _PAIR:
        one, two = open_tests
        return lambda asked: one(asked) or two(asked)

    def test(asked: T) -> bool:
        for part in open_tests:  # noqa: SIM110 - a loop makes no generator: twice as fast
            if part(asked):
                return True
        return False

    return test


def walk(attribute: str, test: Callable[[object], T]) -> Callable[[object], T]:
    """Return the test of what lies at the end of a dotted path, null where the path ends early."""
    steps = attribute.split(".")

    def test_end(asked: object) -> T:
        value = asked
        for step in steps:
            if value.__class__ is not dict and not isinstance(value, Mapping):
                return test(None)
            value = value.get(step)
        return test(value)

    return test_end


def fast_leaf(leaf: Leaf, test: ValueTest) -> Predicate:
    """Return the test of one attribute without dots: the common operators answer without a further call.

    Values of an uncommon type, such as a number sent as text, still go to `test`, which knows them all.
    """
    name, operand = leaf.attribute, leaf.operand
    if isinstance(operand, str) and leaf.op in _TEXTS:
        return _TEXTS[leaf.op](name, operand, test)
    if isinstance(operand, tuple) and leaf.op in _MEMBERS:
        return _MEMBERS[leaf.op](name, frozenset(item for item in operand if isinstance(item, str)), test)
    if isinstance(operand, int | float) and not isinstance(operand, bool) and leaf.op in _LIMITS:
        return _LIMITS[leaf.op](name, operand, test)
    return lambda attributes: test(attributes.get(name))


def _eq(name: str, text: str, _test: ValueTest) -> Predicate:
    return lambda attributes: attributes.get(name) == text


def _ne(name: str, text: str, _test: ValueTest) -> Predicate:
    return lambda attributes: attributes.get(name) != text


def _contains(name: str, text: str, test: ValueTest) -> Predicate:
    def fast(attributes: Mapping[str, Any]) -> bool:
        value = attributes.get(name)
        return text in value if value.__class__ in _HOLDERS else test(value)

    return fast


def _in(name: str, texts: frozenset[str], test: ValueTest) -> Predicate:
    missing = test(None)

    def fast(attributes: Attributes) -> bool:
        value = attributes.get(name)
        if value is None:
            return missing
        return value in texts if value.__class__ is str else test(value)

    return fast


def _not_in(name: str, texts: frozenset[str], test: ValueTest) -> Predicate:
    missing = test(None)

    def fast(attributes: Attributes) -> bool:
        value = attributes.get(name)
        if value is None:
            return missing
        return value not in texts if value.__class__ is str else test(value)

    return fast


def _gt(name: str, limit: float, test: ValueTest) -> Predicate:
    missing = test(None)

    def fast(attributes: Mapping[str, Any]) -> bool:
        value = attributes.get(name)
        if value is None:
            return missing
        return value > limit if value.__class__ in _NUMBERS else test(value)

    return fast


def _gte(name: str, limit: float, test: ValueTest) -> Predicate:
    missing = test(None)

    def fast(attributes: Mapping[str, Any]) -> bool:
        value = attributes.get(name)
        if value is None:
            return missing
        return value >= limit if value.__class__ in _NUMBERS else test(value)

    return fast


def _lt(name: str, limit: float, test: ValueTest) -> Predicate:
    missing = test(None)

    def fast(attributes: Mapping[str, Any]) -> bool:
        value = attributes.get(name)
        if value is None:
            return missing
        return value < limit if value.__class__ in _NUMBERS else test(value)

    return fast


def _lte(name: str, limit: float, test: ValueTest) -> Predicate:
    missing = test(None)

    def fast(attributes: Mapping[str, Any]) -> bool:
        value = attributes.get(name)
        if value is None:
            return missing
        return value <= limit if value.__class__ in _NUMBERS else test(value)

    return fast


_NUMBERS = (int, float)
_HOLDERS = (str, list)
_TEXTS = {"eq": _eq, "ne": _ne, "contains": _contains}
_MEMBERS = {"in": _in, "not_in": _not_in}
_LIMITS = {"gt": _gt, "gte": _gte, "lt": _lt, "lte": _lte}
