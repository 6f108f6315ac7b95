"""The verdict as text and as JSON members: what an analyst pastes and a machine reads."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from experiments.decision_rules import AllOf, Leaf
from experiments.definitions import DecisionPlan, Guardrail, MetricKind, MetricPlan
from experiments.evidence import ExposureAccount
from experiments.lifecycle import Status
from experiments.moments import NOTHING, SCALE, Moments
from experiments.states import MetricState
from experiments.verdict import judge
from tests.experiments.builders import (
    GUARDED,
    METRICS,
    ONE_DAY,
    conversions,
    evidence,
    experiment,
    metric,
)
from tests.experiments.verdict_scenes import amounts_with_past

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
        "schema", "experiment", "phase", "decision", "variant", "rule", "rule_inputs", "as_of", "exposure",
        "checks", "metrics", "money", "final", "forecast", "text", "warnings",
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
    assert metrics[1]["lift"]["estimate"] == pytest.approx(0.2, rel=1e-4)
    assert [m["test"] for m in metrics] == ["conversion"] * 4
    assert [m["level"] for m in metrics] == [None, 0.05, None, 0.05]
    assert {m["adjusted"] for m in metrics} == {None}
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
    in_order = [
        "Ship `b`: switch it on for everybody. ",
        "Why: Purchase is better, no guardrail is worse than its limit, and at least 7 days have passed. ",
        "The split is not shown to differ from the plan (50.0/50.0, planned 50.0/50.0, SRM p = 1). ",
        "Guardrails: refund is within its limit (+",
        "This bound holds in at least 95 % of experiments, however often you look. ",
        "After 29 days and 80,000 analysed units, Purchase is 6.00 % with `b` and 5.00 % with `a`: +20.0 ",
        "(95 % confidence sequence +",
        "which is better. This interval stays valid however often you look: over all looks together it ",
        "Of 80,800 exposed units, 80,000 are analysed; 400 (0.5 %) saw several variants and were left out; ",
        "400 are still inside the metric's window. ",
        "Not known: what units do later than 1 day after their first exposure.",
    ]
    places = [verdict.text.find(words) for words in in_order]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("moments", "days", "words"),
    [
        (MANY, 14, "No effect as large as 10 %: stop it"),
        (WORSE, 1, "After 1 day and"),
        (
            {("buy", "a"): conversions(20, 1), ("buy", "b"): conversions(20, 2)},
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

    assert "Keep `a`, as planned for this case." in judge(e, METRICS, evidence(ALIKE)).text


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
    assert re.search(r"buy2 is within its limit \(\+0\.\d\d EUR at worst, -0\.50 EUR allowed\)", verdict.text)
    assert set(verdict.warnings) - ONE_DAY == {"uncapped_mean:buy"}


def test_values_that_do_not_vary_are_written_plainly() -> None:
    scores = {"buy": metric(kind=MetricKind.MEAN, value="score", cap=10)}
    constant = Moments(2_000, 2_000 * SCALE, 2_000 * SCALE**2)

    verdict = judge(experiment(), scores, evidence({("buy", "a"): constant, ("buy", "b"): constant}))
    assert "buy is 1 with `b` and 1 with `a`: +0.0 % (no interval: nothing varies yet)" in verdict.text


def test_a_unit_stands_behind_its_numbers() -> None:
    seconds = {"buy": metric(kind=MetricKind.MEAN, value="seconds", cap=10, unit="s")}
    plan = MetricPlan(primary="buy")
    moments = {("buy", "a"): revenue(N, 10), ("buy", "b"): revenue(N, 12)}

    verdict = judge(experiment(metrics=plan), seconds, evidence(moments))
    assert "buy is 6 s with `b` and 5 s with `a`: +20.0 %" in verdict.text


def test_one_is_singular() -> None:
    account = ExposureAccount(
        events=2 * N + 3,
        first=2 * N + 2,
        quarantined={"too_old": 1},
        exposed_units={"a": N + 1, "b": N + 1},
        excluded={"multiple_variants": 1, "immature": 1},
        analysed={"a": N, "b": N},
        contaminated_units=1,
    )
    plan = experiment(decide=DecisionPlan(min_runtime_s=86_400))

    verdict = judge(plan, METRICS, evidence(BETTER, account=account))

    assert "and at least 1 day has passed" in verdict.text
    assert "1 (0.0 %) saw several variants and was left out; 1 is still inside" in verdict.text
    details = [finding.detail for finding in verdict.findings]
    assert "1 unit (0.0 %) saw several variants and was left out." in details
    assert "1 exposure event (0.0 %) is in quarantine for other reasons (`too_old` 1)." in details
    saw = "who saw another variant under another id"
    assert f"1 unit (0.0 %) belongs to a person {saw}, and counts all the same." in details


def test_units_that_a_metric_is_not_about_are_told_of() -> None:
    account = ExposureAccount(
        events=2 * N + 7,
        first=2 * N + 7,
        exposed_units={"a": N + 3, "b": N + 4},
        excluded={"multiple_variants": 0, "without_event": 5, "immature": 2},
        analysed={"a": N, "b": N},
    )

    verdict = judge(experiment(), METRICS, evidence(BETTER, account=account))

    assert "5 did nothing that the metric is about; 2 are still inside" in verdict.text


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


def test_two_guardrails_that_are_worse_are_both_named() -> None:
    plan = MetricPlan(
        primary="buy",
        guardrails=(Guardrail(metric="refund", margin=0.2), Guardrail(metric="slow", margin=0.2)),
    )
    metrics = {**METRICS, "slow": replace(METRICS["refund"], key="slow")}
    slow = {("slow", variant): moments for (_, variant), moments in refunds(800, 1_300).items()}

    verdict = judge(experiment(metrics=plan), metrics, evidence(BETTER | refunds(800, 1_300) | slow))
    assert "Why: refund and slow are worse than their limits." in verdict.text
    assert "Each of these bounds holds in at least 95 % of experiments" in verdict.text


def test_a_guardrail_in_its_burn_in_has_no_bound_and_an_open_one_says_so() -> None:
    income = metric(key="refund", kind=MetricKind.MEAN, value="revenue", cap=100)
    few = {("refund", "a"): revenue(100, 10), ("refund", "b"): revenue(100, 10)}

    early = judge(experiment(metrics=GUARDED), {**METRICS, "refund": income}, evidence(BETTER | few))
    missing = "1,000 units in each variant, with 100 so far"
    assert f"Guardrails: refund has no bound before {missing} (-20 % allowed). After" in early.text
    assert "Not known: whether refund is within its limit; what units do" in early.text
    none = judge(experiment(metrics=GUARDED), METRICS, evidence(BETTER | refunds(0, 2)))
    assert "refund is not yet known to be within its limit (no bound yet, +20 % allowed)" in none.text


def test_a_metric_in_its_burn_in_says_what_is_missing() -> None:
    income = {"buy": metric(kind=MetricKind.MEAN, value="revenue", cap=100)}
    plan = experiment(metrics=MetricPlan(primary="buy", secondary=("buy2",)))
    metrics = income | {"buy2": replace(income["buy"], key="buy2")}
    rows = {(key, variant): revenue(969, 10) for key in ("buy", "buy2") for variant in "ab"}

    verdict = judge(plan, metrics, evidence(rows))

    missing = "1,000 units in each variant, with 969 so far"
    assert f"there is no interval before {missing}." in verdict.text
    assert f"confidence sequence: buy2 +0.0 % (no interval before {missing})." in verdict.text
    shown: Any = verdict.members()["metrics"]
    expected = {"needed": 1_000, "so_far": 969, "of": "units in each variant"}
    assert [entry["burn_in"] for entry in shown] == [None, expected, None, expected]


def test_a_score_that_may_be_negative_is_told_in_points() -> None:
    score = {"buy": metric(kind=MetricKind.NPS, value="score")}

    def answers(promoters: int) -> Moments:
        gave = [100 * SCALE] * promoters + [-100 * SCALE] * (4_000 - promoters)
        return Moments.of(gave, [SCALE] * 4_000)

    verdict = judge(
        experiment(), score, evidence({("buy", "a"): answers(2_400), ("buy", "b"): answers(2_200)})
    )

    assert "buy is 10 with `b` and 20 with `a`: -10 points (95 % confidence sequence -" in verdict.text
    assert "in absolute terms" not in verdict.text


def test_several_secondary_metrics_say_why_their_level_is_higher() -> None:
    keys = ("one", "two", "three")
    metrics = {**METRICS, **{key: metric(key=key) for key in keys}}
    alike = {(key, variant): conversions(N, 2_000) for key in keys for variant in "ab"}

    verdict = judge(
        experiment(metrics=MetricPlan(primary="buy", secondary=keys)), metrics, evidence(ALIKE | alike)
    )

    assert (
        "Secondary metrics, each with a 98.33 % confidence sequence, since 3 such comparisons are made "
        "together: one " in verdict.text
    )


def test_what_is_waited_for_is_told_when_the_primary_is_decided() -> None:
    safe = AllOf((Leaf("primary", (MetricState.BETTER,)), Leaf("every_guardrail", (MetricState.SAFE,))))
    careful = experiment(metrics=GUARDED, decide=DecisionPlan(ship_when=safe))
    harm = Leaf("any_guardrail", (MetricState.WORSE,))
    lenient = experiment(metrics=GUARDED, decide=DecisionPlan(rollback_when=harm))
    unsure = {key: replace(row, n=3_000) for key, row in refunds(50, 55).items()}

    blocked = judge(careful, METRICS, evidence(BETTER | unsure, arrivals=[900, 900]))
    harmful = judge(lenient, METRICS, evidence(WORSE | unsure, arrivals=[900, 900]))
    young = judge(experiment(), METRICS, evidence(BETTER, days=3, arrivals=[900, 900]))

    decided = "The primary metric is decided; "
    assert f"{decided}`ship_when` still waits for refund to be within its limit." in blocked.text
    assert f"{decided}`rollback_when` still waits for any guardrail to be worse." in harmful.text
    assert f"{decided}what is waited for is the shortest runtime." in young.text
    for verdict in (blocked, harmful, young):
        assert verdict.forecast["primary_decided"] is True
        assert verdict.forecast["days_left"] is None


def test_a_rule_of_the_plan_is_told_with_what_it_saw() -> None:
    worse = Leaf("any_guardrail", (MetricState.WORSE,))
    ship = experiment(metrics=GUARDED, decide=DecisionPlan(ship_when=Leaf("primary", (MetricState.BETTER,))))
    back = experiment(metrics=GUARDED, decide=DecisionPlan(rollback_when=worse))

    good, bad, neither = (
        judge(ship, METRICS, evidence(BETTER | refunds(800, 790))),
        judge(back, METRICS, evidence(WORSE | refunds(800, 1_300))),
        judge(back, METRICS, evidence(WORSE | refunds(800, 790))),
    )

    assert [str(v.rule) for v in (good, bad, neither)] == ["ship_when", "rollback_when", "rules_not_met"]
    assert "Why: `ship_when` of the plan holds (buy is better), and at least 7 days have passed." in good.text
    assert "Why: `rollback_when` of the plan holds (refund is worse)." in bad.text
    assert "holds (buy is worse; refund is within its limit)." in neither.text


def test_an_adjustment_is_told_in_words_and_in_numbers() -> None:
    income = {"buy": metric(kind=MetricKind.MEAN, value="revenue", cap=100, lookback_s=86_400)}
    moments = {
        ("buy", "a"): amounts_with_past(2_000, 0.12, 30),
        ("buy", "b"): amounts_with_past(2_000, 0.13, 30),
    }

    verdict = judge(experiment(), income, evidence(moments))
    shown: Any = verdict.members()["metrics"]
    adjusted = shown[1]["adjusted"]
    assert set(adjusted) == {"variance_ratio", "unadjusted_lift", "unadjusted_effect"}
    assert adjusted["unadjusted_effect"]["lower"] < shown[1]["effect"]["lower"]
    assert f"takes away {100 * (1 - adjusted['variance_ratio']):.0f} % of the variance" in verdict.text
