from collections.abc import Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InvalidParameterError
from experiments.inference.linear import MomentArrays, Pairs, adjustment, mean_pairs, ratio_pairs
from experiments.moments import NOTHING, SCALE, Moments
from tests.experiments.inference.samples import Array, moments_of, one_row

units = st.lists(st.tuples(*[st.integers(-(10**12), 10**12)] * 3), min_size=2, max_size=30)


def sample(rng: np.random.Generator, n: int, *, slope: float = 0.8, shift: float = 0.0) -> list[Array]:
    """Return what units did, and two covariates."""
    before, other = rng.exponential(2.0, n), rng.normal(5.0, 1.0, n)
    return [1 + shift + slope * before - 0.3 * other + rng.normal(0.0, 1.0, n), before, other]


def numbers(pairs: Pairs) -> list[float]:
    parts = (pairs.mean_t, pairs.mean_c, pairs.var_t, pairs.var_c, pairs.cov)
    return [float(part[0]) for part in parts]


def variance(pairs: Pairs) -> float:
    return float((pairs.var_t + pairs.var_c - 2 * pairs.cov)[0])


@given(rows=units)
def test_arrays_hold_means_and_scatter_of_the_units(rows: Sequence[tuple[int, int, int]]) -> None:
    found = MomentArrays.of([Moments.of(*zip(*rows, strict=True))])

    table = np.array(rows, dtype=np.float64) / SCALE
    assert found.n.tolist() == [len(rows)]
    assert found.means[0] == pytest.approx(table.mean(axis=0), rel=1e-9, abs=1e-6)
    expected = np.cov(table.T) * (len(rows) - 1)
    assert found.scatter[0] == pytest.approx(expected, rel=1e-9, abs=1e-3)


@given(rows=units, cut=st.integers(0, 30), order=st.permutations([0, 1, 2]))
def test_neither_parts_nor_their_order_change_a_digit(
    rows: Sequence[tuple[int, int, int]], cut: int, order: Sequence[int]
) -> None:
    pieces = [rows[:cut], rows[cut : 2 * cut], rows[2 * cut :]]
    parts = [Moments.of(*zip(*piece, strict=True)) if piece else NOTHING for piece in pieces]
    added = parts[order[0]] + parts[order[1]] + parts[order[2]]

    once, twice = MomentArrays.of([Moments.of(*zip(*rows, strict=True))]), MomentArrays.of([added])
    assert once.means.tolist() == twice.means.tolist()
    assert once.scatter.tolist() == twice.scatter.tolist()


def test_a_mean_of_a_billion_hides_no_spread_of_one() -> None:
    rng = np.random.default_rng(1)
    small = [rng.integers(-3, 4, 500).astype(float), rng.integers(-3, 4, 500).astype(float)]

    near = MomentArrays.of([moments_of(*small)])
    far = MomentArrays.of([moments_of(*(column + 1e9 for column in small))])
    assert far.scatter.tolist() == near.scatter.tolist()
    assert mean_pairs(far, far).var_t.tolist() == mean_pairs(near, near).var_t.tolist()
    assert (far.means - 1e9) == pytest.approx(near.means, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.int64, object])
def test_arrays_of_whole_sums_are_as_exact_as_moments(dtype: type) -> None:
    values, others = [10**9 + i for i in range(5)], [7 * 10**8 - i * i for i in range(5)]
    table = np.array([values, others], dtype=object)
    # Products of 64-bit sums with n would not fit into 64 bits.
    sums, products = table.sum(axis=1)[None].astype(dtype), (table @ table.T)[None].astype(dtype)

    found = MomentArrays.from_sums(np.array([5], dtype=dtype), sums, products, scale=SCALE)
    expected = MomentArrays.of([Moments.of(values, others)])
    assert found.means.tolist() == expected.means.tolist()
    assert found.scatter.tolist() == expected.scatter.tolist()


def test_sums_of_other_shapes_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="shape"):
        MomentArrays.from_sums(np.ones(2), np.ones((2, 3)), np.ones((2, 2, 2)))


def test_no_comparisons_are_no_error() -> None:
    none = MomentArrays.of([])

    assert mean_pairs(none, none).mean_t.shape == (0,)


def test_metrics_with_and_without_covariates_go_into_one_call() -> None:
    rng = np.random.default_rng(2)
    t, c = sample(rng, 60), sample(rng, 80)
    rows = [(moments_of(*t[:q]), moments_of(*c[:q])) for q in (1, 3, 2)] + [(NOTHING, NOTHING)]

    together = mean_pairs(
        MomentArrays.of([row[0] for row in rows]), MomentArrays.of([row[1] for row in rows])
    )
    for i, (one, other) in enumerate(rows[:3]):
        alone = mean_pairs(MomentArrays.of([one]), MomentArrays.of([other]))
        assert together.mean_t[i] == pytest.approx(alone.mean_t[0], rel=1e-13)
        assert together.cov[i] == pytest.approx(alone.cov[0], rel=1e-12, abs=1e-18)
    assert np.isnan([together.mean_t[3], together.var_c[3]]).all()


def test_without_covariates_the_pairs_are_the_plain_means() -> None:
    rng = np.random.default_rng(3)
    t, c = rng.exponential(2.0, 50), rng.exponential(1.0, 70)

    expected = [t.mean(), c.mean(), t.var(ddof=1) / 50, c.var(ddof=1) / 70, 0.0]
    assert numbers(mean_pairs(one_row(t), one_row(c))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n_t", "n_c"), [(300, 300), (90, 700)])
def test_the_adjusted_difference_is_that_of_a_weighted_regression(n_t: int, n_c: int) -> None:
    rng = np.random.default_rng(4)
    t, c = sample(rng, n_t, slope=1.2, shift=0.5), sample(rng, n_c)
    design = np.column_stack(
        [np.r_[np.ones(n_t), np.zeros(n_c)], np.ones(n_t + n_c), np.r_[t[1], c[1]], np.r_[t[2], c[2]]]
    )
    weights = np.r_[np.full(n_t, 1 / (n_t * (n_t - 1))), np.full(n_c, 1 / (n_c * (n_c - 1)))]

    # With variants of one size the weights are equal: the analysis of covariance.
    fitted = sm.WLS(np.r_[t[0], c[0]], design, weights=weights).fit()
    found = mean_pairs(one_row(*t), one_row(*c))
    assert found.mean_t - found.mean_c == pytest.approx(fitted.params[0], rel=1e-9)
    left = fitted.resid[:n_t], fitted.resid[n_t:]
    expected = sum(float(part @ part) / (len(part) * (len(part) - 3)) for part in left)
    assert variance(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["mean", "ratio"])
def test_the_covariance_matrix_is_that_of_the_units_influences(kind: str) -> None:
    rng = np.random.default_rng(5)
    variants = []
    for n in (200, 500):
        value, before, other = sample(rng, n)
        orders = rng.poisson(2.0, n) + 0.2 * before
        variants.append([value * 2, *([orders] if kind == "ratio" else []), before, other])
    found = (ratio_pairs if kind == "ratio" else mean_pairs)(one_row(*variants[0]), one_row(*variants[1]))

    own, covariates, sizes = [], [], []
    for columns in variants:
        y, x = columns[0], np.column_stack(columns[-2:])
        if kind == "ratio":
            y = (y - y.mean() / columns[1].mean() * columns[1]) / columns[1].mean()
        own.append(y - y.mean())
        covariates.append(x - x.mean(axis=0))
        sizes.append(len(y))
    parts = list(zip(own, covariates, sizes, strict=True))
    matrix = sum(x.T @ x / (n * (n - 1)) for _, x, n in parts)
    theta = np.linalg.solve(matrix, sum(x.T @ y / (n * (n - 1)) for y, x, n in parts))
    share = [n / sum(sizes) for n in sizes]
    # How far one unit of either variant moves both estimates; x is moved by all units, each by its share.
    of_t = np.stack([own[0] - share[1] * covariates[0] @ theta, share[0] * covariates[0] @ theta])
    of_c = np.stack([share[1] * covariates[1] @ theta, own[1] - share[0] * covariates[1] @ theta])
    expected = sum(part @ part.T / (n * (n - 3)) for part, n in ((of_t, sizes[0]), (of_c, sizes[1])))
    assert numbers(found)[2:] == pytest.approx([expected[0, 0], expected[1, 1], expected[0, 1]], rel=1e-9)


@pytest.mark.parametrize("spoiled", ["constant", "multiple", "sum"])
def test_a_covariate_that_adds_nothing_changes_nothing(spoiled: str) -> None:
    rng = np.random.default_rng(6)
    t, c = sample(rng, 100), sample(rng, 150)

    def with_extra(columns: list[Array]) -> MomentArrays:
        extra = {"constant": 0 * columns[1] + 0.1, "multiple": 3 * columns[1], "sum": columns[1] + columns[2]}
        return MomentArrays.of([moments_of(*columns, extra[spoiled])])

    expected = mean_pairs(MomentArrays.of([moments_of(*t)]), MomentArrays.of([moments_of(*c)]))
    assert numbers(mean_pairs(with_extra(t), with_extra(c))) == pytest.approx(numbers(expected), rel=1e-5)


@pytest.mark.parametrize("width", [1, 2])
def test_a_covariate_of_one_variant_only_is_left_out(width: int) -> None:
    rng = np.random.default_rng(7)
    t, c = sample(rng, 100), sample(rng, 150)
    some_t, some_c = (MomentArrays.of([moments_of(*columns[:width])]) for columns in (t, c))

    found = mean_pairs(some_t, MomentArrays.of([moments_of(*c)]))
    assert numbers(found) == pytest.approx(numbers(mean_pairs(some_t, some_c)), rel=1e-12)


def test_swapping_the_variants_swaps_the_estimates() -> None:
    rng = np.random.default_rng(8)
    t, c = one_row(*sample(rng, 100)), one_row(*sample(rng, 150))

    there, back = mean_pairs(t, c), mean_pairs(c, t)
    expected = [there.mean_c, there.mean_t, there.var_c, there.var_t, there.cov]
    assert numbers(back) == pytest.approx([float(part[0]) for part in expected], rel=1e-12)


@given(
    n_t=st.integers(10, 400),
    n_c=st.integers(10, 400),
    slopes=st.tuples(*[st.floats(-5, 5)] * 2),
    seed=st.integers(0, 99),
)
def test_whatever_split_and_slopes_adjusting_costs_only_its_degrees_of_freedom(
    n_t: int, n_c: int, slopes: tuple[float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    t, c = one_row(*sample(rng, n_t, slope=slopes[0])), one_row(*sample(rng, n_c, slope=slopes[1]))

    smaller = min(n_t, n_c)
    ratio = adjustment(t, c, is_ratio=False).variance_ratio.item()
    # At most 1 % from 203 units on; the burn-in asks for 1,000.
    assert ratio <= (smaller - 1) / (smaller - 3) + 1e-9


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7, 0.95])
def test_the_variance_falls_to_one_minus_the_squared_correlation(rho: float) -> None:
    rng = np.random.default_rng(9)
    ratios = []
    for n in (200_000, 300_000):
        x = rng.normal(0, 1, (2, n))
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(0, 1, (2, n)) + 10
        t, c = one_row(y[0], x[0]), one_row(y[1], x[1])
        ratios.append(adjustment(t, c, is_ratio=False).variance_ratio.item())

    assert np.mean(ratios) == pytest.approx(1 - rho**2, rel=0.01)


@pytest.mark.statistical
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_repeated_experiments_scatter_as_the_estimated_matrix_says(slope: float) -> None:
    rng = np.random.default_rng(10)
    n_t, n_c, runs = 100, 300, 4_000
    tables = []
    for n in (n_t, n_c):
        before = rng.exponential(1.0, (runs, n))
        tables.append(np.stack([3 + slope * before + rng.normal(0, 0.7, (runs, n)), before], axis=1))
    t, c = (
        MomentArrays.from_sums(np.full(runs, s.shape[2]), s.sum(axis=2), s @ s.transpose(0, 2, 1))
        for s in tables
    )
    found = mean_pairs(t, c)

    seen = np.cov(np.stack([found.mean_t, found.mean_c]))
    told = np.array([[found.var_t.mean(), found.cov.mean()], [found.cov.mean(), found.var_c.mean()]])
    # The standard error of a variance over 4,000 runs is 2.2 % of it.
    assert seen == pytest.approx(told, abs=0.07 * float(told.max()))
    plain = mean_pairs(
        MomentArrays(t.n, t.means[:, :1], t.scatter[:, :1, :1]),
        MomentArrays(c.n, c.means[:, :1], c.scatter[:, :1, :1]),
    )
    worse = np.var(found.mean_t - found.mean_c) / np.var(plain.mean_t - plain.mean_c)
    assert worse <= (1.01 if slope == 0 else 0.4)


def test_a_ratio_is_that_of_the_sums_with_the_delta_methods_variance() -> None:
    rng = np.random.default_rng(11)
    orders = [rng.poisson(2.0, n).astype(float) for n in (300, 400)]
    value = [d * 10 + rng.normal(0, 5, len(d)) for d in orders]

    found = ratio_pairs(one_row(value[0], orders[0]), one_row(value[1], orders[1]))
    expected = []
    for y, d in zip(value, orders, strict=True):
        cov = np.cov(y, d)
        gradient = np.array([1 / d.mean(), -y.mean() / d.mean() ** 2])
        expected.append((y.sum() / d.sum(), float(gradient @ cov @ gradient) / len(y)))
    (r_t, v_t), (r_c, v_c) = expected
    assert numbers(found) == pytest.approx([r_t, r_c, v_t, v_c, 0.0], rel=1e-9)


@pytest.mark.parametrize("below", [0.0, -2.0])
def test_a_ratio_over_nothing_is_unknown(below: float) -> None:
    fine = MomentArrays.of([moments_of(np.array([1.0, 2.0, 4.0]), np.ones(3), np.arange(3.0))])
    nothing = MomentArrays.of([moments_of(np.ones(3), np.full(3, below), np.arange(3.0))])

    assert np.isnan(ratio_pairs(fine, nothing).mean_c).all()
    assert np.isnan(ratio_pairs(nothing, fine).var_t).all()


def test_a_ratio_that_is_the_same_for_every_unit_does_not_vary() -> None:
    orders = np.array([1.0, 2.0, 5.0, 11.0])
    same = MomentArrays.of([moments_of(orders * 0.3, orders)])

    assert ratio_pairs(same, same).var_t.tolist() == [0.0]


def test_a_ratio_without_any_unit_is_unknown() -> None:
    none = MomentArrays.of([NOTHING])

    assert np.isnan(numbers(ratio_pairs(none, none))).all()


def test_a_ratio_needs_its_denominator() -> None:
    with pytest.raises(InvalidParameterError, match="denominator"):
        ratio_pairs(one_row(np.ones(2)), one_row(np.ones(2)))


def test_one_unit_has_an_estimate_and_no_variance() -> None:
    one, many = MomentArrays.of([Moments.of([SCALE])]), MomentArrays.of([Moments.of([0, SCALE])])

    found = mean_pairs(one, many)
    assert found.mean_t.tolist() == [1.0]
    assert np.isnan(found.var_t).all()


def test_the_imbalance_is_that_of_the_covariate_that_differs_most() -> None:
    rng = np.random.default_rng(12)
    t, c = sample(rng, 200), sample(rng, 300)
    t[2] = t[2] - 0.5

    found = adjustment(one_row(*t), one_row(*c), is_ratio=False).imbalance_z.item()
    expected = (t[2].mean() - c[2].mean()) / np.sqrt(t[2].var(ddof=1) / 200 + c[2].var(ddof=1) / 300)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found < -4


def test_without_covariates_nothing_is_adjusted_and_nothing_out_of_balance() -> None:
    rng = np.random.default_rng(13)
    plain = one_row(rng.normal(size=20), np.ones(20))

    for found in (adjustment(plain, plain, is_ratio=False), adjustment(plain, plain, is_ratio=True)):
        assert found.variance_ratio.tolist() == [1.0]
        assert np.isnan(found.imbalance_z).all()
