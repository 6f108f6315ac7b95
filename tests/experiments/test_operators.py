from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.targeting import OPERATORS, Lists, compile_condition, operators, parse_condition
from experiments.targeting.operators import version_key


def holds(condition: Any, attributes: dict[str, Any]) -> bool:
    return compile_condition(parse_condition(condition), {})(attributes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
OPERANDS: dict[str, Any] = {
    "in": ["a", 1, None],
    "not_in": ["a", 1, True],
    "exists": True,
    "regex": "a|b",
    "eq": ["a"],
    "ne": {"a": [1]},
    "in_any_case": ["A", 1],
    "not_in_any_case": ["A", 1],
    "has_all": ["a", 1],
    "has_all_any_case": ["A"],
    "type": "array",
    "before": "2027-01-07",
    "after": "2027-01-07T08:00Z",
    "in_list": "l",
    "not_in_list": "l",
    "any_element": {"a": {"gt": 5}, "b": {"any_element": {"not": {"contains": "a"}}}},
    "size": {"gte": 2, "in": [1, 2]},
}


@pytest.mark.parametrize("op", OPERATORS)
@given(value=JSON)
def test_no_attribute_breaks_an_operator(op: str, value: Any) -> None:
    operand = OPERANDS.get(op, "5.2")
    lists: Lists = {"l": ["a", 1, None]}
    inside = compile_condition(parse_condition({"a.b": {op: operand}}), {}, lists=lists)
    outside = compile_condition(parse_condition({"a": {op: operand}}), {}, lists=lists)

    assert inside({"a": {"b": value}}) in (True, False)
    assert inside({"a": value}) in (True, False)
    assert outside({"a": value}) is inside({"a": {"b": value}})


@pytest.mark.parametrize("op", OPERATORS)
def test_what_a_visitor_nests_a_thousand_deep_breaks_no_operator(op: str) -> None:
    deep: Any = ["a"]
    for _ in range(5_000):
        deep = [deep]
    operand = OPERANDS.get(op, "5.2")
    test = compile_condition(parse_condition({"a": {op: operand}}), {}, lists={"l": []})

    assert test({"a": deep}) in (True, False)
    assert test({"a": {"a": deep}}) in (True, False)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@pytest.mark.parametrize("op", ["gt", "gte", "lt", "lte", "eq", "ne", "in", "not_in"])
@given(
    operand=st.sampled_from([0, 1, 2.5, -1, "b", "7", ""]),
    value=st.sampled_from([0, 1, 2.5, "b", "7", "", True]) | SCALARS | st.lists(SCALARS, max_size=2),
)
def test_the_fast_way_answers_as_the_slow_one(op: str, operand: Any, value: Any) -> None:
    given_operand = [operand] if op in ("in", "not_in") else operand
    direct = parse_condition({"n": {op: given_operand}})
    walked = parse_condition({"a.n": {op: given_operand}})

    assert compile_condition(direct, {})({"n": value}) is compile_condition(walked, {})({"a": {"n": value}})


@pytest.mark.parametrize("operand", [1, 2.5, "b", "7"])
@given(value=st.none() | st.integers() | st.floats(allow_nan=False) | st.text())
def test_less_and_not_less_exclude_each_other(operand: Any, value: Any) -> None:
    attributes = {"n": value}

    assert not (holds({"n": {"lt": operand}}, attributes) and holds({"n": {"gte": operand}}, attributes))


def test_a_version_that_is_no_version_counts_as_zero() -> None:
    assert version_key(None) == version_key(True) == version_key(10**30) == version_key("0")
    assert version_key(2.5) == version_key("2.5")


def test_two_runs_of_digits_never_touch_in_the_pattern_of_numbers() -> None:
    pattern = operators._DECIMAL.pattern

    assert pattern.count(r"\.") == pattern.count(r"(\.\d*)?") + pattern.count(r"|\.\d+")


@pytest.mark.parametrize("long", ["9" * 65, "9" * 60_000, "9" * 60_000 + "x", "." * 60_000, "1e" * 30_000])
def test_a_text_too_long_for_a_number_is_none(long: str) -> None:
    assert not holds({"n": {"gt": 1}}, {"n": long})
    assert not holds({"n": {"lte": 1}}, {"n": long})
    assert holds({"n": {"gt": 1}}, {"n": "  " + "9" * 64})


@pytest.mark.parametrize("long", ["v" + "1" * 256, "+" * 60_000 + "\n", "1-" * 30_000, "." * 60_000])
def test_a_text_too_long_for_a_version_counts_as_zero(long: str) -> None:
    assert version_key(long) == version_key("0")
    assert version_key("v" + "1" * 255) != version_key("0")


def test_build_metadata_does_not_count_whatever_it_holds() -> None:
    assert version_key("v1.2.3+build+7\n9") == version_key("1.2.3")


# From the precedence rules of semver.org, 2.0.0, section 11.
PRECEDENCE = [
    *("0.0.4", "0.1.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2"),
    *(
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.9.0",
        "1.10.0",
        "1.11.0",
        "2.0.0",
        "2.1.0",
        "2.1.1",
    ),
]


@pytest.mark.parametrize(("i", "lower"), list(enumerate(PRECEDENCE)))
def test_versions_come_in_the_order_of_semver(i: int, lower: str) -> None:
    for higher in PRECEDENCE[i + 1 :]:
        assert holds({"v": {"semver_lt": higher}}, {"v": lower})
        assert holds({"v": {"semver_gt": lower}}, {"v": f"v{higher}+build.7"})
        assert holds({"v": {"semver_ne": lower}}, {"v": higher})
        assert not holds({"v": {"semver_gte": higher}}, {"v": lower})
    assert holds({"v": {"semver_eq": lower, "semver_lte": lower, "semver_gte": lower}}, {"v": f"{lower}+x"})


def test_long_texts_of_visitors_are_read_once() -> None:
    long = "a" * 200_000

    for op, operand in (("regex", "(a*)*b"), ("regex_any_case", "(a|A)*b"), ("contains", "b"), ("gt", 5)):
        assert not holds({"n": {op: operand}}, {"n": long})
    assert not holds({"n": {"has_all": ["b"]}}, {"n": list(long)})
    assert not holds({"n": {"in": ["b"]}}, {"n": list(long)})
