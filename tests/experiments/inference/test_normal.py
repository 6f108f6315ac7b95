import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from experiments.errors import InvalidParameterError
from experiments.inference.normal import critical_values, log_e_values, one_sided_critical_values
from experiments.sequential import critical_value, log_e_value, one_sided_critical_value

looks = st.integers(1, 10**9)
levels = st.floats(1e-9, 0.4)


def tuning(n: float, n_star: float, alpha: float) -> float:
    """Return n times the variance of the mixture over the drift, from the paper's own formula."""
    return n * (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / n_star


@pytest.mark.parametrize("z", [-3.0, 0.0, 0.5, 4.0])
@pytest.mark.parametrize(("n", "n_star"), [(100, 100), (50, 1_000), (4_000, 1_000)])
def test_the_evidence_is_the_likelihood_ratio_averaged_over_a_normal_mixture(
    z: float, n: int, n_star: int
) -> None:
    sd = math.sqrt(tuning(n, n_star, 0.05))

    # The drift of the score is normal with this spread; each drift has the likelihood ratio exp(m z - m^2/2).
    mean, _ = quad(
        lambda m: math.exp(m * z - m * m / 2) * norm.pdf(m, scale=sd), -40, 40, points=[0, z], limit=200
    )
    assert log_e_values(z, n, n_star=n_star, alpha=0.05) == pytest.approx(math.log(mean), rel=1e-7, abs=1e-7)


@given(n=looks, n_star=looks, alpha=levels, level=levels)
def test_the_evidence_reaches_one_over_the_level_exactly_at_the_boundary(
    n: int, n_star: int, alpha: float, level: float
) -> None:
    z = critical_values(n, n_star=n_star, alpha=alpha, level=level)

    found = log_e_values(z, n, n_star=n_star, alpha=alpha)
    assert found == pytest.approx(-math.log(level), rel=1e-9)


@given(n=looks, n_star=looks, alpha=levels, level=levels)
def test_the_one_sided_boundary_lies_on_the_safe_side_of_its_mixture(
    n: int, n_star: int, alpha: float, level: float
) -> None:
    z = float(one_sided_critical_values(n, n_star=n_star, alpha=alpha, level=level))

    x = tuning(n, n_star, 2 * alpha)
    s = z * math.sqrt(x / (x + 1))
    log_e = math.log(2) - math.log1p(x) / 2 + s * s / 2 + math.log(ndtr(s))
    assert log_e >= -math.log(level) * (1 - 1e-12)


@given(n=looks, n_star=looks, alpha=levels, level=levels)
def test_a_stricter_level_is_wider_and_leaves_the_evidence_alone(
    n: int, n_star: int, alpha: float, level: float
) -> None:
    for boundary in (critical_values, one_sided_critical_values):
        wide = boundary(n, n_star=n_star, alpha=alpha, level=level / 2)
        assert wide > boundary(n, n_star=n_star, alpha=alpha, level=level)


def test_arrays_give_what_single_numbers_give() -> None:
    rng = np.random.default_rng(1)
    n, n_star = rng.integers(1, 10**6, 200), rng.integers(1, 10**6, 200)
    alpha, z = rng.uniform(0.001, 0.4, 200), rng.normal(0, 3, 200)

    two = critical_values(n, n_star=n_star, alpha=alpha, level=alpha)
    one = one_sided_critical_values(n, n_star=n_star, alpha=alpha, level=alpha)
    log_e = log_e_values(z, n, n_star=n_star, alpha=alpha)
    for i in range(200):
        plan = {"n_star": int(n_star[i]), "alpha": float(alpha[i])}
        assert two[i] == pytest.approx(critical_value(int(n[i]), **plan), rel=1e-13)  # type: ignore[arg-type]
        assert one[i] == pytest.approx(one_sided_critical_value(int(n[i]), **plan), rel=1e-13)  # type: ignore[arg-type]
        assert log_e[i] == pytest.approx(log_e_value(float(z[i]), int(n[i]), **plan), rel=1e-11)  # type: ignore[arg-type]


def test_an_unknown_score_is_no_evidence_and_no_error() -> None:
    found = log_e_values(np.array([math.nan, 2.0]), np.array([10, 10]), n_star=10, alpha=0.05)

    assert np.isnan(found).tolist() == [True, False]


@pytest.mark.parametrize(
    "changed",
    [
        {"n": 0},
        {"n_star": 0},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"level": 0.0},
        {"level": 1.0},
        {"n": math.nan},
    ],
)
def test_arguments_outside_their_domain_are_refused(changed: dict[str, float]) -> None:
    arguments = {"n": 10, "n_star": 10, "alpha": 0.05, "level": 0.05} | changed
    n = np.array([10, arguments.pop("n")])

    for boundary in (critical_values, one_sided_critical_values):
        with pytest.raises(InvalidParameterError):
            boundary(n, **arguments)


def test_a_one_sided_boundary_cannot_be_tuned_to_a_coin() -> None:
    with pytest.raises(InvalidParameterError):
        one_sided_critical_values(10, n_star=10, alpha=0.5, level=0.05)
