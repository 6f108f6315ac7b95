import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom

from experiments.errors import InvalidParameterError
from experiments.inference.bernoulli import boundary, log_mixture, log_one_sided_mixture, share_sequence

TUNED: dict[str, Any] = {"g": 0.2, "h": 0.8, "v_opt": 100.0, "alpha_opt": 0.05}
shares = st.floats(0.01, 0.99)
trials = st.integers(1, 400)
plans = st.floats(1, 10**5)


def of_share(p: float, t_opt: float) -> dict[str, Any]:
    return {"g": p, "h": 1 - p, "v_opt": p * (1 - p) * t_opt, "alpha_opt": 0.05}


def by_quadrature(x: int, n: int, p: float, r: float) -> float:
    """Return the one-sided evidence as it is defined: the mean of likelihood ratios over shares above p."""
    a, b = r / (1 - p), r / p
    cuts = [p, *(p + (1 - p) * width for width in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1))]

    def mean(count: int, of: int) -> float:
        def weight(q: float) -> float:
            ratio = count * math.log(q / p) + (of - count) * math.log((1 - q) / (1 - p))
            return math.exp(ratio + (a - 1) * math.log(q / p) + (b - 1) * math.log((1 - q) / (1 - p)))

        return sum(quad(weight, low, high, epsabs=0)[0] for low, high in pairwise(cuts))

    return math.log(mean(x, n) / mean(0, 0))


def test_the_one_sided_mixture_is_that_of_confseq() -> None:
    # gostevehoward/confseq@70b1ef3, test/uniform_boundaries_unittest.cpp (MIT), from an R reference.
    assert log_one_sided_mixture(10.0, 100.0, **TUNED) == pytest.approx(-0.07134019, abs=1e-5)


@pytest.mark.parametrize("x", [0, 50, 300, 500, 620, 700, 1_200])
def test_the_one_sided_mixture_is_its_integral_far_out_in_the_tail_too(x: int) -> None:
    n, p = 2_000, 0.3
    rho = p * (1 - p) * 1_000 / (-2 * math.log(0.1) + math.log1p(-2 * math.log(0.1)))

    found = log_one_sided_mixture(x - p * n, p * (1 - p) * n, **of_share(p, 1_000))
    assert found == pytest.approx(by_quadrature(x, n, p, rho - p * (1 - p)), abs=1e-6)


@given(p=shares, n=trials, t_opt=plans)
def test_evidence_has_mean_one_under_the_hypothesis(p: float, n: int, t_opt: float) -> None:
    x = np.arange(n + 1.0)
    s, v = x - p * n, p * (1 - p) * n

    for mixture in (log_mixture, log_one_sided_mixture):
        mean = np.sum(np.exp(binom.logpmf(x, n, p) + mixture(s, v, **of_share(p, t_opt))))
        assert mean == pytest.approx(1, rel=1e-6)


@given(p=shares, n=trials, t_opt=plans, less=st.floats(0.01, 1))
def test_one_sided_evidence_has_mean_below_one_on_the_other_side(
    p: float, n: int, t_opt: float, less: float
) -> None:
    x = np.arange(n + 1.0)

    evidence = log_one_sided_mixture(x - p * n, p * (1 - p) * n, **of_share(p, t_opt))
    assert np.all(np.diff(evidence) >= -1e-9)
    assert np.sum(np.exp(binom.logpmf(x, n, p * less) + evidence)) <= 1 + 1e-6


@given(p=shares, n=st.integers(2, 10**6), t_opt=plans)
def test_evidence_grows_on_both_sides_of_the_count_that_speaks_least(p: float, n: int, t_opt: float) -> None:
    least = math.ceil(p * (n - 1))
    x = np.unique(np.clip(np.array([least - 1000, least - 1, least, least + 1, least + 1000]), 0, n))

    found = log_mixture(x - p * n, p * (1 - p) * n, **of_share(p, t_opt))
    assert found.min() >= log_mixture(least - p * n, p * (1 - p) * n, **of_share(p, t_opt)) - 1e-9
    assert log_mixture(least - p * n, p * (1 - p) * n, **of_share(p, t_opt)) <= 1e-9


def test_the_boundary_is_where_the_evidence_reaches_it() -> None:
    v = np.array([50.0, 100.0, 1_000.0])

    s = boundary(v, **TUNED, level=0.01)
    assert log_mixture(s, v, **TUNED) == pytest.approx(np.full(3, math.log(100)))


def test_where_no_sum_rejects_the_boundary_is_the_largest_sum_that_exists() -> None:
    assert boundary(2 * 0.2 * 0.8, **TUNED, level=0.05) == pytest.approx(2 * 0.8)


@given(n=st.integers(1, 10**5), share=st.floats(0, 1), t_opt=plans)
def test_a_sequence_holds_the_share_seen_and_mirrors(n: int, share: float, t_opt: float) -> None:
    x = np.array([float(round(share * n))])
    of = np.array([float(n)])

    lower, upper = share_sequence(x, of, level=0.05, t_opt=t_opt, alpha_opt=0.05)
    mirror = share_sequence(of - x, of, level=0.05, t_opt=t_opt, alpha_opt=0.05)
    assert 0 <= lower <= x / of <= upper <= 1
    assert [lower[0], upper[0]] == pytest.approx([1 - mirror[1][0], 1 - mirror[0][0]], abs=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"g": 0.0}, {"h": -1.0}, {"v_opt": 0.0}, {"alpha_opt": 0.0}, {"alpha_opt": 1.0}]
)
def test_arguments_outside_their_domain_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidParameterError):
        log_mixture(1.0, 10.0, **TUNED | wrong)


@pytest.mark.parametrize(("successes", "of"), [(1.0, 0.0), (-1.0, 5.0), (6.0, 5.0)])
def test_more_successes_than_trials_are_refused(successes: float, of: float) -> None:
    with pytest.raises(InvalidParameterError):
        share_sequence(np.array([successes]), np.array([of]), level=0.05, t_opt=10, alpha_opt=0.05)
