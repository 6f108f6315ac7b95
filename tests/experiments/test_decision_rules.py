"""The expressions that say when to ship and when to roll back."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.decision_rules import (
    ROLLBACK_WHEN,
    SHIP_WHEN,
    AllOf,
    AnyOf,
    Leaf,
    Not,
    Rule,
    asked,
    form,
    holds,
    leaves,
    written,
)
from experiments.definitions import DecisionPlan, Guardrail, MetricPlan
from experiments.errors import InvalidDefinitionError
from experiments.rule_faults import all_faults, faults, joint_faults, may_ship_worse
from experiments.states import POSSIBLE, MetricState, Role
from tests.experiments.builders import experiment

ROLES = {
    "buy": Role.PRIMARY,
    "revenue": Role.SECONDARY,
    "refund": Role.GUARDRAIL,
    "speed": Role.GUARDRAIL,
}
BETTER, WORSE, SAFE = MetricState.BETTER, MetricState.WORSE, MetricState.SAFE
UNKNOWN, BURN_IN = MetricState.NOT_YET_KNOWN, MetricState.BURN_IN
NOTHING = dict.fromkeys(ROLES, UNKNOWN)


def all_states() -> list[Mapping[str, MetricState]]:
    choices = [sorted(POSSIBLE[role]) for role in ROLES.values()]
    return [dict(zip(ROLES, states, strict=True)) for states in product(*choices)]


def test_the_defaults_say_what_was_always_done() -> None:
    for states in all_states():
        harmed = WORSE in (states["refund"], states["speed"])

        assert holds(SHIP_WHEN, states, ROLES) == (states["buy"] is BETTER and not harmed)
        assert holds(ROLLBACK_WHEN, states, ROLES) == (harmed or states["buy"] is WORSE)


def test_any_and_every_guardrail_look_at_all_of_them() -> None:
    mixed = {**NOTHING, "refund": SAFE}

    assert holds(Leaf("any_guardrail", (SAFE,)), mixed, ROLES)
    assert not holds(Leaf("every_guardrail", (SAFE,)), mixed, ROLES)
    assert holds(Leaf("every_guardrail", (SAFE,)), {**mixed, "speed": SAFE}, ROLES)
    assert holds(Leaf("every_guardrail", (SAFE, UNKNOWN)), mixed, ROLES)


def test_a_metric_is_asked_by_its_key_and_the_primary_by_its_role() -> None:
    seen = {**NOTHING, "buy": BETTER}

    assert holds(Leaf("buy", (BETTER,)), seen, ROLES)
    assert holds(Leaf("primary", (BETTER,)), seen, ROLES)
    assert not holds(Leaf("revenue", (BETTER,)), seen, ROLES)


def test_the_inputs_of_a_decision_are_its_leaves_in_order() -> None:
    seen = {**NOTHING, "buy": BETTER, "refund": SAFE}

    first, second = asked(SHIP_WHEN, seen, ROLES)

    assert (first.leaf.subject, dict(first.seen), first.holds) == ("primary", {"buy": BETTER}, True)
    assert (second.leaf.subject, dict(second.seen)) == ("any_guardrail", {"refund": SAFE, "speed": UNKNOWN})
    assert not second.holds


def subjects() -> st.SearchStrategy[Rule]:
    states = st.lists(st.sampled_from([BETTER, WORSE, SAFE, UNKNOWN]), min_size=1, max_size=2, unique=True)
    names = st.sampled_from(["primary", "any_guardrail", "every_guardrail", *ROLES])
    return st.builds(Leaf, names, states.map(tuple))


RULES: st.SearchStrategy[Rule] = st.recursive(
    subjects(),
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)


@given(rule=RULES, states=st.sampled_from(all_states()))
def test_a_rule_follows_from_its_leaves_and_the_other_side_from_its_opposite(
    rule: Rule, states: Mapping[str, MetricState]
) -> None:
    assert holds(Not(rule), states, ROLES) != holds(rule, states, ROLES)
    assert holds(AllOf((rule, Not(rule))), states, ROLES) is False
    assert holds(AnyOf((rule, Not(rule))), states, ROLES) is True
    assert len(asked(rule, states, ROLES)) == len(list(leaves(rule)))


@given(rule=RULES)
def test_a_path_of_a_leaf_leads_to_it_through_the_form_of_the_catalog(rule: Rule) -> None:
    whole = form(rule)

    for path, leaf in leaves(rule):
        place = whole
        for step in path:
            place = place[step]  # type: ignore[index]  # the form is checked by this very walk
        assert place == form(leaf)


def test_a_rule_is_written_as_it_stands_in_the_catalog() -> None:
    rule = AnyOf((Leaf("primary", (BETTER, MetricState.NO_EFFECT)), Not(Leaf("speed", (WORSE,)))))

    assert written(rule) == "{any: [{primary: [better, no_effect]}, {not: {speed: worse}}]}"


@pytest.mark.parametrize(
    ("rule", "path", "code"),
    [
        (Leaf("clicks", (BETTER,)), ("clicks",), "E361"),
        (Leaf("primary", (SAFE,)), ("primary",), "E362"),
        (Leaf("primary", (BETTER, SAFE)), ("primary", 1), "E362"),
        (Leaf("any_guardrail", (BETTER,)), ("any_guardrail",), "E362"),
        (Leaf("refund", (MetricState.NO_EFFECT,)), ("refund",), "E362"),
        (Leaf("revenue", (MetricState.NO_EFFECT,)), ("revenue",), "E362"),
        (Leaf("revenue", (MetricState.CONTROL,)), ("revenue",), "E362"),
        (AllOf((Leaf("primary", (BETTER,)), Not(Leaf("x", (SAFE,))))), ("all", 1, "not", "x"), "E361"),
        (Not(Leaf("primary", (WORSE,))), (), "E363"),
        (Leaf("primary", (UNKNOWN,)), (), "E363"),
        (Leaf("primary", (BETTER, BURN_IN)), (), "E363"),
    ],
)
def test_what_a_plan_cannot_answer_is_refused_at_its_place(
    rule: Rule, path: tuple[str | int, ...], code: str
) -> None:
    assert [(f.path, f.code) for f in faults(rule, ROLES)] == [(path, code)]


def test_every_guardrail_of_none_is_refused_because_it_would_always_hold() -> None:
    alone = {"buy": Role.PRIMARY}

    assert [f.code for f in faults(Leaf("every_guardrail", (SAFE,)), alone)] == ["E361"]
    assert list(faults(SHIP_WHEN, alone)) == []
    assert list(faults(ROLLBACK_WHEN, alone)) == []


def test_all_faults_of_a_rule_are_told_at_once() -> None:
    rule = AllOf((Leaf("primary", (SAFE,)), Leaf("clicks", (BETTER,)), Leaf("speed", (BETTER,))))

    assert [f.code for f in faults(rule, ROLES)] == ["E362", "E361", "E362"]


def test_no_experiment_exists_with_a_rule_that_its_plan_cannot_answer() -> None:
    plan = MetricPlan(primary="buy", guardrails=(Guardrail(metric="refund", margin=0.1),))
    wrong = DecisionPlan(rollback_when=Leaf("refunds", (WORSE,)))

    with pytest.raises(InvalidDefinitionError, match="no metric 'refunds'") as caught:
        experiment(metrics=plan, decide=wrong)

    assert (caught.value.path, caught.value.code) == (("decide", "rollback_when", "refunds"), "E361")
    right = replace(wrong, rollback_when=Leaf("refund", (WORSE,)))
    assert experiment(metrics=plan, decide=right).decide is right


@pytest.mark.parametrize(
    "rule",
    [
        AllOf((Leaf("primary", (BETTER,)), Leaf("buy", (WORSE,)))),
        AllOf((Leaf("every_guardrail", (SAFE,)), Leaf("speed", (WORSE,)))),
        AllOf((Leaf("any_guardrail", (WORSE,)), Not(Leaf("refund", (WORSE,))), Leaf("speed", (SAFE,)))),
        AllOf((Leaf("primary", (BETTER,)), Not(AnyOf((Leaf("buy", (BETTER,)), Leaf("speed", (SAFE,))))))),
    ],
)
def test_a_rule_that_never_holds_is_refused(rule: Rule) -> None:
    assert [(f.path, f.code) for f in faults(rule, ROLES)] == [((), "E364")]


def test_a_rule_about_guardrails_that_an_experiment_lacks_says_so() -> None:
    (fault,) = faults(Leaf("any_guardrail", (WORSE,)), {"buy": Role.PRIMARY})

    assert (fault.code, fault.hint.partition(":")[0]) == ("E364", "the experiment has no guardrails")


@pytest.mark.parametrize(
    ("ship", "rollback", "told"),
    [
        (Leaf("primary", (WORSE,)), ROLLBACK_WHEN, [("ship_when", "E365")]),
        (Leaf("primary", (BETTER, WORSE)), ROLLBACK_WHEN, [("ship_when", "E365")]),
        (Leaf("any_guardrail", (WORSE,)), ROLLBACK_WHEN, [("ship_when", "E365")]),
        (AllOf((Leaf("buy", (BETTER,)), Leaf("speed", (WORSE,)))), ROLLBACK_WHEN, [("ship_when", "E365")]),
        (AnyOf((Leaf("buy", (BETTER,)), Leaf("revenue", (WORSE,)))), ROLLBACK_WHEN, [("ship_when", "E365")]),
        (SHIP_WHEN, Leaf("primary", (BETTER,)), [("ship_when", "E366"), ("rollback_when", "E365")]),
        (SHIP_WHEN, AnyOf((Leaf("primary", (WORSE,)), Leaf("speed", (SAFE,)))), [("rollback_when", "E365")]),
        (
            Leaf("primary", (BETTER,)),
            AnyOf((Leaf("primary", (BETTER, MetricState.NO_EFFECT)), Leaf("any_guardrail", (WORSE,)))),
            [("ship_when", "E366")],
        ),
        (SHIP_WHEN, ROLLBACK_WHEN, []),
        (Leaf("primary", (BETTER, MetricState.NO_EFFECT)), ROLLBACK_WHEN, []),
        (Leaf("every_guardrail", (SAFE,)), Leaf("any_guardrail", (WORSE,)), []),
        (Leaf("primary", (BETTER,)), Leaf("primary", (MetricState.NO_EFFECT, WORSE)), []),
    ],
)
def test_rules_that_cannot_mean_what_they_say_are_refused(
    ship: Rule, rollback: Rule, told: list[tuple[str, str]]
) -> None:
    assert [(name, f.code) for name, f in all_faults(ship, rollback, ROLES)] == told


def test_a_plan_that_may_ship_what_is_worse_is_seen() -> None:
    safe, harm = Leaf("every_guardrail", (SAFE,)), Leaf("any_guardrail", (WORSE,))

    assert may_ship_worse(safe, harm, ROLES)
    assert not may_ship_worse(safe, ROLLBACK_WHEN, ROLES)
    assert not may_ship_worse(SHIP_WHEN, harm, ROLES)


@given(ship=RULES, rollback=RULES)
def test_what_is_told_of_two_rules_is_what_trying_every_state_tells(ship: Rule, rollback: Rule) -> None:
    wrong = [f.code for rule in (ship, rollback) for f in faults(rule, ROLES)]
    shipped = [states for states in all_states() if holds(ship, states, ROLES)]
    undone = [states for states in all_states() if holds(rollback, states, ROLES)]

    assert wrong.count("E364") <= (not shipped) + (not undone)
    if wrong:
        return
    assert shipped
    assert undone
    told = {(name, f.code) for name, f in joint_faults(ship, rollback, ROLES)}
    never = all(states in undone for states in shipped)
    if ("ship_when", "E366") in told or not any(name == "ship_when" for name, _code in told):
        assert (("ship_when", "E366") in told) == never
    harmless = [states for states in undone if WORSE not in states.values()]
    gains = all({BETTER, SAFE} & set(states.values()) for states in harmless)
    assert (("rollback_when", "E365") in told) == bool(harmless and gains)


def test_many_guardrails_take_no_longer_than_a_few() -> None:
    roles = {"buy": Role.PRIMARY, **{f"g{i}": Role.GUARDRAIL for i in range(20)}}
    never = AllOf(
        (Leaf("primary", (BETTER,)), Leaf("every_guardrail", (SAFE,)), Leaf("any_guardrail", (WORSE,)))
    )
    named = AllOf(tuple(Leaf(f"g{i}", (SAFE,)) for i in range(20)))

    assert [f.code for f in faults(never, roles)] == ["E364"]
    assert list(all_faults(named, ROLLBACK_WHEN, roles)) == []
