"""What was decided about an experiment while it runs: who gets what, and when its ramp goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.account import account
from experiments.allocation import variant_of
from experiments.assignment import Assignment, MissingUnitError, Reason, compile_catalog
from experiments.definitions import Catalog, Experiment, Flag, Variant
from experiments.errors import InvalidDefinitionError
from experiments.gates import Holdout, Layer, LayerSlot, Prerequisite
from experiments.growthbook.payload import payload
from experiments.hashing import bucket
from experiments.lifecycle import RampStep, Schedule, Status, open_steps, opened_by
from experiments.steering import steer
from experiments.targeting import parse_condition
from tests.experiments.builders import GUARDED, experiment

NOW = datetime(2027, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SPAIN = parse_condition({"country": "ES"})
UNITS = [f"u{i}" for i in range(2_000)]
STEPS = (
    RampStep(NOW, 1_000),
    RampStep(NOW + DAY, 5_000, gated=True),
    RampStep(NOW + 2 * DAY, 7_500),
    RampStep(NOW + 3 * DAY, 10_000, gated=True),
)


@dataclass(frozen=True)
class Said:
    """What a store would say of a phase."""

    shipped: str = ""
    ramp_steps: int | None = None
    ramp_share_bp: int | None = None


def shipped(**changes: Any) -> Experiment:
    return experiment(**changes, shipped="b")


def ask(one: Experiment, unit: str | None = "u1", *, killed: str = "", **context: Any) -> Assignment:
    attributes = context if unit is None else {"anonymous_id": unit, **context}
    others = {"dark": Flag(key="dark", audience=parse_condition({"dark": True}))}
    compiled = compile_catalog(
        Catalog(experiments={one.key: one}, flags=others), killed=frozenset({killed} if killed else ())
    )
    return compiled.assign(one.key, attributes, now=NOW)


def held(share_bp: int, unit_held: bool) -> str:
    return next(u for u in UNITS if (bucket("holdout:q1", u) < share_bp) is unit_held)


# --- everybody gets one variant


def test_everybody_gets_what_is_shipped_and_nobody_is_counted() -> None:
    one = shipped(allocation_bp=100, layer=LayerSlot(layer=Layer(key="page"), share_bp=500))

    answers = {ask(one, unit) for unit in UNITS[:50]}

    assert [(a.variant_key, a.value, a.reason, a.decision, a.enrolled) for a in answers] == [
        ("b", "B", Reason.STATIC, "shipped", False)
    ]
    assert ask(one, None).value == "B", "what is for everybody needs no id"


def test_an_allocation_of_nothing_and_a_ramp_that_has_not_begun_do_not_hold_it_back() -> None:
    assert ask(shipped(allocation_bp=0)).value == "B"
    assert ask(shipped(ramp=(RampStep(NOW + DAY, 10_000),))).value == "B"


@pytest.mark.parametrize(
    ("changes", "decision", "value"),
    [
        ({"status": Status.PAUSED}, "not_running", "A"),
        ({"status": Status.STOPPED}, "not_running", "A"),
        ({"schedule": Schedule(end_at=NOW)}, "not_running", "A"),
        ({"prerequisites": (Prerequisite("dark", parse_condition({"value": True})),)}, "prerequisite", "A"),
        ({"audience": SPAIN}, "not_in_audience", "A"),
        ({"overrides": {"a": ("u1",)}}, "override", "A"),
        ({}, "shipped", "B"),
    ],
)
def test_what_comes_before_the_split_still_counts(changes: dict[str, Any], decision: str, value: str) -> None:
    found = ask(shipped(**changes), country="PT")

    assert (found.decision, found.value) == (decision, value)


def test_the_kill_switch_is_stronger() -> None:
    assert ask(shipped(), killed="banner").decision == "killed"
    assert ask(shipped(), killed="*").value == "A"


def test_who_passed_a_gate_is_told_so() -> None:
    found = ask(shipped(audience=SPAIN), country="ES")

    assert (found.decision, found.reason) == ("shipped", Reason.TARGETING_MATCH)


def test_the_holdout_stays_out_so_that_the_family_can_be_measured() -> None:
    one = shipped(holdout=Holdout(key="q1", share_bp=2_000))

    assert ask(one, held(2_000, True)).decision == "holdout"
    assert ask(one, held(2_000, False)).decision == "shipped"
    with pytest.raises(MissingUnitError):
        ask(one, None)


def test_an_account_tells_the_gates_up_to_the_shipping() -> None:
    one = shipped(holdout=Holdout(key="q1", share_bp=2_000), audience=SPAIN)
    catalog = Catalog(experiments={one.key: one})
    context = {"anonymous_id": held(2_000, False), "country": "ES"}

    told = account(catalog, one.key, context, now=NOW)

    assert told.assignment is not None
    assert told.decided_by is not None
    assert told.decided_by.decision == told.assignment.decision == "shipped"
    assert [step.gate for step in told.steps][-4:] == ["audience", "unit", "holdout", "shipped"]
    assert told.decided_by.change == "opportune unship banner"
    out = account(catalog, one.key, {**context, "anonymous_id": held(2_000, True)}, now=NOW)
    assert out.decided_by is not None
    assert out.decided_by.gate == "holdout"


def test_an_sdk_is_told_to_force_the_value_and_reports_no_exposure() -> None:
    one = shipped(audience=SPAIN, holdout=Holdout(key="q1", share_bp=2_000), allocation_bp=100)

    (rule,) = payload(Catalog(experiments={one.key: one}), now=NOW)["features"][one.key]["rules"]

    assert rule["force"] == "B"
    assert not rule.keys() & {"key", "variations", "hashAttribute", "ranges"}
    assert [found["ranges"] for found in rule["filters"]] == [[[0.2, 1.0]]]
    everybody = payload(Catalog(experiments={one.key: shipped()}), now=NOW)["features"][one.key]
    assert everybody == {"defaultValue": "A", "rules": [{"force": "B"}]}


def test_null_is_what_an_sdk_serves_without_being_forced() -> None:
    nothing = tuple(Variant(key=key, value=None, weight_bp=5_000) for key in "ab")

    found = payload(Catalog(experiments={"banner": shipped(variants=nothing)}), now=NOW)

    assert found["features"]["banner"] == {"defaultValue": None}


def test_another_flag_can_build_on_what_is_shipped() -> None:
    one = shipped(allocation_bp=0)
    flag = Flag(key="next", prerequisites=(Prerequisite(one.key, parse_condition({"value": "B"})),))
    compiled = compile_catalog(Catalog(experiments={one.key: one}, flags={"next": flag}))

    assert compiled.assign("next", {}, now=NOW).value is True


# --- what is decided of which phase


def test_only_the_phase_that_was_decided_about_is_steered() -> None:
    catalog = Catalog(experiments={"banner": experiment(phase=2), "other": experiment(key="other")})
    decided: Mapping[tuple[str, int], Said] = {("banner", 2): Said("b", 1), ("other", 2): Said("b")}

    found = steer(catalog, decided)

    assert (found.experiments["banner"].shipped, found.experiments["banner"].ramp_limit) == ("b", 1)
    assert found.experiments["other"] is catalog.experiments["other"]


def test_what_there_is_no_variant_for_is_not_shipped() -> None:
    catalog = Catalog(experiments={"banner": experiment()})

    assert steer(catalog, {("banner", 1): Said("gone")}) is catalog


def test_what_is_stopped_is_not_shipped_any_more() -> None:
    catalog = Catalog(experiments={"banner": experiment(status=Status.STOPPED)})

    assert steer(catalog, {("banner", 1): Said("b")}) is catalog


def test_steering_again_forgets_what_was_decided_before() -> None:
    catalog = Catalog(experiments={"banner": experiment()})
    steered = steer(catalog, {("banner", 1): Said("b")})

    assert steer(steered, {}) == catalog
    assert steer(steered, {("banner", 1): Said("b")}) is steered


# --- a ramp that waits for guardrails


def ramped(limit: int | None = None) -> Experiment:
    return experiment(metrics=GUARDED, ramp=STEPS, allocation_bp=10_000, ramp_limit=limit)


@pytest.mark.parametrize(
    ("limit", "shares"),
    [
        (None, [0, 1_000, 1_000, 1_000, 1_000]),
        (1, [0, 1_000, 1_000, 1_000, 1_000]),
        (2, [0, 1_000, 5_000, 5_000, 5_000]),
        (3, [0, 1_000, 5_000, 7_500, 7_500]),
        (4, [0, 1_000, 5_000, 7_500, 10_000]),
    ],
)
def test_a_step_opens_at_its_time_and_not_before_its_gate_is_open(
    limit: int | None, shares: list[int]
) -> None:
    one = ramped(limit)
    moments = [NOW - DAY, NOW, NOW + DAY, NOW + 2 * DAY, NOW + 3 * DAY]

    assert [one.share_at(at) for at in moments] == shares
    compiled = compile_catalog(Catalog(experiments={one.key: one}))
    for at, share in zip(moments, shares, strict=True):
        enrolled = {u for u in UNITS if compiled.assign(one.key, {"anonymous_id": u}, now=at).enrolled}
        assert enrolled == {u for u in UNITS if variant_of(replace(one, ramp=(), allocation_bp=share), u)}


def test_a_hold_keeps_a_ramp_without_gates_where_it_is() -> None:
    ungated = tuple(replace(step, gated=False) for step in STEPS)

    held_back = experiment(ramp=ungated, allocation_bp=10_000, ramp_limit=2)

    assert held_back.share_at(NOW + 9 * DAY) == 5_000


def test_the_gate_whose_time_has_come_opens_with_the_steps_that_ask_nothing() -> None:
    assert opened_by(STEPS, None, NOW) is None
    assert opened_by(STEPS, None, NOW + DAY) == 3
    assert opened_by(STEPS, 3, NOW + 2 * DAY) is None
    assert opened_by(STEPS, 3, NOW + 3 * DAY) == 4
    assert opened_by(STEPS, 4, NOW + 9 * DAY) is None
    ungated = tuple(replace(step, gated=False) for step in STEPS)
    assert opened_by(ungated, 2, NOW + 9 * DAY) is None, "what was held by hand is no gate"


@pytest.mark.parametrize(
    ("said", "shares"),
    [
        (Said("", 2), (1_000, 2_000, 5_000, 10_000)),
        (Said("", 2, 2_000), (1_000, 2_000, 5_000, 10_000)),
    ],
)
def test_once_gates_are_edited_out_the_ramp_goes_by_time(said: Said, shares: tuple[int, ...]) -> None:
    sizes = (1_000, 2_000, 5_000, 10_000)
    steps = tuple(RampStep(NOW + i * DAY, share_bp) for i, share_bp in enumerate(sizes))
    one = experiment(metrics=GUARDED, ramp=steps, allocation_bp=10_000)

    found = steer(Catalog(experiments={"banner": one}), {("banner", 1): said}).experiments["banner"]

    assert tuple(found.share_at(NOW + i * DAY) for i in range(4)) == shares


def test_a_gate_with_a_larger_share_than_was_opened_waits_for_its_own_decision() -> None:
    # [10%, 50% if] was opened, then edited.
    steps = (RampStep(NOW, 5_000), RampStep(NOW + 2 * DAY, 10_000, gated=True))
    one = experiment(metrics=GUARDED, ramp=steps, allocation_bp=10_000)

    found = steer(Catalog(experiments={"banner": one}), {("banner", 1): Said("", 2, 5_000)})

    edited = found.experiments["banner"]
    assert edited.share_at(NOW + 9 * DAY) == 5_000
    assert opened_by(edited.ramp, edited.ramp_limit, NOW + 2 * DAY) == 2


def test_a_gate_that_was_opened_stays_so_wherever_it_stands() -> None:
    steps = (STEPS[0], RampStep(NOW + DAY / 2, 2_000), *STEPS[1:])
    one = experiment(metrics=GUARDED, ramp=steps, allocation_bp=10_000)

    found = steer(Catalog(experiments={"banner": one}), {("banner", 1): Said("", 3, 5_000)})

    assert found.experiments["banner"].share_at(NOW + 9 * DAY) == 7_500


@given(hours=st.lists(st.integers(-30, 120), min_size=1, max_size=12))
def test_whenever_verdicts_come_a_ramp_only_grows(hours: list[int]) -> None:
    limit: int | None = None
    shares = []
    for hour in sorted(hours):
        at = NOW + timedelta(hours=hour)
        limit = opened_by(STEPS, limit, at) or limit
        shares.append(ramped(limit).share_at(at))
        assert open_steps(STEPS, limit, at) <= sum(step.at <= at for step in STEPS)

    assert all(one <= two for one, two in pairwise(shares))


def test_the_moments_of_closed_steps_change_nothing() -> None:
    closed = compile_catalog(Catalog(experiments={"banner": ramped()}))
    opened = compile_catalog(Catalog(experiments={"banner": ramped(4)}))

    assert closed.next_change(NOW) is None
    assert opened.next_change(NOW) == NOW + DAY


def test_an_account_says_that_a_step_waits() -> None:
    one = ramped()
    late = next(u for u in UNITS if variant_of(replace(one, ramp=(), allocation_bp=1_000), u) is None)

    told = account(Catalog(experiments={one.key: one}), one.key, {"anonymous_id": late}, now=NOW + 9 * DAY)

    assert told.decided_by is not None
    assert told.decided_by.change.endswith("or later, once its guardrails are found in order")


@pytest.mark.parametrize(
    ("ramp", "metrics", "code"),
    [
        ((RampStep(NOW, 100), RampStep(NOW + DAY, 10_000, gated=True)), None, "E327"),
        ((RampStep(NOW, 10_000, gated=True),), GUARDED, "E326"),
        ((RampStep(NOW, 0), RampStep(NOW + DAY, 10_000, gated=True)), GUARDED, "E326"),
    ],
)
def test_a_gate_that_nobody_could_open_is_refused(
    ramp: tuple[RampStep, ...], metrics: Any, code: str
) -> None:
    changes = {} if metrics is None else {"metrics": metrics}

    with pytest.raises(InvalidDefinitionError) as refused:
        experiment(ramp=ramp, allocation_bp=10_000, **changes)

    assert refused.value.code == code
    assert refused.value.path[0] == "ramp"
