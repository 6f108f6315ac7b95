from fractions import Fraction
from statistics import variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InvalidParameterError
from experiments.moments import NOTHING, SCALE, Moments

samples = st.lists(st.integers(-(10**15), 10**15), max_size=50)


@given(a=samples, b=samples)
def test_adding_moments_equals_moments_of_all_values(a: list[int], b: list[int]) -> None:
    assert Moments.of(a) + Moments.of(b) == Moments.of(a + b)


@given(values=samples.filter(lambda v: len(v) > 1))
def test_mean_and_variance_are_those_of_the_textbook(values: list[int]) -> None:
    moments = Moments.of(values)
    exact = [Fraction(v, SCALE) for v in values]

    assert moments.mean == pytest.approx(float(sum(exact) / len(exact)), rel=1e-12, abs=1e-300)
    assert moments.var == pytest.approx(float(variance(exact)), rel=1e-12, abs=1e-300)


def test_a_large_mean_does_not_drown_a_small_variance() -> None:
    base = 10**16
    assert Moments.of([base, base + 1, base + 2]).var == pytest.approx(1e-12, rel=1e-12)


def test_few_units_have_no_variance_and_none_have_mean_zero() -> None:
    assert (NOTHING.mean, NOTHING.var, NOTHING.effective_n) == (0.0, 0.0, 0.0)
    assert Moments.of([5 * SCALE]).var == 0.0


def test_the_effective_number_of_conversions_is_their_number() -> None:
    assert Moments.of([0, SCALE, SCALE, 0, SCALE]).effective_n == 3


@pytest.mark.parametrize(("n", "total", "total_sq"), [(-1, 0, 0), (1, 2, 1), (0, 0, -1), (2, 3, 4)])
def test_sums_that_no_values_have_are_refused(n: int, total: int, total_sq: int) -> None:
    with pytest.raises(InvalidParameterError):
        Moments(n, total, total_sq)
