"""Two by two tables for the tests of conversions and counts, and the mixture summed by brute force."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from experiments.inference.conversion import ConversionInference
from experiments.inference.counts import CountInference

Floats: TypeAlias = npt.NDArray[np.float64]
Table: TypeAlias = tuple[int, int, int, int]  # n_t, n_c, x_t, x_c
Moment: TypeAlias = Callable[[Floats], Floats]

LEVEL = np.array([0.05])
LEGENDRE = np.polynomial.legendre.leggauss(400)
TRAPEZIUM = np.linspace(-1, 1, 2001), np.full(2001, 1 / 1000)


def columns(strata: Sequence[Table]) -> dict[str, npt.NDArray[np.int64]]:
    names = ("n_t", "n_c", "x_t", "x_c")
    counts = np.array(strata, dtype=np.int64).reshape(-1, 4).T
    return {name: np.ascontiguousarray(row) for name, row in zip(names, counts, strict=True)}


def conversion(strata: Sequence[Table], *, delta: float) -> ConversionInference:
    owner = np.zeros(len(strata), dtype=np.int64)
    return ConversionInference.of(owner=owner, size=1, delta=np.array([delta]), **columns(strata))


def each_alone(tables: Sequence[Table], *, delta: float) -> ConversionInference:
    """Return as many comparisons as there are tables."""
    size = len(tables)
    return ConversionInference.of(
        owner=np.arange(size), size=size, delta=np.full(size, delta), **columns(tables)
    )


def count(strata: Sequence[Table], *, delta: float, dispersion: float = 1.0) -> CountInference:
    return CountInference.of(
        owner=np.zeros(len(strata), dtype=np.int64),
        size=1,
        delta=np.array([delta]),
        dispersion=np.array([dispersion]),
        **columns(strata),
    )


def log_evidence(theta0: float, x: float, moment: Moment, *, delta: float, side: int = 0) -> float:
    """Return the evidence against theta0 by summing over a grid fine enough for these tests.

    `moment` is K, `x` what was counted in treatment; `side` 0 is the two-sided mixture, 1 the one above.
    """

    def log_ratio(theta: Floats) -> Floats:
        return x * (theta - theta0) - moment(theta) + moment(np.array([theta0]))

    width = 12.0
    grid, weights = LEGENDRE if side else TRAPEZIUM
    u = width * delta * (grid if side == 0 else side * (grid + 1) / 2)
    normal = -((u / delta) ** 2) / 2 - np.log(delta * np.sqrt(2 * np.pi)) + np.log(weights * width * delta)
    points = theta0 + delta * (np.array([-1.0, 1.0]) if side == 0 else np.array([float(side)]))
    halves = (logsumexp(log_ratio(theta0 + u) + normal), logsumexp(log_ratio(points)) - np.log(len(points)))
    return float(np.logaddexp(*halves) - np.log(2))
