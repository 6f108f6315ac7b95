"""Metrics that were not planned change nothing of what was: no rule, no check, no level."""

from datetime import timedelta
from typing import Any

import pytest

from experiments.decision_rules import AllOf, Leaf
from experiments.definitions import DecisionPlan, MetricPlan
from experiments.lifecycle import RampStep, Status
from experiments.states import MetricState
from experiments.verdict import Verdict
from tests.experiments.verdict_scenes import GUARDED, START, amounts, both, plan, scene

BETTER = both(2_500, 0.05, 0.0576)
REFUNDS = both(2_500, 0.02, 0.0204, "refund")
MORE_REFUNDS = both(2_500, 0.02, 0.03, "refund")
SPENT = {("revenue", "control"): amounts(2_500, 0.05, 30), ("revenue", "banner"): amounts(2_500, 0.0576, 30)}


def of(verdict: Verdict, *metrics: str) -> list[Any]:
    return [reading for reading in verdict.readings if reading.metric.key in metrics]


def test_what_was_planned_is_judged_as_if_the_others_were_not_there() -> None:
    planned = MetricPlan(primary="purchase", secondary=("refund",))
    added = MetricPlan(primary="purchase", secondary=("refund", "revenue"))
    rows = BETTER | REFUNDS | SPENT

    before = scene(plan(metrics=planned), rows, days=31)
    after = scene(plan(metrics=added), rows, days=31, exploratory=frozenset({"revenue"}))
    together = scene(plan(metrics=added), rows, days=31)

    assert of(after, "purchase", "refund") == of(before, "purchase", "refund")
    assert after.findings == before.findings
    assert {r.level for r in of(together, "refund")} != {r.level for r in of(before, "refund")}
    assert [r.exploratory for r in of(after, "revenue")] == [True, True]
    assert [r.level for r in of(after, "revenue")] == [None, 0.05]


def test_an_added_guardrail_rolls_nothing_back_and_is_not_waited_for() -> None:
    rule = AllOf((Leaf("primary", (MetricState.BETTER,)), Leaf("every_guardrail", (MetricState.SAFE,))))
    e = plan(metrics=GUARDED, decide=DecisionPlan(ship_when=rule))

    planned = scene(e, BETTER | MORE_REFUNDS, days=31)
    added = scene(e, BETTER | MORE_REFUNDS, days=31, exploratory=frozenset({"refund"}))

    assert planned.decision == "rollback"
    assert (added.decision, added.variant) == ("ship", "banner")
    assert "Guardrails:" not in added.text
    assert all("refund" not in str(found.values) for found in added.rule_inputs)


def test_a_gate_that_waits_for_an_added_guardrail_keeps_nobody_from_judging() -> None:
    ramp = (RampStep(START, 1_000), RampStep(START + timedelta(days=2), 10_000, gated=True))
    e = plan(metrics=GUARDED, ramp=ramp)

    verdict = scene(e, BETTER | REFUNDS, days=31, exploratory=frozenset({"refund"}))

    assert (verdict.decision, verdict.variant) == ("ship", "banner")


def test_a_rule_that_names_an_added_metric_finds_nothing() -> None:
    named = Leaf("refund", (MetricState.SAFE,))
    rule = AllOf((Leaf("primary", (MetricState.BETTER,)), named))
    e = plan(metrics=GUARDED, decide=DecisionPlan(ship_when=rule))

    verdict = scene(e, BETTER | REFUNDS, days=31, exploratory=frozenset({"refund"}))

    assert (verdict.decision, verdict.rule) == ("keep_running", "rules_not_met")
    asked = next(found for found in verdict.rule_inputs if found.subject == "refund")
    assert (asked.values, asked.holds) == ({}, False)


@pytest.mark.parametrize("rate", [0.0428, 0.05, 0.0576])
def test_another_primary_metric_neither_ships_nor_rolls_back(rate: float) -> None:
    verdict = scene(plan(), both(60_000, 0.05, rate), days=31, exploratory=frozenset({"purchase"}))

    assert (verdict.decision, verdict.rule) == ("keep_running", "primary_not_planned")
    assert "primary_not_planned:purchase" in verdict.warnings


def test_a_planned_guardrail_protects_beside_another_primary_metric() -> None:
    e = plan(metrics=GUARDED)

    verdict = scene(e, BETTER | MORE_REFUNDS, days=31, exploratory=frozenset({"purchase"}))

    assert (verdict.decision, verdict.rule) == ("rollback", "guardrail_worse")


def test_another_primary_metric_ends_without_an_answer() -> None:
    e = plan(status=Status.STOPPED)

    verdict = scene(e, BETTER, days=31, all_in=True, windows_open=False, exploratory=frozenset({"purchase"}))

    assert verdict.decision == "inconclusive"
    assert verdict.final


def test_only_a_stopped_experiment_without_an_open_window_is_final() -> None:
    stopped = plan(status=Status.STOPPED)

    assert not scene(stopped, BETTER, days=31).final
    assert not scene(plan(), BETTER, days=31, windows_open=False).final
    assert scene(stopped, BETTER, days=31, windows_open=False).final
