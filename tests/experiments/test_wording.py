"""The verdict as text and as JSON members: what an analyst pastes and a machine reads."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from experiments.definitions import DecisionPlan, Guardrail, MetricKind, MetricPlan
from experiments.evidence import ExposureAccount
from experiments.lifecycle import Status
from experiments.moments import NOTHING, SCALE, Moments
from experiments.verdict import judge
from tests.experiments.builders import (
    GUARDED,
    METRICS,
    conversions,
    evidence,
    experiment,
    metric,
)

N = 40_000
ALIKE = {("buy", "a"): conversions(N, 2_000), ("buy", "b"): conversions(N, 2_060)}
BETTER = {("buy", "a"): conversions(N, 2_000), ("buy", "b"): conversions(N, 2_400)}
WORSE = {("buy", "a"): conversions(N, 2_000), ("buy", "b"): conversions(N, 1_600)}
MANY = {("buy", "a"): conversions(100 * N, 200_000), ("buy", "b"): conversions(100 * N, 200_000)}


def refunds(control: int, treatment: int) -> dict[tuple[str, str], Moments]:
    return {("refund", "a"): conversions(N, control), ("refund", "b"): conversions(N, treatment)}


def test_the_machine_form_is_complete() -> None:
    members = judge(experiment(metrics=GUARDED), METRICS, evidence(BETTER | refunds(800, 790))).members()

    assert list(members) == [
        "schema", "experiment", "phase", "decision", "variant", "rule", "as_of", "exposure", "checks",
        "metrics", "forecast", "text", "warnings",
    ]  # fmt: skip
    assert members["schema"] == "verdict/1"
    assert members["as_of"] == "2027-01-18T12:00:00Z"
    metrics: Any = members["metrics"]
    assert [(m["metric"], m["variant"], m["state"]) for m in metrics] == [
        ("buy", "a", "control"),
        ("buy", "b", "better"),
        ("refund", "a", "control"),
        ("refund", "b", "safe"),
    ]
    assert metrics[0]["lift"] is None
    assert metrics[1]["lift"]["estimate"] == 0.2
    assert metrics[1]["p_value"] < 0.05
    assert metrics[1]["e_value"] > 20
    assert metrics[3]["margin"] == {"value": 0.2, "relative": True}


def test_the_words_can_be_pasted() -> None:
    labelled = {**METRICS, "buy": metric(label="Purchase")}
    account = ExposureAccount(
        events=80_800,
        first=80_800,
        exposed_units={"a": 40_400, "b": 40_400},
        excluded={"multiple_variants": 400, "immature": 400},
        analysed={"a": N, "b": N},
    )

    verdict = judge(
        experiment(metrics=GUARDED), labelled, evidence(BETTER | refunds(800, 790), account=account, days=29)
    )
    assert verdict.text == (
        "Ship `b`. After 29 days and 80,000 analysed units, Purchase is 6.00 % with `b` and 5.00 % with `a`: "
        "+20.0 % (95 % confidence sequence +9.8 % to +31.3 %). "
        "This interval stays valid however often you look. "
        "Guardrails: refund is within its limit (20 % relative). "
        "The split is as planned (50.0/50.0, SRM p = 1). "
        "Rule: the primary metric is better, no guardrail is worse, and at least 7 days have passed. "
        "Not known: 400 units (0.5 %) saw several variants and were left out; "
        "400 units are still inside the metric's window."
    )


@pytest.mark.parametrize(
    ("moments", "days", "words"),
    [
        (MANY, 14, "No effect as large as 10 %."),
        (WORSE, 1, "After 1 day and"),
        (
            {("buy", "a"): conversions(500, 20), ("buy", "b"): conversions(500, 30)},
            9,
            "too few for an interval",
        ),
        ({("buy", "a"): conversions(500, 20), ("buy", "b"): NOTHING}, 9, "has no closed day yet"),
        (
            {("buy", "a"): conversions(5_000, 0), ("buy", "b"): conversions(5_000, 300)},
            9,
            "+6.00 percentage points (95 % confidence sequence +",
        ),
        (
            {("buy", "a"): conversions(5_000, 4), ("buy", "b"): conversions(5_000, 300)},
            9,
            "to no upper limit yet",
        ),
    ],
)
def test_the_words_are_honest_about_what_is_not_known(
    moments: Mapping[tuple[str, str], Moments], days: int, words: str
) -> None:
    verdict = judge(experiment(), METRICS, evidence(moments, days=days, arrivals=[5_000, 5_000]))

    assert words in verdict.text


def test_an_unfinished_plan_says_what_is_planned_for_that_case() -> None:
    e = experiment(status=Status.STOPPED, decide=DecisionPlan(at_end_otherwise="keep_control"))

    assert "planned for this case: keep control" in judge(e, METRICS, evidence(ALIKE)).text


def revenue(n: int, each: float) -> Moments:
    half = n // 2
    return Moments(n, int(half * each * SCALE), int(half * (each * SCALE) ** 2))


def test_money_is_written_as_money_and_an_open_cap_is_a_warning() -> None:
    income = metric(kind=MetricKind.MEAN, value="revenue", currency="EUR")
    plan = MetricPlan(primary="buy", guardrails=(Guardrail(metric="buy2", margin=0.5, relative=False),))
    metrics = {"buy": income, "buy2": replace(income, key="buy2", cap=500)}
    moments = {
        ("buy", "a"): revenue(N, 10),
        ("buy", "b"): revenue(N, 12),
        ("buy2", "a"): revenue(N, 10),
        ("buy2", "b"): revenue(N, 12),
    }

    verdict = judge(experiment(metrics=plan), metrics, evidence(moments))
    assert "buy is 6.00 EUR with `b` and 5.00 EUR with `a`: +20.0 %" in verdict.text
    assert "buy2 is within its limit (0.50 EUR)" in verdict.text
    assert verdict.warnings == ("uncapped_mean:buy",)


def test_counts_and_values_that_do_not_vary_are_written_plainly() -> None:
    calls = {"buy": metric(kind=MetricKind.COUNT)}
    constant = Moments(2_000, 2_000 * SCALE, 2_000 * SCALE**2)

    verdict = judge(experiment(), calls, evidence({("buy", "a"): constant, ("buy", "b"): constant}))
    assert "buy is 1 with `b` and 1 with `a`: +0.0 % (no interval: nothing varies yet)" in verdict.text


def test_one_is_singular() -> None:
    account = ExposureAccount(
        events=2 * N + 3,
        first=2 * N + 2,
        quarantined={"override": 1},
        exposed_units={"a": N + 1, "b": N + 1},
        excluded={"multiple_variants": 1, "immature": 1},
        analysed={"a": N, "b": N},
        contaminated_units=1,
    )
    plan = experiment(decide=DecisionPlan(min_runtime_s=86_400))

    verdict = judge(plan, METRICS, evidence(BETTER, account=account))

    assert "and at least 1 day has passed" in verdict.text
    assert "1 unit (0.0 %) saw several variants and was left out; 1 unit is still inside" in verdict.text
    details = [finding.detail for finding in verdict.findings]
    assert "1 unit (0.0 %) saw several variants and was left out." in details
    assert "1 exposure event (0.0 %) is in quarantine." in details
    saw = "who saw another variant under another id"
    assert f"1 unit (0.0 %) belongs to a person {saw}, and counts all the same." in details


def test_labels_and_money_fall_into_sentences() -> None:
    income = metric(
        kind=MetricKind.MEAN, value="revenue", currency="GBP", cap=500, label="revenue per visitor"
    )
    moments = {("buy", "a"): revenue(N, 10), ("buy", "b"): revenue(N, 12)}

    verdict = judge(experiment(), {"buy": income}, evidence(moments))
    assert (
        "analysed units, revenue per visitor is 6.00 GBP with `b` and 5.00 GBP with `a`: +20.0 % ("
        in verdict.text
    )
