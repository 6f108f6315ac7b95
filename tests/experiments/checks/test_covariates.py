import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from experiments.checks import covariates
from experiments.checks.finding import CheckState
from experiments.definitions import Metric, MetricKind, MetricPlan
from experiments.evidence import Evidence, ExposureAccount, PeriodMoments
from experiments.moments import SCALE, Moments
from tests.experiments.builders import METRICS, START, evidence, experiment, metric, variants

E = experiment()
REVENUE = metric(kind=MetricKind.MEAN, value="revenue", lookback_s=86_400)
PER_ORDER = replace(REVENUE, kind=MetricKind.RATIO, per="Order Completed")
FIRST = date(2027, 1, 5)


def micro(values: np.ndarray) -> list[int]:
    return [int(value) for value in np.round(values * SCALE)]


def sample(rng: np.random.Generator, n: int = 2_000, *, shift: float = 0.0, use: float = 1.0) -> Moments:
    """Return values that go with `use` times a covariate, which lies `shift` higher than it should."""
    before = rng.exponential(1.0, n)
    return Moments.of(micro(use * before + rng.normal(10, 1, n)), micro(before + shift))


def told(found: Metric, a: Moments, b: Moments) -> tuple[CheckState, str, str]:
    finding = covariates.check(E, {"buy": found}, evidence({("buy", "a"): a, ("buy", "b"): b}))
    return finding.state, finding.detail, finding.advice


def test_variants_that_differed_before_the_exposure_alarm() -> None:
    rng = np.random.default_rng(1)

    state, detail, advice = told(REVENUE, sample(rng), sample(rng, shift=0.3))

    assert state is CheckState.ALARM
    assert "already differed in buy with `b` (+" in detail
    assert "before the first exposure" in advice


def test_variants_that_were_alike_are_quiet_and_the_use_is_told() -> None:
    rng = np.random.default_rng(2)

    state, detail, advice = told(REVENUE, sample(rng), sample(rng))

    assert (state, advice) == (CheckState.OK, "")
    assert "Variance taken away: buy with `b` 47 %." in detail


def test_a_covariate_without_use_is_told_of() -> None:
    rng = np.random.default_rng(3)

    state, detail, _ = told(REVENUE, sample(rng, use=0), sample(rng, use=0))

    assert state is CheckState.OK
    assert "0 % (not worth its trouble)" in detail


def test_the_denominator_of_a_ratio_is_no_covariate() -> None:
    rng = np.random.default_rng(4)
    orders = micro(rng.integers(1, 4, 2_000).astype(float))
    fine = [
        Moments.of(micro(rng.normal(5, 1, 2_000)), orders, micro(rng.exponential(1.0, 2_000))) for _ in "ab"
    ]
    bare = [Moments.of(micro(rng.normal(5, 1, 2_000)), orders) for _ in "ab"]

    assert told(PER_ORDER, *fine)[0] is CheckState.OK
    assert told(PER_ORDER, *bare)[0] is CheckState.NOT_YET_KNOWN


@pytest.mark.parametrize("what", ["few units", "one unit carries it", "nobody has it", "no value varies"])
def test_too_little_to_compare_is_not_yet_known(what: str) -> None:
    rng = np.random.default_rng(5)
    few = sample(rng, 999, shift=9)
    heavy = Moments.of([SCALE] * 2_000, [500 * SCALE] * 50 + [0] * 1_950)
    none = Moments.of(micro(rng.normal(10, 1, 2_000)), [0] * 2_000)
    same = Moments.of([SCALE] * 2_000, micro(rng.exponential(1.0, 2_000)))
    pairs = {
        "few units": (few, few),
        "one unit carries it": (none, heavy),
        "nobody has it": (none, none),
        "no value varies": (same, same),
    }

    assert told(REVENUE, *pairs[what])[0] is CheckState.NOT_YET_KNOWN


def test_metrics_without_a_covariate_have_nothing_to_compare() -> None:
    finding = covariates.check(E, METRICS, evidence({}))

    assert (finding.state, finding.detail) == (CheckState.OK, "No metric has a covariate.")


def test_the_level_is_shared_by_all_comparisons() -> None:
    rng = np.random.default_rng(6)
    a, b = sample(rng, 4_000), sample(rng, 4_000, shift=0.064)
    alone, crowded = (
        experiment(),
        experiment(
            variants=variants(3_000, 3_000, 1_000, 1_000, 1_000, 1_000),
            metrics=MetricPlan(primary="buy", secondary=("x", "y", "z")),
        ),
    )
    metrics = {key: replace(REVENUE, key=key) for key in ("buy", "x", "y", "z")}
    seen = evidence({("buy", "a"): a, ("buy", "b"): b})
    z = covariates.check(alone, metrics, seen).facts["comparisons"][0]["imbalance_z"]  # type: ignore[index]

    assert 4 < z < 5
    assert covariates.check(alone, metrics, seen).state is CheckState.ALARM
    assert covariates.check(crowded, metrics, seen).state is CheckState.OK


@pytest.mark.statistical
def test_covariates_that_are_alike_seldom_alarm_however_often_one_looks() -> None:
    lifetimes, looks, per_day = 300, 10, 600
    rng = np.random.default_rng(20_270_105)
    alarms = 0
    for _ in range(lifetimes):
        rows = [
            PeriodMoments("buy", variant, FIRST + timedelta(days=i), sample(rng, per_day))
            for i in range(looks)
            for variant in "ab"
        ]
        days = [
            Evidence(
                periods=rows,
                arrivals=(),
                account=ExposureAccount(),
                as_of=START + timedelta(days=2 + i),
                first_exposure_at=START,
            )
            for i in range(looks)
        ]
        alarms += any(covariates.check(E, {"buy": REVENUE}, one).state is CheckState.ALARM for one in days)

    level = covariates.LEVEL
    assert alarms <= lifetimes * level + 3 * math.sqrt(lifetimes * level * (1 - level))
