"""Simulated experiments: many runs at once, as sums per closed period, with their true effect known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Draw = Callable[[np.random.Generator, int, float], FloatArray]

DAYS = 28  # in which the units of the fixed-horizon plan arrive
HORIZON = 4 * DAYS
PILOT = 500_000


@dataclass(frozen=True, slots=True)
class Shares:
    """Units and conversions of each closed period (not so far), int64 arrays of shape (runs, periods)."""

    n_t: IntArray
    n_c: IntArray
    x_t: IntArray
    x_c: IntArray


def draw_shares(
    rng: np.random.Generator, *, shape: tuple[int, int], per_period: float, rates: tuple[float, float]
) -> Shares:
    """Return runs in which a Poisson number of units comes in every period, half of them to each variant.

    Parameters
    ----------
    shape : (runs, periods)
    per_period : float
        Units of both variants expected.
    rates : (control, treatment)
    """
    n_t, n_c = rng.poisson(per_period / 2, (2, *shape))
    return Shares(n_t, n_c, rng.binomial(n_t, rates[1]), rng.binomial(n_c, rates[0]))


@dataclass(frozen=True, slots=True)
class Sums:
    """Moments so far of one variant at every look: n (runs, looks), sums (.., c), products (.., c, c)."""

    n: FloatArray
    sums: FloatArray
    products: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Units whose numbers can be drawn, and what a lift does to them.

    Attributes
    ----------
    name : str
    draw : (rng, n, scale) -> array, shape (n, columns)
        The value, then a ratio's denominator or covariates; `scale` multiplies what a unit does.
    mean_of : scale -> float
        True mean of the value (of a ratio: over the denominator), after winsorizing.
    share : float
        Of all units: those that `draw` draws. The others' numbers are 0.
    """

    name: str
    draw: Draw
    mean_of: Callable[[float], float]
    share: float = 1.0

    def lift(self, scale: float) -> float:
        """Return the true lift of a treatment that multiplies by `scale`."""
        return self.mean_of(scale) / self.mean_of(1.0) - 1

    def scale_of(self, lift: float) -> float:
        """Return what multiplies the mean by 1 + lift (bisection: winsorizing bends it)."""
        low, high = 0.2, 5.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.lift(middle) < lift else (low, middle)
        return (low + high) / 2


def draw_sums(
    rng: np.random.Generator,
    population: Population,
    *,
    shape: tuple[int, int],
    per_period: float,
    scale: float,
) -> Sums:
    """Return one variant's sums so far; `per_period` units are expected in each period."""
    counts = rng.poisson(per_period, shape)
    drawn = rng.binomial(counts, population.share) if population.share < 1 else counts
    values = population.draw(rng, int(drawn.sum()), scale)
    ends = drawn.ravel().cumsum()
    columns = values.shape[1]
    cells = np.empty((counts.size, columns + columns * columns))
    for i in range(columns):
        cells[:, i] = _sums_of(values[:, i], ends)
        for j in range(i, columns):
            total = _sums_of(values[:, i] * values[:, j], ends)
            cells[:, columns + i * columns + j] = cells[:, columns + j * columns + i] = total
    so_far = cells.reshape(*shape, -1).cumsum(axis=1)
    products = so_far[..., columns:].reshape(*shape, columns, columns)
    return Sums(counts.cumsum(axis=1).astype(np.float64), so_far[..., :columns], products)


def _sums_of(values: FloatArray, ends: IntArray) -> FloatArray:
    """Return the sum of each stretch of `values`; an empty stretch sums to 0."""
    starts = np.concatenate(([0], ends[:-1]))
    sums = np.zeros(len(ends))
    some = ends > starts
    if some.any():
        sums[some] = np.add.reduceat(values, starts[some])
    return sums


def influence(values: FloatArray, *, kind: str) -> FloatArray:
    """Return each unit's pull on the estimate, over the mean: what the planned number of units depends on."""
    value = values[:, 0]
    if kind == "ratio":
        ratio = value.mean() / values[:, 1].mean()
        result: FloatArray = (value - ratio * values[:, 1]) / value.mean()
        return result
    if kind == "cuped":
        covariate = values[:, 1] - values[:, 1].mean()
        value = value - covariate * (covariate @ value) / (covariate @ covariate)
    return value / float(value.mean()) - 1


def planned_units(population: Population, *, kind: str, mde: float, alpha: float, power: float) -> float:
    """Return the units of both variants that one fixed-horizon look at a lift of `mde` needs."""
    values = population.draw(np.random.default_rng(1), PILOT, 1.0)
    others = np.zeros((round(PILOT * (1 / population.share - 1)), values.shape[1]))
    pull = influence(np.concatenate([values, others]), kind=kind)
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return 4 * z * z * float(pull.var()) / mde**2


def exponential() -> Population:
    """Return one exponential number a unit, mean 1."""
    return Population(
        name="exponential",
        draw=lambda rng, n, scale: scale * rng.standard_exponential((n, 1)),
        mean_of=lambda scale: scale,
    )


def log_normal(sigma: float = 1.5, cap: float = 20.0, share: float = 1.0) -> Population:
    """Return one log-normal number, winsorized at `cap`, for this share of the units and 0 for the others."""

    def draw(rng: np.random.Generator, n: int, scale: float) -> FloatArray:
        values = np.exp(sigma * rng.standard_normal((n, 1)))
        values *= scale
        return np.minimum(values, cap, out=values)

    def mean_of(scale: float) -> float:
        z = np.log(cap / scale) / sigma
        return float(share * (scale * np.exp(sigma**2 / 2) * ndtr(z - sigma) + cap * ndtr(-z)))

    name = f"log-normal, sigma {sigma:g}, winsorized at {cap:g}"
    if share < 1:
        name += f", and {100 * (1 - share):g} % zeros"
    return Population(name=name, draw=draw, mean_of=mean_of, share=share)


def orders_per_visit() -> Population:
    """Return orders over visits: 1 + Poisson(2) visits, each with the unit's own chance (Beta, mean .1)."""

    def draw(rng: np.random.Generator, n: int, scale: float) -> FloatArray:
        visits = 1 + rng.poisson(2.0, n)
        chance = np.minimum(rng.beta(2.0, 18.0, n) * scale, 1.0)
        return np.stack([rng.binomial(visits, chance), visits], axis=1).astype(np.float64)

    return Population(name="orders per visit, units differ", draw=draw, mean_of=lambda scale: 0.1 * scale)


def with_past() -> Population:
    """Return spending and the same unit's spending before: correlation about .57, both skewed."""

    def draw(rng: np.random.Generator, n: int, scale: float) -> FloatArray:
        habit = rng.gamma(2.0, 0.5, n)
        numbers = habit[:, None] * rng.gamma(4.0, 0.25, (n, 2))
        numbers[:, 0] *= scale
        return numbers

    return Population(
        name="skewed spending, past spending as covariate", draw=draw, mean_of=lambda scale: scale
    )


def events(shape: float | None = None) -> Population:
    """Return events a unit, mean 1: Poisson, or negative binomial of this shape, which spreads more."""

    def draw(rng: np.random.Generator, n: int, scale: float) -> FloatArray:
        rate = scale if shape is None else rng.gamma(shape, scale / shape, n)
        return rng.poisson(rate, n).astype(np.float64)[:, None]

    name = "Poisson" if shape is None else f"negative binomial, dispersion {1 + 1 / shape:g}"
    return Population(name=name, draw=draw, mean_of=lambda scale: scale)
