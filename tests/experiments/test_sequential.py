import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InvalidParameterError
from experiments.sequential import (
    critical_value,
    fixed_horizon_p_value,
    log_e_value,
    one_sided_critical_value,
)

STATS = Path("tests/golden/stats")
CASES: dict[str, dict[str, Any]] = {
    case["id"]: case for family in ("cs", "gb") for case in json.loads((STATS / f"{family}.json").read_text())
}

looks = st.integers(1, 10**9)
levels = st.floats(1e-6, 0.4)


def test_the_boundary_is_that_of_confseq() -> None:
    case = CASES["cs-nm2-bound"]

    # confseq scales by the variance process V, here v = n with unit variance.
    bound = critical_value(100, n_star=100, alpha=0.05) * math.sqrt(100)
    assert bound == pytest.approx(case["expected"], abs=case["abs_tol"])


def test_the_e_value_is_that_of_confseq() -> None:
    case = CASES["cs-nm2-log"]

    found = log_e_value(10 / math.sqrt(100), 100, n_star=100, alpha=0.05)
    assert found == pytest.approx(case["expected"], abs=case["abs_tol"])


@pytest.mark.parametrize(("case_id", "n"), [("gb-acs-prop", 6_461), ("gb-acs-cuped", 6_461)])
def test_the_two_sided_boundary_is_that_of_growthbook(case_id: str, n: int) -> None:
    lift, _, upper, standard_error, _ = CASES[case_id]["expected"]

    half_width = critical_value(n, n_star=5_000, alpha=0.05) * standard_error
    # The published standard error has five digits.
    assert half_width == pytest.approx(upper - lift, abs=3e-5)


@given(n=looks, n_star=looks, alpha=levels)
def test_the_e_value_reaches_one_over_alpha_exactly_at_the_boundary(
    n: int, n_star: int, alpha: float
) -> None:
    z = critical_value(n, n_star=n_star, alpha=alpha)

    assert log_e_value(z, n, n_star=n_star, alpha=alpha) == pytest.approx(-math.log(alpha), rel=1e-9)


@given(n=looks, n_star=looks, alpha=levels)
def test_looking_often_costs_width(n: int, n_star: int, alpha: float) -> None:
    assert fixed_horizon_p_value(critical_value(n, n_star=n_star, alpha=alpha)) < alpha
    assert fixed_horizon_p_value(one_sided_critical_value(n, n_star=n_star, alpha=alpha)) / 2 < alpha


@given(n_star=st.integers(1_000, 10**7), alpha=levels)
def test_the_interval_is_tightest_for_the_plan_near_the_planned_number(n_star: int, alpha: float) -> None:
    tuned = critical_value(n_star, n_star=n_star, alpha=alpha)

    assert tuned <= critical_value(n_star, n_star=4 * n_star, alpha=alpha)
    assert tuned <= critical_value(n_star, n_star=max(1, n_star // 4), alpha=alpha)


@given(n_star=st.integers(100, 10**9), alpha=st.floats(1e-6, 0.2))
def test_asking_one_question_is_cheaper_than_asking_two(n_star: int, alpha: float) -> None:
    one = one_sided_critical_value(n_star, n_star=n_star, alpha=alpha)

    assert one < critical_value(n_star, n_star=n_star, alpha=alpha)


@pytest.mark.parametrize(
    ("n", "n_star", "alpha"), [(0, 10, 0.05), (10, 0, 0.05), (10, 10, 0.0), (10, 10, 1.0)]
)
def test_arguments_outside_their_domain_are_refused(n: int, n_star: int, alpha: float) -> None:
    with pytest.raises(InvalidParameterError):
        critical_value(n, n_star=n_star, alpha=alpha)
    with pytest.raises(InvalidParameterError):
        one_sided_critical_value(n, n_star=n_star, alpha=alpha)
