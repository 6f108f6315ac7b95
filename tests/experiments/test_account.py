import json
from datetime import timedelta
from typing import Any

import pytest

from experiments.account import Account, account
from experiments.assignment import compile_catalog
from experiments.definitions import Catalog, Flag
from experiments.errors import UnknownFlagError
from experiments.gates import Holdout, Layer, LayerSlot, Prerequisite
from experiments.lifecycle import RampStep, Schedule, Status
from experiments.membership import KNOWN_AS, Membership, build_membership, frozen_name
from experiments.targeting import behaviours, parse_condition
from tests import differential
from tests.experiments.builders import START, experiment

PASSED = frozenset({"enrolled", "in_allocation", "static", "targeting_match"})
VISITOR = {"anonymous_id": "v-1", "country": "DE"}


def told(definition: Any, context: Any = VISITOR, **more: Any) -> Account:
    kind = "flags" if isinstance(definition, Flag) else "experiments"
    catalog = Catalog(**{kind: {definition.key: definition}, **more.pop("catalog", {})})
    return account(catalog, definition.key, context, now=START, **more)


def decision_of(found: Account) -> str:
    return found.decided_by.decision if found.decided_by else "passed"


def test_the_account_names_the_gate_that_decided_for_random_catalogs_and_people() -> None:
    seen: dict[str, int] = {}
    for seed in range(40):
        catalog = next(differential.catalogs(seed))
        keys = compile_catalog(catalog).keys
        for person in differential.people(seed, 8):
            for key in keys:
                found = account(catalog, key, person, now=differential.NOW)
                expected = found.assignment.decision if found.assignment else "no_unit"
                seen[expected] = seen.get(expected, 0) + 1

                assert decision_of(found) == ("passed" if expected in PASSED else expected)
                assert bool(found.decided_by and found.decided_by.change) == (
                    found.decided_by is not None and found.decided_by.passed is False
                )

    assert len(seen) >= 11, seen
    assert seen["shipped"]


def test_an_audience_tells_the_leaf_and_what_it_saw() -> None:
    spanish = experiment(audience=parse_condition({"all": [{"country": {"in": ["ES", "PT"]}}]}))

    step = told(spanish).decided_by

    assert step is not None
    assert step.detail == """country in ["ES", "PT"]: saw 'DE'"""
    assert step.change == 'this must hold: country in ["ES", "PT"]'
    assert step.facts["seen"] == "DE"


@pytest.mark.parametrize(
    ("audience", "wish"),
    [
        ({"audience": "spanish"}, 'audience spanish must hold: country in ["ES"] or age gt 65'),
        ({"not": {"audience": "german"}}, 'audience german must not hold: country eq "DE"'),
    ],
)
def test_a_named_audience_is_told_as_a_whole(audience: Any, wish: str) -> None:
    named = {
        "spanish": parse_condition({"any": [{"country": {"in": ["ES"]}}, {"age": {"gt": 65}}]}),
        "german": parse_condition({"country": "DE"}),
    }

    step = told(experiment(audience=parse_condition(audience)), catalog={"audiences": named}).decided_by

    assert step is not None
    assert step.change == wish


def test_a_holdout_a_layer_and_a_ramp_tell_the_bucket_and_the_place() -> None:
    layer = LayerSlot(layer=Layer(key="page"), start_bp=0, share_bp=1)
    held = experiment(holdout=Holdout(key="q1", share_bp=9_999), layer=layer)
    steps = {step.gate: step for step in told(held).steps}

    assert steps["holdout"].facts["name"] == "holdout q1"
    assert steps["holdout"].passed is False
    assert steps["layer"].detail.startswith("layer page: bucket ")
    assert steps["layer"].detail.endswith("; its place is 0-0")
    assert steps["allocation"].passed is True


def test_a_ramp_tells_from_when_on_the_unit_is_in() -> None:
    later = START + timedelta(days=3)
    ramped = experiment(ramp=(RampStep(START, 1), RampStep(later, 10_000)), allocation_bp=10_000)

    step = told(ramped).decided_by

    assert step is not None
    assert f"its ramp gets there at {later.isoformat()}" in step.change


@pytest.mark.parametrize(
    ("definition", "decision", "said"),
    [
        (experiment(status=Status.PAUSED), "not_running", "started again"),
        (experiment(status=Status.PAUSED, overrides={"a": ("v-1",)}), "not_running", "started again"),
        (experiment(schedule=Schedule(start_at=START + timedelta(days=1))), "not_running", "it opens at"),
        (experiment(schedule=Schedule(end_at=START)), "not_running", "it ended at"),
        (experiment(overrides={"a": ("v-1",)}), "override", "out of `overrides`"),
        (experiment(allocation_bp=0), "not_in_allocation", "opportune ramp banner"),
        (experiment(unit="user_id"), "no_unit", "send user_id"),
        (Flag(key="half", allocation_bp=1), "not_in_allocation", "a share of"),
    ],
)
def test_each_gate_says_what_would_have_to_change(definition: Any, decision: str, said: str) -> None:
    found = told(definition)

    assert decision_of(found) == decision
    assert found.decided_by is not None
    assert said in found.decided_by.change


def test_the_kill_switch_comes_first_and_says_how_to_undo_it() -> None:
    found = told(experiment(status=Status.PAUSED), killed=frozenset({"*"}))

    assert decision_of(found) == "killed"
    assert found.decided_by is not None
    assert found.decided_by.change == "opportune revive '*'"


def test_a_prerequisite_tells_what_the_other_one_serves() -> None:
    other = Flag(key="other", unit="user_id", allocation_bp=5_000)
    needs = experiment(prerequisites=(Prerequisite("other", parse_condition({"value": True})),))

    step = told(needs, catalog={"flags": {"other": other}}).decided_by

    assert step is not None
    assert step.facts["serves"] is False
    assert step.detail.startswith("other serves False (no_unit); wanted: ")


def test_who_was_exposed_stays_and_the_account_says_so() -> None:
    asked = parse_condition({"not": {"behaviour": {"event": "Order Completed"}}})
    (fact,) = behaviours(asked, {})
    names = [fact.key, frozen_name("banner", 1)]
    membership = Membership(build_membership(names, {"a:v-1": 0b11, "a:v-2": 0b01}))

    stays = told(experiment(audience=asked), membership=membership)
    leaves = told(experiment(audience=asked), {"anonymous_id": "v-2"}, membership=membership)

    assert stays.decided_by is None
    assert "it was exposed" in next(step.detail for step in stays.steps if step.gate == "audience")
    assert decision_of(leaves) == "not_in_audience"


@pytest.mark.parametrize(("known_as", "decision"), [((), "not_in_audience"), (("a:v-1",), "passed")])
def test_the_account_agrees_on_whose_history_counts(known_as: tuple[str, ...], decision: str) -> None:
    asked = parse_condition({"not": {"behaviour": {"event": "Order Completed"}}})
    (fact,) = behaviours(asked, {})
    names = [fact.key, frozen_name("banner", 1)]
    membership = Membership(build_membership(names, {"a:v-1": 0b11}))

    found = told(experiment(audience=asked), {**VISITOR, KNOWN_AS: known_as}, membership=membership)

    assert decision_of(found) == decision
    assert found.assignment
    assert found.assignment.enrolled is (decision == "passed")


def test_facts_are_json_whatever_was_sent() -> None:
    odd = {"anonymous_id": ["x"], "country": {"a": [None, 1.5]}, "": 0}
    spanish = experiment(audience=parse_condition({"country": "ES"}))

    for step in told(spanish, odd).steps:
        json.dumps(dict(step.facts))


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(UnknownFlagError):
        account(Catalog(), "nothing", {}, now=START)
