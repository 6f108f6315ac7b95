"""Random inputs, the odd ones among them: evidence, p-value and both intervals must say the same of each."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np

from experiments.histogram import N_BINS
from experiments.inference.conversion import ConversionInference
from experiments.inference.counts import CountInference
from experiments.inference.interval import BoolArray, FloatArray, Inference, IntArray, Intervals
from experiments.inference.linear import LinearInference, MomentArrays, mean_pairs, ratio_pairs
from experiments.inference.quantile import QuantileInference
from scripts.calibration.figures import ENOUGH_RUNS, Rate, Report
from scripts.calibration.runs import Bench, Found

LEVELS = (0.001, 0.01, 0.05, 0.1, 0.3)
SIZES = {
    "conversion": 250_000,
    "count": 150_000,
    "mean": 200_000,
    "mean with a covariate": 150_000,
    "ratio": 200_000,
    "quantile": 50_000,
}
MAX_STRATA = 5
TYPICAL_Z = 5.0


def strata(rng: np.random.Generator, size: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return owners of 1 to 5 strata each, and their units: from 1 to 30,000, variants of unlike size."""
    owner = np.repeat(np.arange(size), rng.integers(1, MAX_STRATA + 1, size))
    units = 10 ** rng.uniform(0, 4.5, size)
    split = rng.uniform(0.1, 0.9, size)
    n_t = 1 + rng.poisson((units * split)[owner])
    n_c = 1 + rng.poisson((units * (1 - split))[owner])
    return owner, n_t, n_c


def conversion(rng: np.random.Generator, size: int) -> Inference:
    """Return conversions of any rate, from none to all, most with an effect about as large as can be seen."""
    owner, n_t, n_c = strata(rng, size)
    logit = rng.uniform(-7, 7, size)
    variance = np.exp(-np.abs(logit)) * np.bincount(owner, n_t * n_c / (n_t + n_c), size)
    shift = rng.normal(0, TYPICAL_Z, size) / np.sqrt(np.maximum(variance, 1.0))
    p_c, p_t = (1 / (1 + np.exp(-logit - move)) for move in (0.0, shift))
    return ConversionInference.of(
        owner=owner,
        n_t=n_t,
        n_c=n_c,
        x_t=rng.binomial(n_t, p_t[owner]),
        x_c=rng.binomial(n_c, p_c[owner]),
        size=size,
        delta=rng.uniform(0.01, 1.0, size),
    )


def count(rng: np.random.Generator, size: int) -> Inference:
    """Return counts of any rate and dispersion."""
    owner, n_t, n_c = strata(rng, size)
    rate = 10 ** rng.uniform(-3, 1, size)
    information = rate * np.bincount(owner, n_t * n_c / (n_t + n_c), size)
    ratio = np.exp(rng.normal(0, TYPICAL_Z, size) / np.sqrt(np.maximum(information, 1.0)))
    return CountInference.of(
        owner=owner,
        n_t=n_t,
        n_c=n_c,
        x_t=rng.poisson(n_t * (rate * ratio)[owner]),
        x_c=rng.poisson(n_c * rate[owner]),
        size=size,
        delta=rng.uniform(0.01, 1.0, size),
        dispersion=rng.uniform(0.5, 5.0, size),
    )


def linear(columns: int, rng: np.random.Generator, size: int, *, ratio: bool) -> Inference:
    """Return means or ratios of any spread, many of them not far from zero, some below."""
    sides = []
    shift = rng.normal(0, TYPICAL_Z, size)
    centre = rng.normal(1, 1, (size, columns)) * 10 ** rng.uniform(-3, 3, (size, 1))
    for sign in (0.5, -0.5):
        n = (2 + 10 ** rng.uniform(0, 5, size)).astype(np.int64)
        mixed = rng.normal(0, 1, (size, columns, columns))
        scatter = n[:, None, None] * (mixed @ mixed.transpose(0, 2, 1))
        means = centre.copy()
        means[:, 0] += sign * shift * np.sqrt(scatter[:, 0, 0]) / n
        if ratio:
            means[:, 1] = np.abs(means[:, 1])
        sides.append(MomentArrays(n, means, scatter))
    pairs = ratio_pairs(*sides) if ratio else mean_pairs(*sides)
    n_star = 10 ** rng.uniform(2, 6, size)
    return LinearInference.of(pairs, n_star=n_star, alpha=0.05, ready=np.ones(size, dtype=np.bool_))


def quantile(rng: np.random.Generator, size: int) -> Inference:
    """Return histograms of any place and width, with zeros among the values."""
    place, width = rng.uniform(50, N_BINS - 50, size), rng.uniform(1, 100, size)
    bins = np.arange(N_BINS)
    sides = []
    shift = rng.normal(0, 0.2, size) * width
    for moved in (place, place + shift):
        shape = np.exp(-(((bins - moved[:, None]) / width[:, None]) ** 2) / 2)
        shape /= shape.sum(axis=1, keepdims=True)
        shape[:, 0] += rng.choice([0.0, 0.3], size)
        sides.append(rng.poisson(shape * (10 ** rng.uniform(1, 4, size))[:, None]))
    return QuantileInference.of(
        counts_c=sides[0],
        counts_t=sides[1],
        quantile=rng.uniform(0.05, 0.95, size),
        n_star=10 ** rng.uniform(2, 5, size),
        alpha=0.05,
    )


KINDS: Mapping[str, Callable[[np.random.Generator, int], Inference]] = {
    "conversion": conversion,
    "count": count,
    "mean": partial(linear, 1, ratio=False),
    "mean with a covariate": partial(linear, 2, ratio=False),
    "ratio": partial(linear, 2, ratio=True),
    "quantile": quantile,
}


def simulate(kind: str, rng: np.random.Generator, size: int) -> Found:
    """Return where anything disagrees, and how many of the inputs were rejected at all."""
    seen = KINDS[kind](rng, size)
    level: FloatArray = rng.choice(LEVELS, size)
    effects = seen.two_sided(level)
    # Where there is no evidence either way, an interval says nothing, and must not reject.
    p_value = np.exp(-np.maximum(np.nan_to_num(seen.log_e), 0.0))
    rejected: BoolArray = p_value <= level
    return {
        "effect": rejected != (side(effects.effect) != 0),
        "lift": np.isfinite(effects.lift.estimate) & (rejected != (side(effects.lift) != 0)),
        "side": np.isfinite(effects.lift.estimate) & (side(effects.lift) != side(effects.effect)),
        "estimate": ~_holds_estimate(effects.effect) | ~_holds_estimate(effects.lift),
        "rejected": rejected,
    }


def side(found: Intervals) -> IntArray:
    """Return 1 or -1 where the whole interval lies above or below zero, else 0."""
    return (found.lower > 0).astype(np.int64) - (found.upper < 0)


def _holds_estimate(found: Intervals) -> BoolArray:
    """Return where an interval holds its estimate; where either is missing there is nothing to hold."""
    slack = 1e-9 * np.maximum(1.0, np.abs(found.estimate))
    outside: BoolArray = (found.estimate < found.lower - slack) | (found.estimate > found.upper + slack)
    return ~outside


def reports(bench: Bench) -> Iterable[Report]:
    """Run every kind; yield the table."""
    report = Report(
        "agreement",
        "Random inputs: p <= level exactly when the intervals exclude zero, on the same side",
        [
            "kind",
            "inputs",
            "rejected",
            "effect disagrees",
            "lift disagrees",
            "sides differ",
            "estimate outside",
        ],
    )
    total, sums = 0, np.zeros(4, dtype=np.int64)
    for kind, full in SIZES.items():
        size = max(100, full * bench.runs // ENOUGH_RUNS)
        found = bench.run(f"agreement, {kind}", partial(simulate, kind), chunk=1_000, runs=size)
        counts = [int(found[name].sum()) for name in ("effect", "lift", "side", "estimate")]
        rejected = Rate(int(found["rejected"].sum()), size)
        report.rows.append([kind, f"{size:,}", f"{100 * rejected.share:.0f} %", *map(str, counts)])
        total, sums = total + size, sums + counts
    report.rows.append(["all", f"{total:,}", "", *map(str, sums)])
    if sums.any():
        report.violated.append(f"{sums.sum()} disagreements in {total:,} inputs")
    yield report
