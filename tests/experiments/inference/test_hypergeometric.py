"""The logarithmic moment against scipy's probabilities, and the ways of computing it against each other."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import logsumexp
from scipy.stats import hypergeom, nchypergeom_fisher

from experiments.inference.hypergeometric import (
    centred_log_moment,
    log_moment,
    mean_series,
    mean_shift,
)

Floats = npt.NDArray[np.float64]


def of_table(theta: float, n_t: int, n_c: int, m: int) -> float:
    return float(log_moment(np.array(theta), np.array(n_t), np.array(n_c), np.array(m)))


def centred_of_table(theta: float, n_t: int, n_c: int, m: int) -> float:
    margins = (np.array([part]) for part in (n_t, n_c, m))
    return float(centred_log_moment(np.array([[theta]]), *margins)[0, 0])


def by_scipy(theta: float, n_t: int, n_c: int, m: int) -> float:
    x = np.arange(max(0, m - n_c), min(n_t, m) + 1)
    return float(logsumexp(hypergeom.logpmf(x, n_t + n_c, n_t, m) + theta * x))


def random_tables(rng: np.random.Generator, count: int, *, largest: float) -> list[tuple[int, int, int]]:
    n_t = (10 ** rng.uniform(0, largest, count)).astype(int)
    n_c = np.maximum(n_t * 10 ** rng.uniform(-1.5, 1.5, count), 1).astype(int)
    rate = rng.choice([0.001, 0.05, 0.5, 0.97], count) * rng.uniform(0.5, 1, count)
    return list(zip(n_t.tolist(), n_c.tolist(), (rate * (n_t + n_c)).astype(int).tolist(), strict=True))


def test_the_log_moment_is_the_sum_over_the_support() -> None:
    rng = np.random.default_rng(1)
    for table in random_tables(rng, 300, largest=3.7):
        theta = float(rng.choice([0.05, 0.5, 3.0])) * float(rng.normal())

        expected = by_scipy(theta, *table)

        # scipy's own logarithms of factorials are what limits this comparison
        assert of_table(theta, *table) == pytest.approx(expected, rel=1e-9, abs=1e-9), (theta, table)


def test_one_array_may_hold_tables_of_every_size() -> None:
    theta = np.array([0.3, -1.0, 4.0, 0.0])
    n_t, n_c = np.array([[3], [40], [2_000_000]]), np.array([5, 70_000, 900_000, 1])
    m = np.array([2, 30, 3, 1])

    together = log_moment(theta, n_t, n_c, m)

    assert together.shape == (3, 4)
    alone = [[of_table(theta[j], int(n_t[i, 0]), int(n_c[j]), int(m[j])) for j in range(4)] for i in range(3)]
    assert together == pytest.approx(np.array(alone), rel=1e-12)


@pytest.mark.parametrize("table", [(0, 5, 3), (5, 0, 3), (4, 6, 0), (4, 6, 10), (0, 0, 0)], ids=str)
def test_margins_that_allow_one_table_say_nothing(table: tuple[int, int, int]) -> None:
    assert centred_of_table(1.7, *table) == 0


def test_the_mean_grows_as_fishers_noncentral_distribution_says() -> None:
    for table in random_tables(np.random.default_rng(2), 60, largest=3.5):
        n_t, n_c, m = table
        if not 0 < m < n_t + n_c:
            continue
        step = 1e-4

        slope = (of_table(0.4 + step, *table) - of_table(0.4 - step, *table)) / (2 * step)

        assert slope == pytest.approx(
            nchypergeom_fisher(n_t + n_c, n_t, m, np.exp(0.4)).mean(), rel=1e-5, abs=1e-6
        )


def curve_of_series(theta: float, n_t: int, n_c: int, m: int, *, order: int) -> float:
    """Integrate the series of the mean: K(theta) = int 4 nu(w) / (1 - w^2) dw, by Gauss and Legendre."""
    margins = np.array([n_t, n_c, m], dtype=np.float64)
    coefficients = mean_series(margins[:1], margins[1:2], margins[2:], order)[:, 0]
    end = np.tanh(theta / 4)
    x, weights = np.polynomial.legendre.leggauss(40)
    w = end * (x + 1) / 2
    nu = np.polynomial.polynomial.polyval(w, coefficients)
    return float(np.sum(weights * 4 * nu / (1 - w * w)) * end / 2)


def test_the_series_of_the_mean_and_the_sum_agree_whatever_the_margins() -> None:
    rng = np.random.default_rng(3)
    for table in random_tables(rng, 200, largest=9):
        if sum(table[:2]) < 500:
            continue
        theta = float(rng.uniform(-0.9, 0.9))

        by_sum = centred_of_table(theta, *table)

        tolerance = max(1e-10, 1e-14 * table[2])
        assert curve_of_series(theta, *table, order=28) == pytest.approx(by_sum, rel=1e-10, abs=tolerance), (
            table
        )


@pytest.mark.parametrize("theta", [-7.0, -2.0, 2.0, 7.0])
def test_large_counts_are_no_less_exact_than_small_ones(theta: float) -> None:
    """Doubling every margin doubles K, but for the last logarithm, of the ratio of standard deviations."""
    table = (3 * 10**11, 5 * 10**11, 10**11)
    double = tuple(2 * part for part in table)

    once, twice = centred_of_table(theta, *table), centred_of_table(theta, *double)

    assert twice == pytest.approx(2 * once, rel=1e-10)


def test_the_mode_solves_its_equation() -> None:
    rng = np.random.default_rng(4)
    for n_t, n_c, m in random_tables(rng, 100, largest=6):
        theta = float(rng.normal()) * 3

        shift = float(mean_shift(np.tanh(np.array(theta / 4)), *(np.array(float(p)) for p in (n_t, n_c, m))))

        x = n_t * m / (n_t + n_c) + shift
        left, right = x * (n_c - m + x), np.exp(theta) * (n_t - x) * (m - x)
        assert left == pytest.approx(right, rel=1e-6, abs=1e-6 * max(n_t, n_c, 1))
