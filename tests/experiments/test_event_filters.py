"""Which events count: every operator against values of every type, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InvalidDefinitionError
from experiments.event_filters import (
    EVERYTHING,
    MAX_VALUES,
    amounts_asked,
    facts_asked,
    matches,
    parse_filter,
)

ABSENT = "absent"
PROPERTIES: dict[str, Any] = {
    "null": None,
    "true": True,
    "one": 1,
    "broken": 1.0,
    "tenth": 0.1,
    "below": -2.5,
    "text": "1",
    "empty": "",
    "tea": "tea",
    "list": [1],
    "object": {"is": 1},
}
NAMES = (*PROPERTIES, ABSENT)


def holding(wanted: Any) -> set[str]:
    """Return the properties that are what is wanted."""
    return {name for name in NAMES if matches(parse_filter({name: wanted}), PROPERTIES)}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (1, {"one", "broken"}),
        (1.0, {"one", "broken"}),
        ({"eq": 1}, {"one", "broken"}),
        (True, {"true"}),
        ("1", {"text"}),
        ("", {"empty"}),
        (None, {"null"}),
        (0.1, {"tenth"}),
        ({"in": [1, "tea"]}, {"one", "broken", "tea"}),
        ({"in": [None, True]}, {"null", "true"}),
        ({"gt": 0.1}, {"one", "broken"}),
        ({"gte": 0.1}, {"one", "broken", "tenth"}),
        ({"lt": 0.1}, {"below"}),
        ({"lte": 0.1}, {"below", "tenth"}),
        ({"lte": -2.5}, {"below"}),
        ({"gt": -999_999_999_999.5}, {"one", "broken", "tenth", "below"}),
        ({"gte": 0, "lt": 1}, {"tenth"}),
        ({"exists": True}, set(PROPERTIES) - {"null", "list", "object"}),
        ({"exists": False}, {"null", "list", "object", ABSENT}),
        ({"not": 1}, set(NAMES) - {"one", "broken"}),
        ({"not": {"gt": 0}}, set(NAMES) - {"one", "broken", "tenth"}),
    ],
)
def test_an_operator_holds_for_exactly_these_values(wanted: Any, expected: set[str]) -> None:
    assert holding(wanted) == expected


@pytest.mark.parametrize("value", [1, True, "1", None, 0.1], ids=repr)
def test_what_is_absent_or_nested_differs_from_everything(value: Any) -> None:
    assert holding({"ne": value}) == set(NAMES) - holding({"eq": value})
    assert holding({"not_in": [value]}) == set(NAMES) - holding({"in": [value]})
    assert {ABSENT, "list", "object"} <= holding({"ne": value})


def test_numbers_are_compared_after_they_are_rounded_to_six_decimals_half_to_even() -> None:
    above = parse_filter({"p": {"gt": 0.1}})

    assert [matches(above, {"p": p}) for p in (0.1000004, 0.1000005, 0.1000015)] == [False, False, True]
    assert matches(parse_filter({"p": {"gte": 3}}), {"p": 10**400})
    assert not matches(parse_filter({"p": 0.1}), {"p": 0.1000004})


def test_every_member_must_hold_and_words_join_them() -> None:
    wanted = parse_filter(
        {
            "kind": "tea",
            "any": [{"price": {"gte": 10}}, {"vip": True}],
            "none": [{"sample": True}, {"test": True}],
            "not": {"country": {"in": ["ES", "PT"]}},
        }
    )

    assert matches(wanted, {"kind": "tea", "price": 10})
    assert matches(wanted, {"kind": "tea", "vip": True, "country": "FR"})
    assert not matches(wanted, {"kind": "tea", "price": 9.99})
    assert not matches(wanted, {"kind": "tea", "price": 10, "test": True})
    assert not matches(wanted, {"kind": "tea", "price": 10, "country": "PT"})
    assert matches(parse_filter({"all": [{"a": 1}, {"b": 2}]}), {"a": 1, "b": 2})


def test_words_of_audiences_are_names_of_properties_where_they_join_nothing() -> None:
    properties: dict[str, Any] = {"audience": "vip", "all": "x", "behaviour": 3, "request": "y", "a.b": 1}

    assert matches(parse_filter(properties), properties)
    assert not matches(parse_filter({"a.b": 1}), {"a": {"b": 1}})


def test_no_filter_lets_every_event_count() -> None:
    assert parse_filter({}) == EVERYTHING
    assert matches(EVERYTHING, {})


def test_what_is_asked_is_known() -> None:
    wanted = parse_filter({"a": 1, "any": [{"b": {"gt": 1, "exists": True}}, {"not": {"c": {"lte": 2}}}]})

    assert facts_asked(wanted) == {"a", "b"}
    assert amounts_asked(wanted) == {"b", "c"}


@pytest.mark.parametrize(
    ("node", "code", "path", "said"),
    [
        ([1], "E201", (), "expected properties"),
        ({"p": [1]}, "E204", ("p",), "did you mean {p: {in: [...]}}?"),
        ({"p": {"eq": [1]}}, "E204", ("p", "eq"), "for several"),
        ({"p": {"ne": {"a": 1}}}, "E204", ("p", "ne"), "for several"),
        ({"p": {}}, "E203", ("p",), "no operator"),
        ({"p": {"gtt": 1}}, "E203", ("p", "gtt"), "did you mean 'gt'?"),
        ({"p": {">": 1}}, "E203", ("p", ">"), "did you mean 'gt'?"),
        ({"p": {">=": 1}}, "E203", ("p", ">="), "did you mean 'gte'?"),
        ({"p": {"<": 1}}, "E203", ("p", "<"), "did you mean 'lt'?"),
        ({"p": {"<=": 1}}, "E203", ("p", "<="), "did you mean 'lte'?"),
        ({"p": {"=": 1}}, "E203", ("p", "="), "did you mean 'eq'?"),
        ({"p": {"==": 1}}, "E203", ("p", "=="), "did you mean 'eq'?"),
        ({"p": {"!=": 1}}, "E203", ("p", "!="), "did you mean 'ne'?"),
        (
            {"p": {"not": {"qqq": 1}}},
            "E203",
            ("p", "not", "qqq"),
            "possible are eq, ne, in, not_in, exists, gt",
        ),
        ({"p": {"matches": 1}}, "E203", ("p", "matches"), "possible are eq"),
        ({"any": {"country": "ES"}}, "E206", ("any",), "for example any: [{country: ES}"),
        ({"none": {}}, "E206", ("none",), "takes a list of filters"),
        ({"p": {"gt": "5"}}, "E204", ("p", "gt"), "engines order texts differently"),
        ({"p": {"gt": True}}, "E204", ("p", "gt"), "not true"),
        ({"p": {"lte": 10**12}}, "E204", ("p", "lte"), "below 10^12"),
        ({"p": {"lte": 0.0000001}}, "E204", ("p", "lte"), "six decimals"),
        ({"p": {"lte": None}}, "E204", ("p", "lte"), "a number"),
        ({"p": {"exists": 1}}, "E204", ("p", "exists"), "true or false"),
        ({"p": {"in": []}}, "E204", ("p", "in"), "1 to 1,000 values"),
        ({"p": {"in": list(range(MAX_VALUES + 1))}}, "E204", ("p", "in"), "not 1,001"),
        ({"p": {"in": "ES"}}, "E204", ("p", "in"), "write in: [ES]"),
        ({"p": {"in": [[1]]}}, "E204", ("p", "in"), "a list of plain values"),
        ({"p": {"regex": "^a"}}, "E212", ("p", "regex"), "engines differ in their regular expressions"),
        ({"p": {"before": "2027-01-01"}}, "E212", ("p", "before"), "every sender writes in its own way"),
        ({"p": {"starts_with": "a"}}, "E212", ("p", "starts_with"), "possible are eq, ne, in"),
        ({"p": {"in_list": "vips"}}, "E212", ("p", "in_list"), "possible are"),
        ({"p": {"any_element": {"eq": 1}}}, "E212", ("p", "any_element"), "possible are"),
        ({"p": {"not": {"semver_gt": "1"}}}, "E212", ("p", "not", "semver_gt"), "possible are"),
        ({"any": []}, "E206", ("any",), "at least one entry"),
        ({"any": [{"p": 1}, {"q": {"size": 1}}]}, "E212", ("any", 1, "q", "size"), "possible are"),
        ({"any": ["p"]}, "E201", ("any", 0), "not a text"),
        ({1: 2}, "E202", (1,), "put it in quotes"),
        ({"": 1}, "E202", ("",), "not an empty name name the property"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_its_place_with_a_way_out(
    node: Any, code: str, path: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        parse_filter(node, path=("where",))

    assert (caught.value.code, caught.value.path) == (code, ("where", *path))
    assert said in f"{caught.value} {caught.value.hint}"


def test_a_filter_is_not_nested_without_end() -> None:
    node: dict[str, Any] = {"p": 1}
    for _ in range(40):
        node = {"not": node}

    with pytest.raises(InvalidDefinitionError) as caught:
        parse_filter(node)

    assert caught.value.code == "E209"


@pytest.mark.parametrize("node", [{"any": [{"p": i} for i in range(200)]}, {f"p{i}": 1 for i in range(200)}])
def test_a_filter_has_at_most_two_hundred_parts(node: dict[str, Any]) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        parse_filter(node, path=("where",))

    assert (caught.value.code, caught.value.path) == ("E209", ("where",))
    assert str(caught.value) == "a filter has at most 200 parts, not 201"
    assert "{sku: {in: [...]}}" in caught.value.hint


def test_two_hundred_parts_are_a_filter() -> None:
    assert matches(parse_filter({"any": [{"p": i} for i in range(199)]}), {"p": 198})


plain = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.1, 1.5, "", "1", "tea"])
told = st.fixed_dictionaries({}, optional={"p": plain | st.lists(plain, max_size=1), "q": plain})
asked = st.one_of(
    plain,
    st.builds(lambda op, x: {op: x}, st.sampled_from(["gt", "gte", "lt", "lte"]), st.integers(-3, 3)),
    st.builds(lambda op, x: {op: x}, st.sampled_from(["eq", "ne"]), plain),
    st.builds(
        lambda op, x: {op: x}, st.sampled_from(["in", "not_in"]), st.lists(plain, min_size=1, max_size=3)
    ),
    st.builds(lambda x: {"exists": x}, st.booleans()),
)
filters = st.dictionaries(st.sampled_from(["p", "q"]), asked, max_size=2)


@given(one=filters, other=filters, properties=told)
def test_filters_join_as_logic_does(one: Any, other: Any, properties: Any) -> None:
    a, b = (matches(parse_filter(node), properties) for node in (one, other))

    assert matches(parse_filter({"all": [one, other]}), properties) == (a and b)
    assert matches(parse_filter({"any": [one, other]}), properties) == (a or b)
    assert matches(parse_filter({"none": [one, other]}), properties) == (not (a or b))
    assert matches(parse_filter({"not": one}), properties) == (not a)
