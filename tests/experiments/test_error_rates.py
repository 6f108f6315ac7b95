"""Seeded simulations of what the decision record promises: looks every day, for ever honest."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from experiments.checks.srm import ALARM_LEVEL, srm_p_value
from experiments.definitions import AnalysisPlan, Direction, Experiment, Guardrail, MetricPlan
from experiments.effect import side_of
from experiments.power import sequential_n, units_needed
from experiments.readings import compare_variants, read_metrics
from tests.experiments.builders import BUY, METRICS, conversions, evidence, experiment

pytestmark = pytest.mark.statistical

DAYS = 28
HORIZON = 2 * DAYS
RUNS = 600
ALPHA = 0.05

IntArray = npt.NDArray[np.int64]


def allowed(level: float, runs: int) -> float:
    return level + 3 * math.sqrt(level * (1 - level) / runs)


def planned(baseline: float, mde: float = 0.2) -> Experiment:
    return experiment(analysis=AnalysisPlan(alpha=ALPHA, power=0.8, mde=mde, baseline=baseline))


def runs(
    e: Experiment, *, rates: tuple[float, float], seed: int, n_runs: int = RUNS, horizon: int = HORIZON
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield units and conversions so far, shape (horizon, 2): the plan's units come within 28 uneven days."""
    rng = np.random.default_rng(seed)
    per_day = units_needed(e.analysis) / DAYS
    for _ in range(n_runs):
        total = rng.poisson(per_day, horizon)
        treated = rng.binomial(total, 0.5)
        units = np.stack([total - treated, treated], axis=1)
        converted = rng.binomial(units, rates)
        yield units.cumsum(axis=0), converted.cumsum(axis=0)


def lifts(e: Experiment, units: IntArray, converted: IntArray) -> Iterator[Any]:
    for (n_c, n_t), (x_c, x_t) in zip(units.tolist(), converted.tolist(), strict=True):
        yield compare_variants(
            e, BUY, variant="b", treatment=conversions(n_t, x_t), control=conversions(n_c, x_c)
        )


@pytest.mark.parametrize(("rate", "seed"), [(0.05, 1), (0.12, 2)])
def test_daily_looks_at_no_difference_rarely_find_one(rate: float, seed: int) -> None:
    e = planned(rate)

    false = sum(any(seen.side for seen in lifts(e, *run)) for run in runs(e, rates=(rate, rate), seed=seed))
    assert false / RUNS <= allowed(ALPHA, RUNS)


def test_a_base_rate_far_from_the_plan_costs_no_validity() -> None:
    e = planned(0.05)

    false = sum(any(seen.side for seen in lifts(e, *run)) for run in runs(e, rates=(0.005, 0.005), seed=3))
    assert false / RUNS <= allowed(ALPHA, RUNS)


def test_the_lift_stays_inside_its_interval_at_every_look() -> None:
    e = planned(0.05)
    true_lift = 0.25

    missed = sum(
        any(
            seen.lift.lower is not None
            and not seen.lift.lower <= true_lift <= (math.inf if seen.lift.upper is None else seen.lift.upper)
            for seen in lifts(e, *run)
        )
        for run in runs(e, rates=(0.05, 0.05 * (1 + true_lift)), seed=4)
    )
    assert missed / RUNS <= allowed(ALPHA, RUNS)


def test_the_planned_effect_is_found_about_as_often_as_the_reference_says() -> None:
    e = planned(0.05)

    found = sum(
        any(seen.side > 0 for seen in lifts(e, *run))
        for run in runs(e, rates=(0.05, 0.06), seed=5, horizon=DAYS)
    )
    # The reference measured .50 by n_fix for this boundary tuned to n_fix or twice of it.
    assert abs(found / RUNS - 0.5) <= 3 * math.sqrt(0.25 / RUNS) + 0.02


@pytest.mark.parametrize(("power", "seed"), [(0.8, 11), (0.5, 12)])
def test_the_needed_units_find_the_planned_effect_as_often_as_planned(power: float, seed: int) -> None:
    e = experiment(analysis=AnalysisPlan(alpha=ALPHA, power=power, mde=0.2, baseline=0.05))
    days = math.ceil(DAYS * sequential_n(e, "b") / units_needed(e.analysis))

    found = sum(
        any(seen.side > 0 for seen in lifts(e, *run))
        for run in runs(e, rates=(0.05, 0.06), seed=seed, horizon=days)
    )
    assert abs(found / RUNS - power) <= 3 * math.sqrt(power * (1 - power) / RUNS) + 0.02


def test_daily_looks_at_a_fair_split_rarely_alarm() -> None:
    rng = np.random.default_rng(6)
    n_runs = 3_000

    alarms = 0
    for _ in range(n_runs):
        total = rng.poisson(1_500, HORIZON)
        treated = rng.binomial(total, 0.3)
        looks = np.stack([total - treated, treated], axis=1).cumsum(axis=0)
        alarms += srm_p_value(looks.tolist(), [0.7, 0.3]) < ALARM_LEVEL
    assert alarms / n_runs <= allowed(ALARM_LEVEL, n_runs)


def test_a_split_that_loses_five_percent_of_one_variant_alarms() -> None:
    rng = np.random.default_rng(7)
    total = rng.poisson(1_500, HORIZON)
    treated = rng.binomial(total, 0.95 / 1.95)

    looks = np.stack([total - treated, treated], axis=1).cumsum(axis=0)
    assert srm_p_value(looks.tolist(), [0.5, 0.5]) < ALARM_LEVEL


@pytest.mark.parametrize(("wrong", "seed"), [("worse", 8), ("safe", 9)])
def test_exactly_at_the_margin_a_guardrail_is_rarely_called_either_way(wrong: str, seed: int) -> None:
    margin = 0.1
    plan = MetricPlan(primary="buy", guardrails=(Guardrail(metric="refund", margin=margin),))
    e = experiment(metrics=plan, analysis=AnalysisPlan(mde=0.2, baseline=0.08))
    assert METRICS["refund"].direction is Direction.DOWN
    n_runs = 300

    called = 0
    for units, converted in runs(e, rates=(0.08, 0.08 * (1 + margin)), seed=seed, n_runs=n_runs):
        states = set()
        for (n_c, n_t), (x_c, x_t) in zip(units.tolist()[::2], converted.tolist()[::2], strict=True):
            moments = {("refund", "a"): conversions(n_c, x_c), ("refund", "b"): conversions(n_t, x_t)}
            states.add(read_metrics(e, METRICS, evidence(moments, arrivals=[]))[-1].state.value)
        called += wrong in states
    assert called / n_runs <= allowed(ALPHA, n_runs)


def test_verdict_and_interval_never_disagree_over_many_random_inputs() -> None:
    rng = np.random.default_rng(10)
    e = planned(0.05)

    for _ in range(20_000):
        n_c, n_t = (int(n) for n in rng.integers(500, 50_000, 2))
        rate = rng.uniform(0.01, 0.99)
        control = conversions(n_c, int(rng.binomial(n_c, rate)))
        treatment = conversions(n_t, int(rng.binomial(n_t, min(1.0, rate * rng.uniform(0.8, 1.25)))))
        seen = compare_variants(e, BUY, variant="b", treatment=treatment, control=control)
        if seen.p_value is not None and seen.lift.lower is not None:
            assert seen.side == side_of(seen.effect) == side_of(seen.lift)
            assert (seen.p_value <= ALPHA) == (seen.side != 0)
