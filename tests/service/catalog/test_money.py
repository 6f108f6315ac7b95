"""`money:` of an experiment: read, compared, and refused at the exact place."""

import pytest

from experiments.definitions import Experiment
from experiments.money_plan import MoneyPlan
from service.catalog import CatalogError, load
from service.catalog.diff import diff

METRICS = """\
metrics:
  purchase: {kind: conversion, event: Order Completed, window: 7d}
  revenue: {kind: mean, event: Order Completed, value: revenue, currency: EUR, window: 7d}
  score: {kind: mean, event: Answered, value: score, window: 7d}
  largest: {kind: mean, event: Order Completed, value: revenue, aggregate: max, currency: EUR, window: 7d}
  order_value: {kind: ratio, event: Order, value: revenue, per: Order, currency: EUR, window: 7d}
"""
TEA = "experiment: tea\nvariants: {control: 1, b: 2}\nmetrics: {primary: purchase}\n"


def files(money: str) -> dict[str, str]:
    return {"a.yaml": f"{TEA}{money}\n", "m.yaml": METRICS}


def experiment(money: str) -> Experiment:
    return load(files(money)).catalog.experiments["tea"]


def test_without_money_nothing_is_said_of_it() -> None:
    assert experiment("").money is None
    assert experiment("").metric_keys() == ("purchase",)


def test_a_metric_and_costs_are_read_and_the_metric_is_computed_beside_the_plan() -> None:
    found = experiment("money: {metric: revenue, costs: {b: 0.25}}")

    assert found.money == MoneyPlan(metric="revenue", costs={"b": 0.25})
    assert found.metric_keys() == ("purchase", "revenue")
    assert found.money.extra_cost("b", "control") == 0.25
    assert found.money.extra_cost("control", "b") == -0.25


@pytest.mark.parametrize(
    ("money", "code", "line", "column"),
    [
        ("money: {metric: revenu}", "E401", 4, 17),
        ("money: {metric: score}", "E417", 4, 17),
        ("money: {metric: purchase}", "E417", 4, 17),
        ("money: {metric: order_value}", "E417", 4, 17),
        ("money: {metric: largest}", "E417", 4, 17),
        ("money: {costs: {b: 1}}", "E302", 4, 1),
        ("money: {metric: revenue, costs: {c: 1}}", "E380", 4, 37),
        ("money: {metric: revenue, costs: {b: -1}}", "E308", 4, 37),
        ("money: {metric: revenue, costs: {b: 1 EUR}}", "E308", 4, 37),
        ("money: {metric: revenue, costs: {b: 0.1234567}}", "E308", 4, 37),
        ("money: {metric: revenue, cost: {b: 1}}", "E102", 4, 26),
    ],
)
def test_what_is_wrong_is_told_at_its_place(money: str, code: str, line: int, column: int) -> None:
    with pytest.raises(CatalogError) as caught:
        load(files(money))

    (finding,) = caught.value.findings
    assert (finding.code, finding.line, finding.column) == (code, line, column)
    assert finding.hint


def test_a_change_of_the_money_is_told() -> None:
    before, after = load(files("")), load(files("money: {metric: revenue, costs: {b: 0.25}}"))

    (difference,) = diff(before, after)
    assert [(d.name, d.before, d.after) for d in difference.details] == [
        ("money", "-", "revenue, b costs 0.25")
    ]
