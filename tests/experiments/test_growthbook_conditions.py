"""Conditions between our form and GrowthBook's: the same people, in both directions."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from growthbook.core import evalCondition

from experiments.growthbook.conditions import to_mongo
from experiments.growthbook.patterns import UntranslatableError, portable
from experiments.growthbook.reading import from_mongo, members
from experiments.targeting import compile_condition, hashed_member, parse_condition
from experiments.targeting.patterns import searcher

GOLDEN = json.loads(Path("tests/golden/growthbook_cases.json").read_text())["evalCondition"]
A_NUMBER_AS_TEXT = {"comparing numbers and strings", "comparing numbers and strings - v2"}
"""JavaScript compares them, the Python SDK does not: what is sent as a number should be one."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=f"{i} {c[0]}") for i, c in enumerate(GOLDEN) if c[0] not in A_NUMBER_AS_TEXT],
)
def test_a_condition_keeps_its_meaning_on_the_way_here_and_back(case: list[Any]) -> None:
    _name, theirs, attributes, expected, *rest = case
    groups = rest[0] if rest else {}
    ours = parse_condition(from_mongo(theirs, groups=groups))

    back = json.loads(json.dumps(to_mongo(ours, {})))

    assert evalCondition(attributes, back, groups) is expected


TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "a\nb",
    "\n",
    "a\n",
    "😀",
    "é",
    "e\u0301",
    "x-1",
    "tea pot",
    "_",
    "7",
    "]",
    "\u212a",
    "K",
]


@pytest.mark.parametrize(
    "pattern",
    [
        "^a$", "a.b", "^.$", "[^a]", "^[^a-c]$", "\\d", "\\D", "\\w+", "\\W", "\\s", "\\S\\s\\S", "\\bpot",
        "\\Bot", "(tea|pot) ?", "(?:a|b){2}", "a*?b", "[]a]", "[\\]x]", "[a\\-z]", "x\\-1", "😀?", "^é", "{",
        "a{,2}", "[0-9-]", "\\.", "a|", "\\t|\\n",
    ],
)  # fmt: skip
def test_a_pattern_finds_elsewhere_what_it_finds_here(pattern: str) -> None:
    here, there = searcher(pattern), re.compile(portable(pattern))

    assert [here(text) for text in TEXTS] == [bool(there.search(text)) for text in TEXTS]


@pytest.mark.parametrize("pattern", ["k", "[a-k]", "^[^a-k]$", "tea", "A", "[Aé]?b"])
def test_the_case_is_passed_over_alike(pattern: str) -> None:
    here, there = searcher(pattern, any_case=True), re.compile(portable(pattern.replace("é", "_"), fold=True))

    assert [here(text) for text in TEXTS] == [bool(there.search(text)) for text in TEXTS]


@pytest.mark.parametrize(
    "pattern", ["(?i)a", "(?P<n>a)", "\\pL", "[[:alpha:]]", "\\Aa", "a\\z", "[é-ü]", "[\\D]", "a**", "[😀]"]
)
def test_a_pattern_beyond_the_common_ground_is_refused(pattern: str) -> None:
    with pytest.raises(UntranslatableError):
        portable(pattern)


@pytest.mark.parametrize(
    "theirs",
    [
        {"any": 1},
        {"a": {"$gt": None}},
        {"a": {"$gt": True}},
        {"a": {"$regex": "a(?=b)"}},
        {"$or": {"a": 1}},
        {"a": {"$elemMatch": 3}},
        {"a": {"$all": [[1]]}},
        {"$and": [3]},
    ],
)
def test_what_has_no_equal_here_is_refused_with_a_reason(theirs: Any) -> None:
    with pytest.raises(UntranslatableError, match=r"\w+ \w+"):
        from_mongo(theirs)


@pytest.mark.parametrize(
    ("theirs", "attributes", "holds"),
    [
        ({"a": {"$in": "x"}}, {"a": "x"}, False),
        ({"a": {"$nin": "x"}}, {"a": "y"}, False),
        ({"a": {"$eq": [1]}}, {"a": [1]}, False),
        ({"a": {"$ne": [1]}}, {"a": [1]}, True),
        ({"a": {"$type": "date"}}, {}, False),
        ({"a": {"$notRegex": "("}}, {"a": "x"}, True),
        ({"a": {"$notRegex": "^x"}}, {}, True),
        ({"a": {"$size": -1}}, {"a": []}, False),
        ({"a": {"$near": 1}}, {"a": 1}, False),
        ({"a": {"$not": {"$near": 1}}}, {"a": 1}, True),
        ({"$nor": []}, {}, False),
        ({"$savedGroups": ["g"]}, {"a": "x"}, False),
        ({"$savedGroup": {"id": "g"}}, {"a": "x"}, True),
        ({"$savedGroup": {"id": "g", "attributeKey": "b"}}, {"a": "x"}, False),
        ({"$savedGroup": {"id": "c"}}, {"n": 3}, True),
        ({"$savedGroup": {"id": "loop"}}, {}, False),
        ({"$savedGroup": {"id": "nothing"}}, {}, False),
        ({"a": {"$all": [{"$gt": 1}, {"$lt": 0}]}}, {"a": [2, -1]}, True),
        ({"a": {"$elemMatch": {}}}, {"a": [None]}, False),
        ({"a": {"$elemMatch": {"$gt": 1, "$lt": 5, "$not": {"$eq": 3}}}}, {"a": [3, 7]}, False),
        ({"a": {"$elemMatch": {"$or": [{"b": 1}, {"c": 1}]}}}, {"a": [{"c": 1}]}, True),
    ],
)
def test_odd_conditions_answer_as_they_did(theirs: Any, attributes: Any, holds: bool) -> None:
    groups: dict[str, Any] = {
        "g": {"type": "list", "attributeKey": "a", "values": ["x"]},
        "c": {"type": "condition", "condition": {"n": {"$gt": 2}}},
        "loop": {"type": "condition", "condition": {"$savedGroup": {"id": "loop"}}},
    }
    lists = {name: members(group) or [] for name, group in groups.items()}

    ours = compile_condition(parse_condition(from_mongo(theirs, groups=groups)), {}, lists=lists)

    assert ours(attributes) is holds


def test_a_list_is_asked_for_by_name() -> None:
    ours = parse_condition({"member": {"not_in_list": "vips"}})

    assert to_mongo(ours, {}) == {"member": {"$notInGroup": "vips"}}
    assert len(hashed_member("vips", "li")) == 64
