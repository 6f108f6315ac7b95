"""What GrowthBook's features become: the same answer for everybody, or a refusal that says why."""

from typing import Any

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
