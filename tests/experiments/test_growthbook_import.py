"""What GrowthBook's features become: the same answer for everybody, or a refusal that says why."""

from typing import Any

import pytest

from experiments.growthbook.importing import Imported, import_features

SPLIT = {"variations": ["x", "y"], "hashVersion": 2, "key": "a"}
IN_FRANCE = {"force": "x", "condition": {"country": "FR"}}
GOOD = {"good": {"defaultValue": False, "rules": [{"force": True}]}}


def imported(*rules: Any, default: Any = "x", **payload: Any) -> Imported:
    """Return what becomes of a feature `a` with these rules, beside a good one."""
    return import_features(
        {"features": {**GOOD, "a": {"defaultValue": default, "rules": list(rules)}}, **payload}
    )


def for_ids(value: Any, *ids: str) -> dict[str, Any]:
    return {"force": value, "condition": {"id": {"$in": list(ids)}}}


# --- overrides


def test_of_two_rules_that_force_a_unit_the_first_counts() -> None:
    found = imported(for_ids("y", "u1", "u2", "u1"), for_ids("x", "u1", "u3"), SPLIT, default="none")

    assert found.definitions["a"]["overrides"] == {"1": ["u1", "u2"], "0": ["u3"]}


def test_a_rule_that_only_repeats_units_forces_nobody() -> None:
    found = imported(for_ids("y", "u1"), for_ids("x", "u1"), SPLIT, default="none")

    assert found.definitions["a"]["overrides"] == {"1": ["u1"]}


def test_a_rule_for_ids_behind_a_condition_is_refused_as_an_override_would_come_first() -> None:
    found = imported(IN_FRANCE, for_ids("y", "u1"), SPLIT)

    assert "an override comes first" in found.refused["a"]
    assert "a" not in found.definitions


def test_a_rule_for_ids_behind_a_blocking_prerequisite_is_refused_too() -> None:
    blocks = {"parentConditions": [{"id": "good", "condition": {"value": True}, "gate": True}]}

    assert "an override comes first" in imported(blocks, for_ids("y", "u1"), SPLIT).refused["a"]


def test_a_condition_behind_a_rule_for_ids_leaves_out_the_others() -> None:
    one = imported(for_ids("y", "u1"), IN_FRANCE, SPLIT).definitions["a"]

    assert one["overrides"] == {"1": ["u1"]}
    assert one["audience"] == {"not": {"country": {"eq": "FR"}}}


# --- what is malformed


def nested(depth: int, wrap: Any) -> Any:
    found: Any = {"a": 1}
    for _ in range(depth):
        found = wrap(found)
    return found


@pytest.mark.parametrize("rules", ["abc", [1], {"x": 1}, ["a"], 7])
def test_rules_that_are_none_refuse_their_feature_only(rules: Any) -> None:
    found = import_features({"features": {**GOOD, "a": {"defaultValue": 1, "rules": rules}}})

    assert "'rules' takes a list of objects" in found.refused["a"]
    assert list(found.definitions) == ["good"]


@pytest.mark.parametrize(
    "members",
    [
        {"coverage": "0.5"},
        {"weights": ["a", "b"]},
        {"weights": "ab"},
        {"meta": "zz"},
        {"meta": [None, None]},
        {"filters": [1]},
        {"filters": [{"seed": "s", "ranges": [["a", "b"]]}]},
        {"filters": [{"seed": 7, "ranges": [[0, 1]]}]},
        {"ranges": [[0, 0.5], ["a", "b"]]},
        {"ranges": [[0, 0.5], [0.5]]},
        {"range": [0.5]},
        {"namespace": "nnn"},
        {"namespace": ["n"]},
        {"namespace": ["n", 0, float("nan")]},
        {"parentConditions": "g"},
        {"parentConditions": [{"id": ["g"], "condition": {"value": 1}}]},
        {"hashAttribute": ["id"]},
        {"seed": {"a": 1}},
        {"key": 7},
        {"hashVersion": "2"},
        {"variations": {"0": "x", "1": "y"}},
        {"condition": "zz"},
        {"condition": {"a": {"$regex": "(" * 500 + ")" * 500}}},
        {"condition": nested(3_000, lambda one: {"$not": one})},
        {"condition": {"a": {"$in": [nested(900, lambda one: [one])]}}},
        {"variations": [nested(900, lambda one: [one]), 1]},
    ],
)
def test_a_malformed_rule_refuses_its_feature_only(members: Any) -> None:
    found = imported({**SPLIT, **members})

    assert found.refused["a"].startswith("malformed: ")
    assert list(found.definitions) == ["good"]


def test_a_value_that_is_nested_too_deep_refuses_its_feature_only() -> None:
    found = imported(default=nested(3_000, lambda one: [one]))

    assert found.refused == {"a": "malformed: nested deeper than 32"}


@pytest.mark.parametrize(
    "groups",
    [["g"], "g", 7, {"g": [None]}, {"g": [{"a": 1}]}, {"g": {"type": "list", "values": ["u", [1]]}},
     {"g": {"type": "condition", "condition": nested(900, lambda one: {"$not": one})}}],
)  # fmt: skip
@pytest.mark.parametrize("asked", [{"id": {"$inGroup": "g"}}, {"$savedGroup": {"id": "g"}}])
def test_a_bad_saved_group_refuses_who_asks_for_it_only(groups: Any, asked: Any) -> None:
    found = imported({"force": "y", "condition": {"$not": asked}}, savedGroups=groups)

    assert "malformed" in found.refused["a"]
    assert list(found.definitions) == ["good"]


def test_a_bad_saved_group_is_found_behind_another_one() -> None:
    groups = {"outer": {"type": "condition", "condition": {"id": {"$inGroup": "g"}}}, "g": [None]}

    found = imported({"force": "y", "condition": {"$savedGroup": {"id": "outer"}}}, savedGroups=groups)

    assert "'g' is malformed" in found.refused["a"]
