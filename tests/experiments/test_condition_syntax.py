from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from experiments.errors import InvalidDefinitionError
from experiments.targeting import MAX_DEPTH, MAX_PATTERN, All, Behaviour, Condition, Not, parse_condition

TOO_LARGE_FOLDED = "(?:" + "k" * 200 + "){1000}"
"""K has three forms in Unicode."""


@pytest.mark.parametrize(
    ("node", "path", "code", "hint"),
    [
        ("ES", (), "E201", ""),
        ({"all": ["ES"]}, ("all", 0), "E201", ""),
        ({False: "NO"}, (False,), "E202", "quotes"),
        ({"n": {"semver_gt_eq": "5.2.0"}}, ("n", "semver_gt_eq"), "E203", "semver_gte"),
        ({"n": {7: 1}}, ("n", 7), "E203", "known operators"),
        ({"n": {}}, ("n",), "E203", ""),
        ({"n": ["ES"]}, ("n",), "E204", "in: [...]"),
        ({"n": {"in": "ES"}}, ("n", "in"), "E204", ""),
        ({"n": {"in": [["ES"]]}}, ("n", "in"), "E204", ""),
        ({"n": {"gt": True}}, ("n", "gt"), "E204", ""),
        ({"n": {"gt": {"a": 1}}}, ("n", "gt"), "E204", ""),
        ({"n": {"exists": None}}, ("n", "exists"), "E204", ""),
        ({"n": {"starts_with": ["a"]}}, ("n", "starts_with"), "E204", ""),
        ({"audience": ["a"]}, ("audience",), "E204", ""),
        ({"n": {"regex": "(?=a)"}}, ("n", "regex"), "E205", "RE2"),
        ({"n": {"regex": "a" * (MAX_PATTERN + 1)}}, ("n", "regex"), "E205", ""),
        ({"n": {"regex_any_case": TOO_LARGE_FOLDED}}, ("n", "regex_any_case"), "E205", ""),
        ({"n": {"not_regex_any_case": TOO_LARGE_FOLDED}}, ("n", "not_regex_any_case"), "E205", ""),
        ({"any": []}, ("any",), "E206", ""),
        ({"n": {"type": "text"}}, ("n", "type"), "E204", ""),
        ({"n": {"type": "bolean"}}, ("n", "type"), "E204", "boolean"),
        ({"n": {"has_all": "ES"}}, ("n", "has_all"), "E204", ""),
        ({"n": {"size": -1}}, ("n", "size"), "E204", ""),
        ({"n": {"size": True}}, ("n", "size"), "E204", ""),
        ({"n": {"size": {"name": 1}}}, ("n", "size", "name"), "E203", ""),
        ({"n": {"any_element": "ES"}}, ("n", "any_element"), "E204", "contains"),
        ({"n": {"any_element": {}}}, ("n", "any_element"), "E203", ""),
        ({"n": {"any_element": {"gt": [1]}}}, ("n", "any_element", "gt"), "E204", ""),
        ({"n": {"any_element": {"a": {"gtt": 1}}}}, ("n", "any_element", "a", "gtt"), "E203", "gt"),
        ({"n": {"any_element": {"audience": "a"}}}, ("n", "any_element", "audience"), "E204", ""),
        (
            {"n": {"any_element": {"all": [{"behaviour": {}}]}}},
            ("n", "any_element", "all", 0, "behaviour"),
            "E204",
            "",
        ),
        ({"n": {"not": {"gt": None}}}, ("n", "not", "gt"), "E204", ""),
        ({"n": {"not": {}}}, ("n", "not"), "E203", ""),
        ({"n": {"in_list": ["a"]}}, ("n", "in_list"), "E204", "lists:"),
        ({"n": {"not_regex": "["}}, ("n", "not_regex"), "E205", ""),
        ({"n": {"before": "tomorrow"}}, ("n", "before"), "E211", "2027"),
        ({"n": {"before": "2027-01-07T09:00"}}, ("n", "before"), "E211", "+01:00"),
        ({"n": {"after": "2027-02-30"}}, ("n", "after"), "E211", ""),
        ({"n": {"after": "0001-01-01T00:00+23:00"}}, ("n", "after"), "E211", ""),
        ({"n": {"after": 2027}}, ("n", "after"), "E211", ""),
        ({"all": "ES"}, ("all",), "E206", ""),
    ],
)
def test_a_wrong_condition_says_where_and_why(node: Any, path: Any, code: str, hint: str) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        parse_condition(node)

    assert (caught.value.path, caught.value.code) == (path, code)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "wrap", [lambda n: {"not": n}, lambda n: {"a": {"any_element": n}}], ids=["not", "any_element"]
)
def test_a_condition_cannot_be_nested_without_end(wrap: Callable[[Any], Any]) -> None:
    node: Any = {"n": 1}
    for _ in range(3 * MAX_DEPTH):
        node = wrap(node)

    with pytest.raises(InvalidDefinitionError, match="nested"):
        parse_condition(node)


def test_a_value_cannot_be_negated_without_end() -> None:
    node: Any = 1
    for _ in range(3 * MAX_DEPTH):
        node = {"not": node}

    with pytest.raises(InvalidDefinitionError, match="nested"):
        parse_condition({"n": node})


def facts(node: dict[str, Any]) -> Any:
    return parse_condition({"behaviour": {"event": "Viewed", **node}})


VIEWED = Behaviour(event="Viewed")
DAY = 86_400


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({}, VIEWED),
        ({"within": "2w"}, replace(VIEWED, within_s=14 * DAY)),
        ({"count": {"gte": 3}, "within": "30d"}, replace(VIEWED, at_least=3, within_s=30 * DAY)),
        ({"count": {"gt": 3}}, replace(VIEWED, at_least=4)),
        ({"count": {"lt": 3}}, Not(replace(VIEWED, at_least=3))),
        ({"count": {"lte": 3}}, Not(replace(VIEWED, at_least=4))),
        ({"count": {"eq": 3}}, All((replace(VIEWED, at_least=3), Not(replace(VIEWED, at_least=4))))),
        ({"count": {"eq": 0}}, All((All(()), Not(VIEWED)))),
        (
            {"count": {"gte": 2, "lt": 5}},
            All((replace(VIEWED, at_least=2), Not(replace(VIEWED, at_least=5)))),
        ),
        ({"sum": {"price": {"gte": 9.5}}}, replace(VIEWED, measure="sum", property="price", at_least=9.5)),
        ({"sum": {"price": {"lt": 9.0}}}, Not(replace(VIEWED, measure="sum", property="price", at_least=9))),
        ({"last": {"within": "7d"}}, replace(VIEWED, within_s=7 * DAY)),
        ({"last": {"before": "12h"}}, All((VIEWED, Not(replace(VIEWED, within_s=DAY // 2))))),
        ({"where": {"b": True, "a": "x"}}, replace(VIEWED, where=(("a", "x"), ("b", True)))),
    ],
)
def test_a_behaviour_becomes_facts_that_only_ever_become_true(node: Any, expected: Any) -> None:
    assert facts(node) == expected


def test_the_key_of_a_fact_depends_on_all_of_it_and_on_nothing_else() -> None:
    variants = [
        VIEWED,
        replace(VIEWED, event="viewed"),
        replace(VIEWED, where=(("a", 1),)),
        replace(VIEWED, where=(("a", True),)),
        replace(VIEWED, measure="sum", property="price"),
        replace(VIEWED, at_least=2),
        replace(VIEWED, within_s=DAY),
    ]

    assert len({fact.key for fact in variants}) == len(variants)
    assert facts({"where": {"a": 1, "b": 2}}).key == facts({"where": {"b": 2, "a": 1}}).key
    assert VIEWED.key == "93692b9f5918859a"


def test_a_length_of_time_is_read_as_everywhere_in_the_catalog() -> None:
    def within(text: str) -> Condition:
        return parse_condition({"behaviour": {"event": "Viewed", "within": text}})

    assert within("14 d") == within(" 2w ") == within("1209600s")


@pytest.mark.parametrize(
    ("node", "path", "hint"),
    [
        ("Viewed", (), "event"),
        ({}, (), "event"),
        ({"count": {"gte": 1}}, (), "event"),
        ({"event": 5}, (), "event"),
        ({"event": "V", "counts": {"gte": 1}}, ("counts",), "'count'"),
        ({"event": "V", "count": 3}, ("count",), "gte: 3"),
        ({"event": "V", "count": {"ge": 3}}, ("count", "ge"), "gte"),
        ({"event": "V", "count": {"gte": 1.5}}, ("count", "gte"), ""),
        ({"event": "V", "count": {"gte": True}}, ("count", "gte"), ""),
        ({"event": "V", "count": {"gte": -1}}, ("count", "gte"), ""),
        ({"event": "V", "count": {"gte": 1}, "last": {"within": "1d"}}, ("last",), "all:"),
        ({"event": "V", "sum": {"a": {"gte": 1}, "b": {"gte": 1}}}, ("sum",), "revenue"),
        ({"event": "V", "sum": {"a": {"gt": 1}}}, ("sum", "a", "gt"), "gte"),
        ({"event": "V", "sum": {"a": {"gte": 0}}}, ("sum", "a", "gte"), ""),
        ({"event": "V", "sum": {"a": {"gte": "1"}}}, ("sum", "a", "gte"), ""),
        ({"event": "V", "sum": {5: {"gte": 1}}}, ("sum", 5), "quotes"),
        ({"event": "V", "within": "1y"}, ("within",), "7d"),
        ({"event": "V", "within": "401d"}, ("within",), "7d"),
        ({"event": "V", "within": 7}, ("within",), "7d"),
        ({"event": "V", "last": {"within": "1d"}, "within": "2d"}, ("within",), "last"),
        ({"event": "V", "last": {"within": "1d", "before": "2d"}}, ("last",), "all:"),
        ({"event": "V", "last": {"before": "soon"}}, ("last", "before"), "7d"),
        ({"event": "V", "where": ["a"]}, ("where",), "category"),
        ({"event": "V", "where": {"a": ["b"]}}, ("where", "a"), ""),
        ({"event": "V", "where": {"a": float("nan")}}, ("where", "a"), ""),
        ({"event": "V", "where": {5: "b"}}, ("where", 5), "quotes"),
    ],
)
def test_a_wrong_behaviour_says_where_and_why(node: Any, path: Any, hint: str) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        parse_condition({"all": [{"behaviour": node}]})

    assert (caught.value.path, caught.value.code) == (("all", 0, "behaviour", *path), "E210")
    assert hint in caught.value.hint


def test_a_refused_pattern_is_told_in_words_and_to_nobody_else(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidDefinitionError, match=r"that RE2 knows: missing \): \(a$"):
        parse_condition({"page": {"regex": "(a"}})

    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("node", "hint"),
    [
        ("iberia", "if 'iberia' is an audience: {audience: iberia}"),
        ({"behavior": {"event": "Product Viewed"}}, "did you mean 'behaviour:'?"),
        ({"country": {"equals": "ES"}}, "did you mean 'eq'?"),
        ({"user_id": {"in": "vips"}}, "write in: [vips]; for a list that has a name in_list: vips"),
    ],
)
def test_a_typical_mistake_is_told_what_was_meant(node: Any, hint: str) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        parse_condition(node)

    assert caught.value.hint == hint
