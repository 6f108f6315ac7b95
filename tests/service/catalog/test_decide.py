"""`decide:` in the catalog: rules are read, written, compared, and refused at the exact place."""

import pytest

from experiments.decision_rules import ROLLBACK_WHEN, SHIP_WHEN, AllOf, AnyOf, Leaf, Not, written
from experiments.definitions import DecisionPlan
from experiments.states import MetricState
from service.catalog import CatalogError, Finding, load
from service.catalog.diff import diff
from service.use_cases.cautions import warnings

METRICS = """\
metrics:
  purchase: {kind: conversion, event: Order Completed, window: 7d}
  revenue: {kind: mean, event: Order Completed, value: revenue, window: 7d}
  refund: {kind: conversion, event: Order Refunded, window: 7d, direction: down}
"""
TEA = """\
experiment: tea
variants: {control: 1, b: 2}
metrics: {primary: purchase, secondary: [revenue], guardrails: [{metric: refund, margin: 10%}]}
"""
SHORT = "experiment: tea\nvariants: {control: 1, b: 2}\nmetrics: {primary: purchase}\n"


def files(text: str) -> dict[str, str]:
    return {"a.yaml": text, "m.yaml": METRICS}


def plan(decide: str) -> DecisionPlan:
    return load(files(f"{TEA}{decide}\n")).catalog.experiments["tea"].decide


def findings(text: str) -> tuple[Finding, ...]:
    with pytest.raises(CatalogError) as caught:
        load(files(text))
    return caught.value.findings


def test_without_rules_the_documented_ones_hold() -> None:
    assert plan("") == plan("decide: {min_runtime: 7d}") == DecisionPlan()
    said = f"decide: {{ship_when: {written(SHIP_WHEN)}, rollback_when: {written(ROLLBACK_WHEN)}}}"
    assert plan(said) == DecisionPlan()


def test_rules_are_read_as_they_are_written() -> None:
    read = plan(
        "decide:\n"
        "  min_runtime: 14d\n"
        "  ship_when:\n"
        "    all:\n"
        "      - primary: [better, no_effect]\n"
        "      - every_guardrail: safe\n"
        "      - not: {revenue: worse}\n"
        "  rollback_when: {any: [{refund: worse}, {purchase: worse}]}\n"
    )

    states = (MetricState.BETTER, MetricState.NO_EFFECT)
    assert read == DecisionPlan(
        min_runtime_s=14 * 86_400,
        ship_when=AllOf(
            (
                Leaf("primary", states),
                Leaf("every_guardrail", (MetricState.SAFE,)),
                Not(Leaf("revenue", (MetricState.WORSE,))),
            )
        ),
        rollback_when=AnyOf((Leaf("refund", (MetricState.WORSE,)), Leaf("purchase", (MetricState.WORSE,)))),
    )
    again = f"decide: {{min_runtime: 14d, ship_when: {written(read.ship_when)}, "
    assert plan(f"{again}rollback_when: {written(read.rollback_when)}}}") == read


@pytest.mark.parametrize(
    ("rule", "code", "column", "hint"),
    [
        ("better", "E360", 21, "for example {all:"),
        ("[{primary: better}]", "E360", 10, "for example {all:"),
        ("{}", "E360", 10, "join several"),
        ("{primary: better, revenue: better}", "E360", 10, "join several"),
        ("{all: {primary: better}}", "E360", 22, "for example {all:"),
        ("{any: []}", "E360", 22, "for example {all:"),
        ("{not: better}", "E360", 27, "for example {all:"),
        ("{primary: bettr}", "E360", 31, "did you mean 'better'?"),
        ("{primary: control}", "E360", 31, ""),
        ("{primary: []}", "E360", 22, ""),
        ("{primary: [better, true]}", "E360", 40, ""),
        ("{any: [{primary: better}, {revenu: better}]}", "E361", 48, "did you mean 'revenue'?"),
        ("{refunds: safe}", "E361", 22, "did you mean 'refund'?"),
        ("{primary: safe}", "E362", 31, "it can be burn_in, not_yet_known, better, worse, no_effect"),
        ("{revenue: [better, no_effect]}", "E362", 40, "it can be burn_in, not_yet_known, better, worse"),
        ("{not: {any_guardrail: better}}", "E362", 43, "it can be burn_in, not_yet_known, worse, safe"),
        ("{not: {primary: worse}}", "E363", 10, "{primary: better}"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_at_its_place(rule: str, code: str, column: int, hint: str) -> None:
    (found,) = findings(f"{TEA}decide: {{ship_when: {rule}}}\n")

    assert (found.code, found.line, found.column) == (code, 4, column)
    assert hint in found.hint


def test_every_bad_part_of_both_rules_is_told_in_one_run() -> None:
    text = (
        f"{TEA}decide:\n"
        "  ship_when:\n"
        "    all:\n"
        "      - {primary: god}\n"
        "      - {revenue: [better, great]}\n"
        "  rollback_when: {any: [{refund: bad}, 5]}\n"
    )

    assert [(f.code, f.line, f.column) for f in findings(text)] == [
        ("E360", 7, 19),
        ("E360", 8, 28),
        ("E360", 9, 34),
        ("E360", 9, 40),
    ]


def test_every_unanswerable_part_of_both_rules_is_told_in_one_run() -> None:
    text = (
        f"{SHORT}decide:\n"
        "  ship_when: {all: [{clicks: better}, {primary: safe}]}\n"
        "  rollback_when: {every_guardrail: worse}\n"
    )

    assert [(f.code, f.line, f.column) for f in findings(text)] == [
        ("E361", 5, 22),
        ("E362", 5, 49),
        ("E361", 6, 19),
    ]


def test_a_rule_in_the_wrong_place_is_shown_the_right_one() -> None:
    (found,) = findings(f"{TEA}ship_when: {{primary: better}}\n")

    assert (found.code, found.line, found.hint) == ("E102", 4, "it belongs under decide:")


def test_a_plan_shows_rules_and_warns_when_they_change_after_the_launch() -> None:
    old = load(files(TEA))
    new = load(files(f"{TEA}decide: {{ship_when: {{primary: better}}}}\n"))

    (found,) = diff(old, new)

    assert [(d.name, d.before, d.after) for d in found.details] == [("ship_when", "-", "{primary: better}")]
    (told,) = warnings(old, new, (found,)).values()
    assert told == ("the verdict will follow a plan that was changed after launch",)
