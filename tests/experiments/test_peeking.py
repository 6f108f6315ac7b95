import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.assignment import variant_of
from experiments.definitions import Experiment, MetricPlan, Variant
from experiments.errors import InvalidParameterError
from experiments.hashing import bucket
from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.peeking import Look, RacePlan, Tally, expected_false_winners, run

SMALL = RacePlan(experiments=4, days=9, visitors=60, rate=0.2)
SEEDS = range(1, 9)
MOST_OF_OURS = 64
LEAST_OF_CLASSICAL = 160


def looks_of(plan: RacePlan, seed: int) -> list[Look]:
    return list(run(plan, np.random.default_rng(seed)))


def tallies(looks: list[Look]) -> tuple[Tally, Tally]:
    return Tally.of(np.stack([x.classical for x in looks])), Tally.of(np.stack([x.ours for x in looks]))


@pytest.mark.statistical
def test_looking_every_day_fools_the_classical_p_value_and_not_ours() -> None:
    pairs = [tallies(looks_of(RacePlan(), seed)) for seed in SEEDS]

    # 800 experiments. Ours spend at most 5 %: more than 64 would have a chance of 1e-4 at that limit.
    # Classical: 27.5 % are expected; as few as 160 would have one of 1e-6.
    assert sum(ours.ever[-1] for _, ours in pairs) <= MOST_OF_OURS
    assert sum(classical.ever[-1] for classical, _ in pairs) >= LEAST_OF_CLASSICAL


@pytest.mark.statistical
def test_the_classical_p_value_is_right_at_a_single_look() -> None:
    plan = RacePlan(experiments=400, days=1, visitors=2_000)

    last = np.concatenate([tallies(looks_of(plan, seed))[0].now for seed in SEEDS])

    # 3,200 experiments, standard error .39 points.
    assert abs(last.sum() / (400 * len(SEEDS)) - 0.05) < 4 * 0.0039


def test_the_same_seed_is_the_same_race_and_another_one_is_not() -> None:
    first, again, other = looks_of(SMALL, 1), looks_of(SMALL, 1), looks_of(SMALL, 2)

    assert [x.visitors for x in first] == [x.visitors for x in again] != [x.visitors for x in other]
    np.testing.assert_array_equal(first[-1].ours, again[-1].ours)
    np.testing.assert_array_equal(first[-1].classical, again[-1].classical)


def test_experiments_are_independent_of_how_many_run_beside_them() -> None:
    few, many = looks_of(SMALL, 3)[-1], looks_of(replace(SMALL, experiments=7), 3)[-1]

    assert (few.visitors, few.conversions) == (many.visitors, many.conversions)
    np.testing.assert_allclose(many.ours[:4], few.ours, rtol=1e-9)


def test_the_split_is_that_of_the_product_and_the_judge_sees_the_days_as_strata() -> None:
    plan = replace(SMALL, experiments=2, days=2)
    looks = looks_of(plan, 5)
    experiment = Experiment(
        key="peeking-002",
        variants=(Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000)),
        metrics=MetricPlan(primary="m"),
    )

    rng = np.random.default_rng(5)
    arrivals = rng.poisson(plan.visitors, 2)
    text = rng.bytes(6 * int(arrivals.sum())).hex()
    ids = [text[i : i + 12] for i in range(0, len(text), 12)]
    converts = rng.random(len(ids)) < plan.rate
    treated = np.array([variant_of(experiment, unit_id) == "b" for unit_id in ids])
    days = [slice(0, int(arrivals[0])), slice(int(arrivals[0]), None)]
    n_t, x_t = (np.array([int(part[d].sum()) for d in days]) for part in (treated, treated & converts))
    n_c, x_c = (np.array([int(part[d].sum()) for d in days]) for part in (~treated, ~treated & converts))
    delta = float(log_odds_of(np.array(plan.rate), np.array(plan.mde)))
    test = ConversionInference.running(n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, delta=delta)

    ours = [look.ours[1] for look in looks]
    np.testing.assert_allclose(ours, np.exp(-np.maximum(test.log_e, 0)), rtol=1e-9)
    assert (looks[1].visitors, looks[1].conversions) == (len(ids), converts.sum())


def test_the_classical_p_value_is_the_textbook_one() -> None:
    proportions = pytest.importorskip("statsmodels.stats.proportion")
    plan = RacePlan(experiments=1, days=1, visitors=500, rate=0.3)
    look = looks_of(plan, 7)[0]

    rng = np.random.default_rng(7)
    n = int(rng.poisson(plan.visitors, 1)[0])
    text = rng.bytes(6 * n).hex()
    treated = np.array([bucket("peeking-001#1", text[i : i + 12]) >= 5000 for i in range(0, len(text), 12)])
    converts = rng.random(n) < plan.rate
    counts = [int((treated & converts).sum()), int((~treated & converts).sum())]
    _, expected = proportions.proportions_ztest(counts, [int(treated.sum()), int((~treated).sum())])

    assert look.classical[0] == pytest.approx(expected, rel=1e-9)


def test_days_without_visitors_show_nothing() -> None:
    looks = looks_of(RacePlan(experiments=2, days=30, visitors=1, rate=0.5), 3)

    assert any(before.visitors == after.visitors for before, after in itertools.pairwise(looks))
    assert all(((x.ours > 0) & (x.ours <= 1) & (x.classical >= 0) & (x.classical <= 1)).all() for x in looks)


def test_a_week_without_visitors_shows_nothing() -> None:
    plan = RacePlan(experiments=2, days=1, visitors=1)
    empty = next(look for seed in range(100) if not (look := looks_of(plan, seed)[0]).visitors)

    assert (empty.ours.tolist(), empty.classical.tolist()) == ([1.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize(
    "wrong",
    [{"experiments": 0}, {"experiments": 1_000}, {"days": 0}, {"visitors": 0}, {"rate": 0.0}, {"rate": 1.0}],
)
def test_a_race_that_cannot_be_run_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidParameterError):
        replace(RacePlan(), **wrong)  # type: ignore[arg-type]


def test_the_expected_number_of_false_winners_is_the_published_one() -> None:
    # Armitage, McPherson, Rowe (1969), table 2, 5 % two-sided.
    published = {1: 0.050, 2: 0.083, 3: 0.107, 4: 0.126, 5: 0.142, 10: 0.193, 20: 0.248, 50: 0.320}

    found = expected_false_winners(50)

    for looks, share in published.items():
        assert found[looks - 1] == pytest.approx(share, abs=0.0006)


def test_the_expected_number_grows_for_ever_and_stays_a_share() -> None:
    found = expected_false_winners(1_000)

    assert (np.diff(found) > 0).all()
    # Between 200 and 1,000 looks the table has .42 and .53.
    assert (found[199], found[-1]) == (pytest.approx(0.42, abs=0.006), pytest.approx(0.53, abs=0.006))
    with pytest.raises(InvalidParameterError):
        expected_false_winners(0)


def test_our_test_is_tuned_to_what_one_look_at_the_end_would_find() -> None:
    plan = RacePlan()

    # 28,000 units, two proportions of .1: 2.8016 standard errors are .01.
    assert plan.mde * plan.rate == pytest.approx(2.8016 * math.sqrt(4 * 0.09 / 28_000), rel=1e-4)
