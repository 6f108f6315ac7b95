"""The parts of the mixture: curves, the peak of the integrand, the derivative of the evidence."""

import numpy as np
import pytest

from experiments.inference.curves import Curve, nodes
from experiments.inference.inversion import Ladder
from experiments.inference.tilted import Mixture
from tests.experiments.inference.tables import Floats, Table, each_alone

TABLES: list[Table] = [
    (1300, 90, 1300, 43),
    (400, 38, 0, 38),
    (60, 14, 12, 2),
    (40, 23, 23, 0),
    (50_000, 60_000, 900, 1000),
    (9, 8, 3, 4),
]


def ladder(delta: float) -> Ladder:
    return each_alone(TABLES, delta=delta).test.ladder


def whole(delta: float) -> Mixture:
    return ladder(delta)._whole(np.arange(len(TABLES)))


@pytest.mark.parametrize("width", [0.5, 0.905, 1.0])
def test_a_curve_and_its_derivatives_are_those_of_the_function(width: float) -> None:
    """One binomial count of 100 events, of which half are expected in treatment."""
    low, span = np.array([-50.0]), np.array([100.0 if width == 1 else 0.0])

    def k(theta: Floats) -> Floats:
        return 100 * np.log(np.cosh(theta / 2))

    curve = Curve.fit(k(nodes(width, 40))[:, None], width=width, low=low * (width == 1), span=span)

    for at in (-1.9, -0.3, 0.0, 1.2):
        theta = np.array([at])
        mean, variance = curve.mean_and_variance(theta)
        assert curve.value(theta) == pytest.approx(k(theta), abs=1e-6)
        assert mean == pytest.approx(50 * np.tanh(theta / 2), abs=1e-5)
        assert variance == pytest.approx(25 / np.cosh(theta / 2) ** 2, abs=1e-4)


def test_points_in_rows_are_summed_as_one_by_one() -> None:
    mixture = whole(0.1)
    points = np.linspace(-3, 3, 5)[:, None] * np.ones(len(TABLES))

    together = mixture.curve.value(points)

    assert together == pytest.approx(np.stack([mixture.curve.value(row) for row in points]))


@pytest.mark.parametrize("delta", [0.01, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("theta0", [-10.0, -9.0, -1.0, 0.0, 0.7, 5.0, 10.0])
def test_the_peak_is_where_the_integrand_is_flat(delta: float, theta0: float) -> None:
    mixture = whole(delta)
    start = np.full(len(TABLES), theta0)

    peak, found = mixture.peak(start, 1 / mixture.delta**2)

    assert found.all()
    assert mixture.centre(peak)[0] == pytest.approx(start, abs=1e-6 * max(1, delta**2))


@pytest.mark.parametrize("side", [-1, 0, 1])
@pytest.mark.parametrize("delta", [0.1, 0.7])
def test_the_slope_of_the_evidence_is_its_derivative(side: int, delta: float) -> None:
    mixture = whole(delta)
    estimate, _ = mixture.peak(np.zeros(len(TABLES)), np.zeros(len(TABLES)))
    theta0 = np.clip(estimate, -6, 6) - side * 0.5 + (side == 0) * 0.2
    step = 1e-5

    def evidence(at: Floats) -> Floats:
        return mixture.log_e(at, mixture.peak(at, 1 / mixture.delta**2)[0], side)[0]

    slope = mixture.log_e(theta0, mixture.peak(theta0, 1 / mixture.delta**2)[0], side)[1]

    numeric = (evidence(theta0 + step) - evidence(theta0 - step)) / (2 * step)
    assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_near_and_far_curves_give_the_same_evidence() -> None:
    steps = ladder(0.1)
    chosen = np.flatnonzero(steps.near.limit > 0)
    near, far = steps.near.take(chosen), whole(0.1).take(chosen)
    assert len(chosen) > 2

    for at in (-0.3, 0.0, 0.3):
        theta0 = np.full(len(chosen), at)
        one, other = (
            mixture.log_e(theta0, mixture.peak(theta0, 1 / mixture.delta**2)[0], 0)[0]
            for mixture in (near, far)
        )
        assert one == pytest.approx(other, rel=1e-7, abs=1e-7)
