"""Seeded simulations: looks every day from the burn-in on, and what the asymptotic test gets wrong."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from experiments.inference.linear import LinearInference, MomentArrays, Pairs, mean_pairs, ratio_pairs
from tests.experiments.inference.samples import Array, running

pytestmark = pytest.mark.statistical

RUNS, DAYS, PER_DAY = 400, 32, 250
BURN_IN = 1_000  # units in each variant, as published
N_STAR = DAYS * PER_DAY  # both variants reach it halfway
ALPHA = 0.05
LIFT = 0.05
CAP = 12.0  # about 1 in 160 log-normal values lies above

Columns = tuple[Array, ...]
Draw = Callable[[np.random.Generator, float], Columns]
SHAPE = (RUNS, DAYS, PER_DAY)


def exponential(rng: np.random.Generator, scale: float) -> Columns:
    return (scale * rng.exponential(1.0, SHAPE),)


def capped_log_normal(rng: np.random.Generator, scale: float) -> Columns:
    return (scale * np.minimum(rng.lognormal(0.0, 1.0, SHAPE), CAP),)


def revenue_per_order(rng: np.random.Generator, scale: float) -> Columns:
    orders = rng.poisson(rng.gamma(2.0, 0.5, SHAPE)).astype(np.float64)
    return scale * rng.gamma(2.0 * orders + 1e-12, 5.0) * np.sqrt(1 + orders), orders


def with_history(rng: np.random.Generator, scale: float) -> Columns:
    before = rng.exponential(1.0, SHAPE)
    return scale * (before + rng.exponential(1.0, SHAPE)) / 2, before


def ratio_with_history(rng: np.random.Generator, scale: float) -> Columns:
    value, orders = revenue_per_order(rng, scale)
    return value, orders, value / scale + rng.exponential(5.0, SHAPE)


CASES: dict[str, tuple[Draw, Callable[[MomentArrays, MomentArrays], Pairs], int]] = {
    "exponential": (exponential, mean_pairs, 1),
    "capped log-normal": (capped_log_normal, mean_pairs, 2),
    "ratio": (revenue_per_order, ratio_pairs, 3),
    "mean with a covariate": (with_history, mean_pairs, 4),
    "ratio with a covariate": (ratio_with_history, ratio_pairs, 5),
}


def looked_at_daily(name: str, lift: float) -> LinearInference:
    """Return the test at every look of every run, run by run."""
    draw, of, seed = CASES[name]
    rng = np.random.default_rng(seed)
    treatment, control = running(*draw(rng, 1 + lift)), running(*draw(rng, 1.0))
    return LinearInference.of(
        of(treatment, control), n_star=N_STAR, alpha=ALPHA, ready=treatment.n >= BURN_IN
    )


def per_run(found: Any) -> Any:
    return np.asarray(found).reshape(RUNS, DAYS)


def allowed(level: float) -> float:
    return level + 3 * math.sqrt(level * (1 - level) / RUNS)


@pytest.mark.parametrize("name", CASES)
def test_daily_looks_at_no_difference_rarely_find_one(name: str) -> None:
    found = looked_at_daily(name, 0.0)

    log_e = per_run(found.log_e)
    assert np.isnan(log_e[:, : BURN_IN // PER_DAY - 1]).all()
    assert (np.fmax.reduce(log_e, axis=1) >= -math.log(ALPHA)).mean() <= allowed(ALPHA)
    # The same looks with the classical boundary: what this simulation is able to see.
    z = np.abs(per_run((found.pairs.mean_t - found.pairs.mean_c) / found.errors))
    assert (np.fmax.reduce(z, axis=1) > 1.96).mean() > 2 * allowed(ALPHA)


@pytest.mark.parametrize("name", CASES)
def test_the_lift_lies_in_its_interval_whenever_one_stops(name: str) -> None:
    found = looked_at_daily(name, LIFT)
    level = np.full(found.log_e.shape, ALPHA)

    lift = found.two_sided(level).lift
    missed = per_run((lift.lower > LIFT) | (lift.upper < LIFT))
    rejected = per_run(found.log_e >= -math.log(ALPHA))
    stop = np.where(rejected.any(axis=1), rejected.argmax(axis=1), DAYS - 1)
    assert rejected.any(axis=1).mean() > 0.2
    assert missed[np.arange(RUNS), stop].mean() <= missed.any(axis=1).mean() <= allowed(ALPHA)


@pytest.mark.parametrize("end", ["lower", "upper"])
def test_each_one_sided_bound_rarely_misses_ever(end: str) -> None:
    found = looked_at_daily("mean with a covariate", LIFT)

    lift = found.one_sided(np.full(found.log_e.shape, ALPHA)).lift
    missed = lift.lower > LIFT if end == "lower" else lift.upper < LIFT
    assert per_run(missed).any(axis=1).mean() <= allowed(ALPHA)


def test_half_the_variance_needs_about_half_the_days() -> None:
    draw, _, seed = CASES["mean with a covariate"]
    rng = np.random.default_rng(seed)
    treatment, control = draw(rng, 1 + 2 * LIFT / 3), draw(rng, 1.0)

    days = []
    for columns in (1, 2):
        t, c = running(*treatment[:columns]), running(*control[:columns])
        found = LinearInference.of(mean_pairs(t, c), n_star=N_STAR, alpha=ALPHA, ready=t.n >= BURN_IN)
        rejected = per_run(found.log_e >= -math.log(ALPHA))
        days.append(np.where(rejected.any(axis=1), rejected.argmax(axis=1) + 1, DAYS).mean())
    assert days[1] < 0.7 * days[0]
