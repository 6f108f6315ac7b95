"""The conditional test of event rates: against binomial sums, and its evidence against its intervals."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, nbinom

from experiments.errors import InvalidParameterError
from experiments.inference.counts import CountInference, log_rate_ratio_of
from experiments.inference.interval import Inference
from experiments.inference.tilted import LIMIT
from tests.experiments.inference.tables import (
    LEVEL,
    Floats,
    Moment,
    Table,
    columns,
    count,
    log_evidence,
)

DAYS: list[Table] = [(500, 480, 231, 162), (510, 505, 228, 180), (12, 9, 3, 0), (900, 450, 470, 190)]


def moment_of(strata: list[Table], *, dispersion: float = 1.0) -> Moment:
    def moment(theta: Floats) -> Floats:
        total = np.zeros(len(theta))
        for n_t, n_c, x_t, x_c in strata:
            share = n_t / (n_t + n_c)
            total += (x_t + x_c) * np.log(1 - share + share * np.exp(theta))
        return total / dispersion

    return moment


def of_tables(tables: list[Table], *, delta: float, dispersion: float = 1.0) -> CountInference:
    size = len(tables)
    return CountInference.of(
        owner=np.arange(size),
        size=size,
        delta=np.full(size, delta),
        dispersion=np.full(size, dispersion),
        **columns(tables),
    )


@pytest.mark.parametrize("delta", [0.1, 0.6])
@pytest.mark.parametrize("dispersion", [1.0, 2.5])
def test_evidence_and_ends_are_those_of_the_mixture(delta: float, dispersion: float) -> None:
    test = count(DAYS, delta=delta, dispersion=dispersion)
    x = sum(table[2] for table in DAYS) / dispersion
    moment = moment_of(DAYS, dispersion=dispersion)

    ratio = test.rate_ratio(LEVEL)

    assert test.log_e[0] == pytest.approx(log_evidence(0.0, x, moment, delta=delta), abs=1e-8)
    for end in (ratio.lower[0], ratio.upper[0]):
        assert log_evidence(float(np.log(end)), x, moment, delta=delta) == pytest.approx(np.log(20), abs=1e-7)


@pytest.mark.parametrize(
    ("day", "delta"),
    [
        ((300_000, 300_000, 90_000, 30_000), 0.1),
        ((300_000, 300_000, 0, 30_000), 0.7),
        ((330_000_000, 220_000_000, 40_000_000, 1), 0.7),
        ((330_000_000, 220_000_000, 1, 40_000_000), 2.4),
    ],
)
@pytest.mark.parametrize("side", [-1, 0, 1])
def test_ends_of_extreme_counts_are_right_and_found_without_a_warning(
    day: Table, delta: float, side: int
) -> None:
    x, moment = float(day[2]), moment_of([day])
    test = count([day], delta=delta).test

    ends = test.one_sided(LEVEL) if side else test.two_sided(LEVEL)

    # The lower bound tests against larger values (side 1), the upper one against smaller ones.
    for end in (ends.lower,) if side > 0 else (ends.upper,) if side else (ends.lower, ends.upper):
        if np.isfinite(end[0]):
            found = log_evidence(float(end[0]), x, moment, delta=delta, side=side)
            # Further out than the limit of the method nothing is looked for.
            assert found == pytest.approx(np.log(20), abs=1e-5) or (
                abs(end[0]) == LIMIT and found > np.log(20)
            )
        elif np.sign(end[0]) * ends.estimate[0] < LIMIT:
            assert log_evidence(float(np.sign(end[0]) * LIMIT), x, moment, delta=delta, side=side) < np.log(
                20
            )


def test_under_no_difference_the_evidence_is_one_on_average_over_all_outcomes() -> None:
    n_t, n_c, m = 30, 50, 40
    x = np.arange(m + 1)

    test = of_tables([(n_t, n_c, int(k), m - int(k)) for k in x], delta=0.5)

    assert np.sum(binom.pmf(x, m, n_t / (n_t + n_c)) * np.exp(test.log_e)) == pytest.approx(1, abs=1e-12)


def test_a_dispersion_below_one_is_not_believed() -> None:
    assert count(DAYS, delta=0.1, dispersion=0.3).log_e == count(DAYS, delta=0.1).log_e


def test_more_dispersion_is_less_evidence_and_a_wider_interval() -> None:
    once, twice = (count(DAYS, delta=0.1, dispersion=value) for value in (1.0, 2.0))

    assert twice.log_e[0] < once.log_e[0]
    one, other = once.two_sided(LEVEL).lift, twice.two_sided(LEVEL).lift
    assert other.lower[0] < one.lower[0] < one.upper[0] < other.upper[0]
    assert other.estimate == pytest.approx(one.estimate, rel=1e-9)


def test_one_stratum_estimates_the_ratio_and_the_difference_of_the_observed_rates() -> None:
    seen = count([(4000, 1000, 900, 150)], delta=0.1).two_sided(LEVEL)

    assert seen.lift.estimate[0] == pytest.approx(900 / 4000 / (150 / 1000) - 1)
    assert seen.effect.estimate[0] == pytest.approx(900 / 4000 - 150 / 1000)


def test_swapping_the_variants_mirrors_everything() -> None:
    there = count(DAYS, delta=0.2)
    back = count([(b, a, d, c) for a, b, c, d in DAYS], delta=0.2)

    assert back.log_e == pytest.approx(there.log_e, abs=1e-10)
    for name in ("two_sided", "one_sided"):
        one, other = getattr(there, name)(LEVEL).effect, getattr(back, name)(LEVEL).effect
        assert one.lower == pytest.approx(-other.upper, rel=1e-8)
        assert one.upper == pytest.approx(-other.lower, rel=1e-8)


def test_evidence_and_intervals_never_disagree() -> None:
    rng = np.random.default_rng(5)
    n_t = np.floor(10 ** rng.uniform(0, 9, 3000)).astype(np.int64)
    n_c = np.maximum(n_t * 10 ** rng.uniform(-2, 2, 3000), 1).astype(np.int64)
    m = np.floor(10 ** rng.uniform(0, 10, 3000)).astype(np.int64)
    share = n_t / (n_t + n_c)
    x_t = np.rint(m * share + np.sqrt(m * share * (1 - share)) * rng.normal(0, 4, 3000)).astype(np.int64)
    x_t = np.clip(x_t, 0, m)
    tables = list(zip(*(part.tolist() for part in (n_t, n_c, x_t, m - x_t)), strict=True))
    rising = np.array([a * d < b * c for a, b, c, d in ((t[0], t[1], t[2], t[3]) for t in tables)])
    test = of_tables(tables, delta=0.1)

    for level in (0.3, 0.05, 1e-4):
        rejected = test.log_e >= -np.log(level)
        seen = test.two_sided(np.full(3000, level))

        assert 100 < rejected.sum() < 2900
        for interval in (seen.effect, seen.lift):
            np.testing.assert_array_equal(interval.lower > 0, rejected & rising)
            np.testing.assert_array_equal(interval.upper < 0, rejected & ~rising)


@pytest.mark.parametrize("days", [[], [(90, 80, 0, 0)], [(7, 0, 3, 0)], [(0, 7, 0, 3)]])
def test_no_information_is_no_evidence_and_no_ends(days: list[Table]) -> None:
    test = count(days, delta=0.1)
    seen = test.two_sided(LEVEL)

    assert test.log_e[0] == 0
    assert (seen.effect.lower[0], seen.effect.upper[0]) == (-np.inf, np.inf)
    assert (seen.lift.lower[0], seen.lift.upper[0]) == (-1, np.inf)
    assert np.isnan(seen.lift.estimate[0])


def test_events_in_one_variant_only_leave_the_other_end_open() -> None:
    seen = of_tables([(1000, 1000, 300, 0), (1000, 1000, 0, 300)], delta=0.1).two_sided(np.full(2, 0.05))

    assert seen.effect.estimate == pytest.approx([0.3, -0.3])
    assert seen.lift.lower[0] > 5
    assert (seen.lift.estimate[0], seen.lift.upper[0]) == (np.inf, np.inf)
    assert (seen.lift.estimate[1], seen.lift.lower[1]) == (-1, -1)
    assert seen.lift.upper[1] < -0.8


def test_running_gives_at_each_look_what_the_periods_so_far_give() -> None:
    rng = np.random.default_rng(6)
    n_t, n_c = rng.poisson(300, (2, 40))
    x_t, x_c = rng.poisson(0.3 * n_t), rng.poisson(0.25 * n_c)
    dispersion = np.linspace(1, 2, 40)
    looks = CountInference.running(n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, delta=0.1, dispersion=dispersion)
    seen = looks.two_sided(np.full(40, 0.05))

    for i in (0, 3, 39):
        days = list(zip(*(part[: i + 1].tolist() for part in (n_t, n_c, x_t, x_c)), strict=True))
        alone = count(days, delta=0.1, dispersion=dispersion[i])
        assert looks.log_e[i] == pytest.approx(alone.log_e[0], rel=1e-9, abs=1e-9)
        assert seen.lift.lower[i] == pytest.approx(alone.two_sided(LEVEL).lift.lower[0], rel=1e-8)


def overdispersed(rng: np.random.Generator, units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the events of so many units, each negative binomial with mean 1 and variance 3."""
    size = 0.5
    return np.asarray(nbinom.rvs(size * units, size / (size + 1.0), random_state=rng), dtype=np.int64)


@pytest.mark.statistical
def test_overdispersed_counts_alarm_as_rarely_as_promised_and_would_not_without_the_correction() -> None:
    rng = np.random.default_rng(7)
    units: npt.NDArray[np.int64] = np.full((600, 40), 1000)
    x_t, x_c = overdispersed(rng, units), overdispersed(rng, units)

    def ever_rejected(dispersion: float) -> float:
        looks = CountInference.running(
            n_t=units, n_c=units, x_t=x_t, x_c=x_c, delta=0.05, dispersion=np.full(units.size, dispersion)
        )
        return float((looks.log_e.reshape(units.shape) >= np.log(20)).any(axis=1).mean())

    assert ever_rejected(3.0) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    assert ever_rejected(1.0) > 0.2


def test_the_alternative_is_the_planned_rate_ratio() -> None:
    assert log_rate_ratio_of(np.array([0.1, 1.0])) == pytest.approx(np.log([1.1, 2.0]))


@pytest.mark.parametrize("wrong", [-0.1, 0.0, np.nan])
def test_an_impossible_plan_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidParameterError):
        log_rate_ratio_of(np.array(wrong))


@pytest.mark.parametrize("wrong", [np.array([-1.0]), np.array([np.nan]), np.array([1.0, 1.0])], ids=str)
def test_an_impossible_dispersion_is_refused(wrong: Floats) -> None:
    with pytest.raises(InvalidParameterError):
        CountInference.of(
            owner=np.array([0]), size=1, delta=np.array([0.1]), dispersion=wrong, **columns([(5, 5, 9, 2)])
        )


def test_both_sides_together_are_an_inference() -> None:
    test: Inference = count(DAYS, delta=0.1)
    two, one = test.two_sided(LEVEL).lift, test.one_sided(LEVEL).lift

    assert two.lower[0] < one.lower[0] < one.estimate[0] < one.upper[0] < two.upper[0]
