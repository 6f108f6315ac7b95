"""Time the statistics of a whole platform at one look: 1,000 experiments with 10 metrics each, on one core.

    python -m scripts.bench_statistics            # medians of 7 rounds
    python -m scripts.bench_statistics --quick    # 50 experiments, one round: does everything run?

From arrays of moments, as a query gives them, to evidence, estimates and intervals of effect and lift; in CPU
time, so that busy neighbours count for little. An experiment has two variants and 28 closed days, and as its
metrics 2 conversions and 1 count with 28 strata each, 4 means, 2 of them with a covariate, 2 ratios and 1
guardrail (a mean with one-sided bounds). Quantiles, with 2,048 numbers a comparison instead of 4, are timed
beside it, and so is making arrays from single `Moments`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import click
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.inference.counts import CountInference
from experiments.inference.interval import FloatArray, Inference
from experiments.inference.linear import LinearInference, MomentArrays, mean_pairs, ratio_pairs
from experiments.inference.quantile import QuantileInference
from experiments.moments import SCALE, Moments
from scripts.bench.table import Sample, table

DAYS = 28
PER_DAY = 400  # units of one variant
ALPHA, MDE, RATE = 0.05, 0.1, 0.05
GOAL_S = 0.2
N_BINS = 1024


Part = Callable[[], Inference]


@dataclass(frozen=True, slots=True)
class Job:
    """A number of comparisons with their inputs ready, and whether their bounds are one-sided."""

    size: int
    infer: Part
    one_sided: bool = False

    def seconds(self) -> float:
        """Return how long one look takes: evidence, estimates, and both intervals."""
        level = np.full(self.size, ALPHA)
        started = time.process_time()
        seen = self.infer()
        evidence = seen.log_e
        effects = seen.one_sided(level) if self.one_sided else seen.two_sided(level)
        took = time.process_time() - started
        if evidence.shape != effects.lift.lower.shape:
            raise click.ClickException("evidence and intervals of different shape")
        return took


def conversion(rng: np.random.Generator, size: int) -> Job:
    """Return conversions of `size` comparisons, each with a stratum for every closed day."""
    n_t, n_c = rng.poisson(PER_DAY, (2, size * DAYS))
    x_t, x_c = rng.binomial(n_t, RATE), rng.binomial(n_c, RATE)
    owner = np.repeat(np.arange(size), DAYS)
    delta = np.full(size, float(log_odds_of(np.array(RATE), np.array(MDE))))
    return Job(
        size,
        lambda: ConversionInference.of(
            owner=owner, n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, size=size, delta=delta
        ),
    )


def count(rng: np.random.Generator, size: int) -> Job:
    """Return counts, of dispersion 2."""
    n_t, n_c = rng.poisson(PER_DAY, (2, size * DAYS))
    x_t, x_c = rng.poisson(n_t), rng.poisson(n_c)
    owner = np.repeat(np.arange(size), DAYS)
    delta, dispersion = np.full(size, np.log1p(MDE)), np.full(size, 2.0)
    return Job(
        size,
        lambda: CountInference.of(
            owner=owner, n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, size=size, delta=delta, dispersion=dispersion
        ),
    )


def linear(rng: np.random.Generator, size: int, *, columns: int, ratio: bool, one_sided: bool = False) -> Job:
    """Return means or ratios with `columns` numbers a unit."""
    sides = [_sums(rng, size, columns) for _ in range(2)]
    estimate = ratio_pairs if ratio else mean_pairs
    n_star, ready = np.full(size, 2.0 * DAYS * PER_DAY), np.ones(size, dtype=np.bool_)

    def infer() -> Inference:
        treatment, control = (MomentArrays.from_sums(*sums) for sums in sides)
        return LinearInference.of(estimate(treatment, control), n_star=n_star, alpha=ALPHA, ready=ready)

    return Job(size, infer, one_sided)


def _sums(rng: np.random.Generator, size: int, columns: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    n = rng.poisson(DAYS * PER_DAY, size).astype(np.float64)
    means = 3.0 + 0.01 * rng.standard_normal((size, columns))
    spread = np.eye(columns) + 0.5
    products = n[:, None, None] * (spread + means[:, :, None] * means[:, None, :])
    return n, n[:, None] * means, products


def quantile(rng: np.random.Generator, size: int) -> Job:
    """Return medians, from histograms of all units."""
    sides = [np.stack([_histogram(rng) for _ in range(size)]) for _ in range(2)]
    median, n_star = np.full(size, 0.5), np.full(size, 2.0 * DAYS * PER_DAY)
    return Job(
        size,
        lambda: QuantileInference.of(
            counts_t=sides[0], counts_c=sides[1], quantile=median, n_star=n_star, alpha=ALPHA
        ),
    )


def _histogram(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    bins = np.clip(np.rint(400 + 50 * rng.standard_normal(DAYS * PER_DAY)), 0, N_BINS - 1).astype(np.int64)
    return np.bincount(bins, minlength=N_BINS).astype(np.int64)


def from_moments(rng: np.random.Generator, size: int) -> float:
    """Return the seconds that arrays of two numbers a unit take to make from whole-number `Moments`."""
    numbers = rng.integers(0, 10 * SCALE, (200, 2)).tolist()
    one = Moments.of([a for a, _ in numbers], [b for _, b in numbers])
    moments = [one] * (2 * size)
    started = time.process_time()
    MomentArrays.of(moments)
    return time.process_time() - started


def jobs_of(experiments: int) -> Mapping[str, Job]:
    """Return the mix of metrics that `experiments` experiments have."""
    rng = np.random.default_rng(5)
    return {
        "conversion": conversion(rng, 2 * experiments),
        "count": count(rng, experiments),
        "mean": linear(rng, 2 * experiments, columns=1, ratio=False),
        "mean with a covariate": linear(rng, 2 * experiments, columns=2, ratio=False),
        "ratio": linear(rng, 2 * experiments, columns=2, ratio=True),
        "guardrail": linear(rng, experiments, columns=1, ratio=False, one_sided=True),
    }


@click.command()
@click.option("--experiments", default=1_000, show_default=True, type=click.IntRange(min=1))
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(min=1))
@click.option("--quick", is_flag=True, help="50 experiments, one round.")
def main(*, experiments: int, rounds: int, quick: bool) -> None:
    """Time evidence and intervals of EXPERIMENTS experiments with 10 metrics each."""
    experiments, rounds = (50, 1) if quick else (experiments, rounds)
    jobs = jobs_of(experiments)
    rng = np.random.default_rng(6)
    beside = quantile(rng, experiments)
    with threadpool_limits(1):
        took = {name: Sample([job.seconds() for _ in range(rounds)]) for name, job in jobs.items()}
        quantiles = Sample([beside.seconds() for _ in range(max(1, rounds // 3))])
        arrays = Sample([from_moments(rng, experiments) for _ in range(rounds)])
    total = sum(sample.median for sample in took.values())
    rows = [
        [name, f"{jobs[name].size:,}", told(sample), f"{1e6 * sample.median / jobs[name].size:.1f}"]
        for name, sample in took.items()
    ]
    size = sum(job.size for job in jobs.values())
    rows.append(["all", f"{size:,}", f"{1e3 * total:,.0f}", f"{1e6 * total / size:.1f}"])
    rows.append(
        [
            "beside: quantile",
            f"{beside.size:,}",
            told(quantiles),
            f"{1e6 * quantiles.median / beside.size:.1f}",
        ]
    )
    rows.append(["beside: arrays from Moments", f"{2 * experiments:,}", told(arrays), ""])
    click.echo(
        f"{experiments:,} experiments, one look, one thread; CPU time, median [range] of {rounds} rounds\n"
    )
    click.echo(table(["part", "comparisons", "ms", "us each"], rows))
    verdict = "kept" if total <= GOAL_S * experiments / 1_000 else "missed"
    click.echo(f"\nGoal: at most {GOAL_S:g} s for 1,000 experiments x 10 metrics: {verdict}")


def told(sample: Sample) -> str:
    """Return milliseconds."""
    return Sample([1e3 * value for value in sample.values]).told(1)


if __name__ == "__main__":
    main()
