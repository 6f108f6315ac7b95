"""Every word that a verdict can hold has words on its page."""

from experiments.decision import Decision, Rule
from experiments.decision_rules import ROLLBACK_WHEN, SHIP_WHEN, form
from experiments.states import MetricState
from service.dashboard.page import RULES, WORDS, _rules
from service.use_cases.verdict_words import STATES


def test_every_decision_rule_and_state_has_words() -> None:
    assert set(WORDS) == {word.value for word in Decision}
    assert set(RULES) == {word.value for word in Rule}
    assert {word.value for word in MetricState} <= set(STATES)


def test_the_rules_of_the_plan_are_shown_as_the_catalog_writes_them() -> None:
    record = {"ship_when": form(SHIP_WHEN), "rollback_when": form(ROLLBACK_WHEN)}

    assert _rules(record) == [
        ("ship when", "{all: [{primary: better}, {not: {any_guardrail: worse}}]}"),
        ("roll back when", "{any: [{any_guardrail: worse}, {primary: worse}]}"),
    ]
    assert _rules({}) == []
