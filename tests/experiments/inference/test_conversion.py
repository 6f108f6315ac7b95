"""The exact conversion test against sums over every table, and its evidence against its intervals."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import hypergeom
from scipy.stats.contingency import odds_ratio

from experiments.errors import InvalidParameterError
from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.inference.interval import Effects, Inference
from tests.experiments.inference.tables import (
    LEVEL,
    Floats,
    Moment,
    Table,
    columns,
    conversion,
    each_alone,
    log_evidence,
)

DAYS: list[Table] = [(500, 480, 31, 22), (510, 505, 28, 30), (12, 9, 3, 0), (900, 450, 70, 20)]


def moment_of(strata: Sequence[Table]) -> Moment:
    """Return K of these strata, by scipy's probabilities."""

    def moment(theta: Floats) -> Floats:
        total = np.zeros(len(theta))
        for n_t, n_c, x_t, x_c in strata:
            m = x_t + x_c
            x = np.arange(max(0, m - n_c), min(n_t, m) + 1)
            log_p = hypergeom.logpmf(x, n_t + n_c, n_t, m)
            total += logsumexp(log_p + np.outer(theta, x), axis=1)
        return total

    return moment


def converted(strata: Sequence[Table]) -> int:
    return sum(table[2] for table in strata)


def ends(effects: Effects) -> Floats:
    """Return all six numbers of each comparison."""
    return np.stack(
        [
            getattr(getattr(effects, quantity), part)
            for quantity in ("effect", "lift")
            for part in ("estimate", "lower", "upper")
        ]
    )


@pytest.mark.parametrize("delta", [0.02, 0.1, 0.6, 2.0])
def test_the_evidence_is_the_mixture_of_likelihood_ratios(delta: float) -> None:
    test = conversion(DAYS, delta=delta)

    expected = log_evidence(0.0, converted(DAYS), moment_of(DAYS), delta=delta)

    assert test.log_e[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("delta", [0.1, 0.6])
@pytest.mark.parametrize("scale", [1, 4])
def test_the_interval_ends_where_the_evidence_reaches_its_threshold(delta: float, scale: int) -> None:
    days: list[Table] = [(scale * a, scale * b, scale * c, scale * d) for a, b, c, d in DAYS]
    ratio = conversion(days, delta=delta).odds_ratio(LEVEL)
    one = conversion(days, delta=delta).test.one_sided(LEVEL)

    for end in (ratio.lower, ratio.upper):
        found = log_evidence(float(np.log(end[0])), converted(days), moment_of(days), delta=delta)
        assert found == pytest.approx(np.log(20), abs=1e-7)
    for bound, side in ((one.lower, 1), (one.upper, -1)):
        found = log_evidence(float(bound[0]), converted(days), moment_of(days), delta=delta, side=side)
        assert found == pytest.approx(np.log(20), abs=1e-7)
    assert ratio.lower[0] < np.exp(one.lower[0]) < ratio.estimate[0] < np.exp(one.upper[0]) < ratio.upper[0]


def test_under_no_difference_the_evidence_is_one_on_average_over_all_tables() -> None:
    margins = [(5, 7, 4), (3, 3, 5), (20, 6, 9)]
    supports = [np.arange(max(0, m - c), min(t, m) + 1) for t, c, m in margins]
    tables, weights = [], []
    for outcome in product(*supports):
        tables.append([(t, c, int(x), m - int(x)) for (t, c, m), x in zip(margins, outcome, strict=True)])
        weights.append(
            np.prod([hypergeom.pmf(x, t + c, t, m) for (t, c, m), x in zip(margins, outcome, strict=True)])
        )
    size = len(tables)

    for delta in (0.3, 1.5):
        test = ConversionInference.of(
            owner=np.repeat(np.arange(size), 3),
            size=size,
            delta=np.full(size, delta),
            **columns([table for strata in tables for table in strata]),
        )
        assert np.sum(weights * np.exp(test.log_e)) == pytest.approx(1, abs=1e-12)


def test_the_estimate_is_the_conditional_maximum_of_the_likelihood() -> None:
    table = ((30, 20), (12, 18))
    ratio = conversion([(50, 30, 30, 12)], delta=0.3).odds_ratio(LEVEL)

    assert ratio.estimate[0] == pytest.approx(odds_ratio(table, kind="conditional").statistic, rel=1e-6)


def test_swapping_the_variants_mirrors_everything() -> None:
    there, back = (conversion(days, delta=0.2) for days in (DAYS, [(b, a, d, c) for a, b, c, d in DAYS]))

    assert back.log_e == pytest.approx(there.log_e, abs=1e-10)
    for name in ("two_sided", "one_sided"):
        one, other = getattr(there, name)(LEVEL).effect, getattr(back, name)(LEVEL).effect
        assert one.lower == pytest.approx(-other.upper, rel=1e-8)
        assert one.upper == pytest.approx(-other.lower, rel=1e-8)
        assert one.estimate == pytest.approx(-other.estimate, rel=1e-8)


def test_the_order_of_the_periods_does_not_matter() -> None:
    there, back = conversion(DAYS, delta=0.2), conversion(DAYS[::-1], delta=0.2)

    assert back.log_e == pytest.approx(there.log_e, abs=1e-10)
    assert ends(back.two_sided(LEVEL)) == pytest.approx(ends(there.two_sided(LEVEL)), rel=1e-8)


def test_comparisons_do_not_disturb_one_another() -> None:
    tables = [DAYS[0], DAYS[2], (10**6, 10**6, 5000, 9000), (0, 0, 0, 0), (40, 1000, 40, 0)]

    together = ends(each_alone(tables, delta=0.1).two_sided(np.full(5, 0.05)))

    alone = np.hstack([ends(conversion([table], delta=0.1).two_sided(LEVEL)) for table in tables])
    np.testing.assert_allclose(together, alone, rtol=1e-8, atol=1e-15)


def test_periods_that_can_only_have_come_out_as_they_did_add_nothing() -> None:
    empty: list[Table] = [(0, 10, 0, 3), (10, 0, 2, 0), (5, 5, 0, 0), (5, 5, 5, 5), (0, 0, 0, 0)]

    assert conversion(DAYS + empty, delta=0.1).log_e == pytest.approx(conversion(DAYS, delta=0.1).log_e)


@pytest.mark.parametrize("days", [[], [(0, 0, 0, 0)], [(90, 80, 0, 0)], [(9, 8, 9, 8)], [(7, 0, 3, 0)]])
def test_no_information_is_no_evidence_and_no_ends(days: list[Table]) -> None:
    test = conversion(days, delta=0.1)

    assert test.log_e[0] == 0
    for effects in (test.two_sided(LEVEL), test.one_sided(LEVEL)):
        np.testing.assert_array_equal(ends(effects)[:, 0], [np.nan, -1, 1, np.nan, -1, np.inf])


def test_a_treatment_in_which_everybody_converts_has_no_upper_end() -> None:
    lift = each_alone([(1000, 1000, 1000, 0), (1000, 1000, 0, 1000)], delta=0.1).two_sided(np.full(2, 0.05))

    assert lift.effect.estimate == pytest.approx([1, -1])
    assert lift.effect.lower[0] > 0.9
    assert lift.effect.upper[1] < -0.9
    np.testing.assert_array_equal(
        [lift.effect.upper[0], lift.lift.upper[0], lift.lift.estimate[0]], [1, np.inf, np.inf]
    )
    np.testing.assert_array_equal(
        [lift.effect.lower[1], lift.lift.lower[1], lift.lift.estimate[1]], [-1, -1, -1]
    )


def test_an_estimate_beyond_all_ratios_that_are_told_apart_keeps_its_side() -> None:
    billion = 10**9
    table = conversion([(billion, billion, billion, 0)], delta=0.1)

    ratio = table.odds_ratio(LEVEL)

    assert table.log_e[0] > 1e9
    assert (ratio.estimate[0], ratio.upper[0]) == (np.inf, np.inf)
    assert ratio.lower[0] == pytest.approx(np.exp(10))
    assert table.two_sided(LEVEL).lift.lower[0] > 100


def random_tables(rng: np.random.Generator, size: int) -> list[Table]:
    """Return tables from one unit to a billion, at every rate, most of them near the edge of rejection."""
    n_t = np.floor(10 ** rng.uniform(0, 9, size)).astype(np.int64)
    n_c = np.maximum(np.floor(n_t * 10 ** rng.uniform(-2, 2, size)), 1).astype(np.int64)
    rate = rng.choice([0, 1e-6, 0.005, 0.05, 0.5, 0.99, 1], size)
    m = np.maximum(rng.binomial(n_t + n_c, rate), 1)
    spread = np.sqrt(m / (n_t + n_c) * (1 - m / (n_t + n_c)) * n_t * n_c / (n_t + n_c))
    x_t = np.rint(m * (n_t / (n_t + n_c)) + spread * rng.normal(0, 4, size)).astype(np.int64)
    x_t = np.clip(x_t, np.maximum(0, m - n_c), np.minimum(m, n_t))
    return list(zip(*(part.tolist() for part in (n_t, n_c, x_t, m - x_t)), strict=True))


@pytest.mark.parametrize("delta", [0.01, 0.1, 1.0])
def test_evidence_and_intervals_never_disagree(delta: float) -> None:
    tables = random_tables(np.random.default_rng(8), 4000)
    test = each_alone(tables, delta=delta)
    rising = np.array([x_t * n_c > x_c * n_t for n_t, n_c, x_t, x_c in tables])
    decided = 0

    for level in (0.3, 0.05, 1e-4):
        rejected = test.log_e >= -np.log(level)
        two = test.two_sided(np.full(len(tables), level))
        ratio = test.odds_ratio(np.full(len(tables), level))

        for interval, null in ((two.effect, 0.0), (two.lift, 0.0), (ratio, 1.0)):
            np.testing.assert_array_equal(interval.lower > null, rejected & rising)
            np.testing.assert_array_equal(interval.upper < null, rejected & ~rising)
            known = np.isfinite(interval.estimate)
            assert (interval.lower <= interval.estimate)[known].all()
            assert (interval.estimate <= interval.upper)[known].all()
        decided += int(rejected.sum())
    assert 0.05 < decided / (3 * len(tables)) < 0.9


def test_at_the_level_of_its_own_evidence_a_comparison_is_rejected_and_just_below_not() -> None:
    test = each_alone(random_tables(np.random.default_rng(9), 2000), delta=0.1)
    some = (test.log_e > 1e-3) & (test.log_e < 500)
    level = np.where(some, np.exp(-np.maximum(test.log_e, 0)), 0.05)
    level = np.where(test.log_e >= -np.log(level), level, np.nextafter(level, 1))

    at = test.two_sided(np.where(some, level, 0.05)).lift
    below = test.two_sided(np.where(some, level * (1 - 1e-12), 0.05)).lift

    assert ((at.lower > 0) | (at.upper < 0))[some].all()
    assert ((below.lower <= 0) & (below.upper >= 0))[some].all()


def test_no_value_outside_the_interval_would_be_accepted() -> None:
    """The evidence could dip again beyond an end; over every table of small margins it never does."""
    grid = np.linspace(-9, 9, 61)
    for n_t, n_c, m in [(12, 12, 12), (40, 15, 12)]:
        tables: list[Table] = [(n_t, n_c, x, m - x) for x in range(max(0, m - n_c), min(n_t, m) + 1)]
        interval = each_alone(tables, delta=0.8).test.two_sided(np.full(len(tables), 0.3))
        for i, table in enumerate(tables):
            moment = moment_of([table])
            evidence = np.array([log_evidence(theta, table[2], moment, delta=0.8) for theta in grid])
            inside = (grid > interval.lower[i]) & (grid < interval.upper[i])
            np.testing.assert_array_equal(evidence < -np.log(0.3), inside)


@pytest.mark.parametrize("delta", [0.1, 1.0])
def test_every_end_is_where_it_should_be_and_missing_only_where_there_is_none(delta: float) -> None:
    rng = np.random.default_rng(10)
    tables = [table for table in random_tables(rng, 1200) if min(table[:2]) > 8 and max(table[:2]) < 2000]
    interval = each_alone(tables, delta=delta).test.two_sided(np.full(len(tables), 0.05))
    bounded = 0

    for i, table in enumerate(tables):
        moment, (low, high) = moment_of([table]), (interval.lower[i], interval.upper[i])
        for end, outermost in ((low, -10.0), (high, 10.0)):
            if np.isinf(end):
                assert log_evidence(outermost, table[2], moment, delta=delta) < np.log(20)
            else:
                assert log_evidence(end, table[2], moment, delta=delta) == pytest.approx(np.log(20), abs=1e-6)
                bounded += 1
    assert bounded > 30


@pytest.mark.parametrize("per_day", [3, 60, 2000, 10**7])
def test_running_gives_at_each_look_what_the_periods_so_far_give(per_day: int) -> None:
    rng = np.random.default_rng(per_day)
    n_t, n_c = rng.poisson(per_day, (2, 2, 60))
    x_t, x_c = rng.binomial(n_t, 0.06), rng.binomial(n_c, 0.05)
    looks = ConversionInference.running(n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, delta=0.1)
    seen = ends(looks.two_sided(np.full(120, 0.05)))

    for series, look in product((0, 1), (0, 1, 7, 30, 59)):
        parts = (part[series, : look + 1].tolist() for part in (n_t, n_c, x_t, x_c))
        alone = conversion(list(zip(*parts, strict=True)), delta=0.1)
        i = series * 60 + look
        assert looks.log_e[i] == pytest.approx(alone.log_e[0], rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(seen[:, i], ends(alone.two_sided(LEVEL))[:, 0], rtol=1e-7, atol=1e-12)


def test_a_trillion_units_do_not_overflow() -> None:
    strata: list[Table] = [(10**10, 10**10, 5 * 10**9 + 10**5, 5 * 10**9)] * 50

    lift = conversion(strata, delta=0.01).two_sided(LEVEL).lift

    assert lift.estimate[0] == pytest.approx(2e-5, rel=1e-3)
    assert 1e-5 < lift.lower[0] < 2e-5 < lift.upper[0] < 3e-5


@pytest.mark.parametrize("baseline", [0.005, 0.05, 0.5])
def test_the_alternative_is_the_planned_odds_ratio(baseline: float) -> None:
    raised = baseline * 1.1
    odds = raised / (1 - raised) / (baseline / (1 - baseline))

    assert log_odds_of(np.array(baseline), np.array(0.1)) == pytest.approx(np.log(odds), rel=1e-12)


def test_an_alternative_beyond_one_is_taken_half_way_to_one() -> None:
    assert log_odds_of(np.array(0.8), np.array(0.5)) == pytest.approx(np.log((0.9 / 0.1) / (0.8 / 0.2)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"x_t": np.array([6])},
        {"x_c": np.array([-1])},
        {"n_t": np.array([2 * 10**15])},
        {"n_t": np.array([5.0])},
        {"n_c": np.array([5, 5])},
        {"owner": np.array([1])},
        {"delta": np.array([0.0])},
        {"delta": np.array([np.inf])},
        {"delta": np.array([0.1, 0.1])},
    ],
    ids=lambda wrong: "".join(f"{name}={value}" for name, value in wrong.items()),
)
def test_impossible_counts_are_refused(wrong: dict[str, Floats]) -> None:
    right = {"owner": np.array([0]), "delta": np.array([0.1]), **columns([(5, 5, 3, 2)])}

    with pytest.raises(InvalidParameterError):
        ConversionInference.of(size=1, **(right | wrong))


@pytest.mark.parametrize(
    "level", [np.array([0.0]), np.array([1.0]), np.array([np.nan]), np.array([0.1, 0.1])]
)
def test_an_impossible_level_is_refused(level: Floats) -> None:
    test: Inference = conversion(DAYS, delta=0.1)

    for interval in (test.two_sided, test.one_sided):
        with pytest.raises(InvalidParameterError):
            interval(level)


@pytest.mark.parametrize(("baseline", "mde"), [(0.0, 0.1), (1.0, 0.1), (0.5, 0.0), (np.nan, 0.1)])
def test_an_impossible_plan_is_refused(baseline: float, mde: float) -> None:
    with pytest.raises(InvalidParameterError):
        log_odds_of(np.array(baseline), np.array(mde))
