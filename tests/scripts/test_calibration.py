import json
import math

import numpy as np
import pytest
from scipy import stats

from experiments.checks import srm
from scripts.calibration import peers, streams
from scripts.calibration.figures import ENOUGH_RUNS, Rate, Report
from scripts.calibration.runs import first_of
from scripts.calibration.srm import upworthy_shares
from service.settings import REPOSITORY

GROWTHBOOK = REPOSITORY / "tests" / "golden" / "stats" / "gb.json"


def test_the_growthbook_peer_gives_the_interval_of_growthbooks_own_test() -> None:
    cases = json.loads(GROWTHBOOK.read_text("utf-8"))
    case = next(case for case in cases if case["id"] == "gb-acs-prop")
    seen = case["input"]
    shares = peers.Shares(*(np.array([float(seen[key])]) for key in ("n_b", "n_a", "x_b", "x_a")))
    lift, lower, upper, se, _ = case["expected"]

    half = float(peers.growthbook_critical(shares.n, alpha=seen["alpha"], n_star=seen["n_star"])[0]) * se

    assert [lift - half, lift + half] == pytest.approx([lower, upper], abs=2e-5)
    assert float(shares.z_relative[0]) == pytest.approx(lift / se, rel=2e-4)


def test_the_statsig_peer_is_its_constant() -> None:
    assert peers.statsig_critical(alpha=0.05) == pytest.approx(3.584, abs=0.001)


def test_a_difference_is_measured_in_unpooled_standard_errors() -> None:
    shares = peers.Shares(*(np.array([float(n)]) for n in (1_000, 1_000, 60, 50)))

    assert float(shares.z_absolute[0]) == pytest.approx(0.01 / math.sqrt(0.06 * 0.94e-3 + 0.05 * 0.95e-3))


@pytest.mark.parametrize(("count", "runs"), [(0, 50), (500, 10_000), (50, 50)])
def test_the_bounds_of_a_rate_are_where_its_count_becomes_unlikely(count: int, runs: int) -> None:
    rate = Rate(count, runs)

    if count < runs:
        assert stats.binom.cdf(count, runs, rate.upper) == pytest.approx(0.01)
    else:
        assert rate.upper == 1
    if count:
        assert stats.binom.sf(count - 1, runs, rate.lower) == pytest.approx(0.01)
    else:
        assert rate.lower == 0


def test_many_runs_must_show_the_limit_and_few_only_must_not_contradict_the_level() -> None:
    assert Rate(400, ENOUGH_RUNS).keeps(0.05, limit=0.056)
    assert not Rate(520, ENOUGH_RUNS).keeps(0.05, limit=0.056)
    assert Rate(20, 300).keeps(0.05, limit=0.056)
    assert not Rate(40, 300).keeps(0.05, limit=0.056)


def test_a_report_says_what_was_violated_and_what_was_missed() -> None:
    report = Report("key", "Title", ["a", "b"], rows=[["1", "2"]])

    report.promise("errors", Rate(700, ENOUGH_RUNS), level=0.05, limit=0.056)
    report.goal("stop", 1.2, at_most=1.12)

    assert "| 1 | 2 |" in report.told()
    assert "VIOLATED: errors: 7.00 %" in report.told()
    assert "Goal missed: stop: 1.200, wanted at most 1.12" in report.told()
    assert report.as_csv() == "a,b\n1,2\n"


def test_the_first_look_that_crosses_counts_from_one_and_none_is_zero() -> None:
    assert first_of(np.array([[False, True, True], [False, False, False]])).tolist() == [2, 0]


@pytest.mark.parametrize(
    "population",
    [
        streams.exponential(),
        streams.log_normal(),
        streams.log_normal(share=0.05),
        streams.orders_per_visit(),
        streams.with_past(),
        streams.events(),
        streams.events(0.5),
    ],
    ids=lambda population: population.name,
)
def test_a_population_has_the_lift_it_claims(population: streams.Population) -> None:
    rng = np.random.default_rng(1)
    lift = 0.1
    scale = population.scale_of(lift)

    drawn = population.draw(rng, 400_000, scale)

    ratio = population.name.startswith("orders")
    values = drawn[:, 0] / drawn[:, 1].mean() if ratio else drawn[:, 0]
    wanted = population.mean_of(1.0) * (1 + lift) / population.share
    assert abs(values.mean() - wanted) < 4 * values.std() / math.sqrt(len(values))


def test_sums_so_far_are_those_of_the_units_drawn_also_where_a_period_is_empty() -> None:
    shape = (3, 40)

    sums = streams.draw_sums(
        np.random.default_rng(2), streams.with_past(), shape=shape, per_period=0.7, scale=1.0
    )

    rng = np.random.default_rng(2)
    counts = rng.poisson(0.7, shape)
    units = streams.with_past().draw(rng, int(counts.sum()), 1.0)
    assert (counts == 0).any()
    of_second = units[counts[0].sum() : counts[0].sum() + counts[1, :7].sum()]
    assert sums.n[1, 6] == len(of_second)
    assert sums.sums[1, 6] == pytest.approx(of_second.sum(axis=0))
    assert sums.products[1, 6] == pytest.approx(of_second.T @ of_second)


@pytest.mark.parametrize("level", [srm.ALARM_LEVEL, srm.OVERALL_LEVEL])
def test_the_check_finds_the_broken_weeks_of_upworthy_and_little_else(level: float) -> None:
    inside, outside = upworthy_shares(level)

    assert (inside.runs, outside.runs) == (1_055, 4_873 - 1_055)
    assert inside.share >= 0.6
    assert outside.share <= 0.02
