"""Median and 90th percentile of log-normal numbers: false alarms, and misses at the stop."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtr, ndtri

from experiments.burn_in import BURN_IN_VALUES
from experiments.histogram import EDGES
from experiments.inference.quantile import QuantileInference
from experiments.moments import SCALE
from scripts.calibration.figures import Report
from scripts.calibration.runs import ALPHA, LIFTS, MDE, POWER, Bench, Found, Work, first_of, misses_at
from scripts.calibration.streams import DAYS, HORIZON, FloatArray, IntArray
from scripts.calibration.units import table

SIGMA = 1.0
CHUNK = 20
NEGLIGIBLE = 1e-12  # of all units, in a bin that is left empty


@dataclass(frozen=True, slots=True)
class Setting:
    """A quantile of log-normal numbers with median 1, and a treatment that multiplies all of them."""

    quantile: float
    lift: float = 0.0

    @property
    def n_fix(self) -> float:
        """Units of both variants that one look at the log of the sample quantile needs to find the MDE."""
        z = float(ndtri(1 - ALPHA / 2) + ndtri(POWER))
        at = float(ndtri(self.quantile))
        density = np.exp(-at * at / 2) / np.sqrt(2 * np.pi) / SIGMA
        variance = self.quantile * (1 - self.quantile) / density**2
        return float(4 * z * z * variance / np.log1p(MDE) ** 2)

    @property
    def true_quantile(self) -> float:
        """Return control's."""
        return float(np.exp(SIGMA * ndtri(self.quantile)))


def simulate(setting: Setting, rng: np.random.Generator, runs: int) -> Found:
    """Return, for each run, the day on which it stops, and what is missed there."""
    treatment, control = (
        _histograms(rng, scale, runs=runs, per_period=setting.n_fix / DAYS / 2)
        for scale in (1 + setting.lift, 1.0)
    )
    every = runs * HORIZON
    seen = _inference(setting, treatment.reshape(every, -1), control.reshape(every, -1))
    values = np.minimum(treatment.sum(axis=2), control.sum(axis=2)).ravel()
    log_e = np.where(values >= BURN_IN_VALUES, seen.log_e, np.nan)
    stops = first_of(log_e.reshape(runs, HORIZON) >= -np.log(ALPHA))
    rows, looks = np.arange(runs), np.where(stops > 0, stops, HORIZON) - 1
    effects = _inference(setting, treatment[rows, looks], control[rows, looks]).two_sided(
        np.full(runs, ALPHA)
    )
    return misses_at(stops, effects, effect=setting.true_quantile * setting.lift, lift=setting.lift)


def _inference(setting: Setting, treatment: IntArray, control: IntArray) -> QuantileInference:
    k = len(treatment)
    return QuantileInference.of(
        counts_t=treatment,
        counts_c=control,
        quantile=np.full(k, setting.quantile),
        n_star=np.full(k, setting.n_fix),
        alpha=ALPHA,
    )


def _histograms(rng: np.random.Generator, scale: float, *, runs: int, per_period: float) -> IntArray:
    """Return units so far by bin, (runs, looks, bins): a Poisson number in each bin and period."""
    share = _shares(scale)
    some = np.flatnonzero(share > NEGLIGIBLE)
    first, last = int(some[0]), int(some[-1]) + 1
    counts = np.zeros((runs, HORIZON, len(share)), dtype=np.int64)
    drawn = rng.poisson(per_period * share[first:last], (runs, HORIZON, last - first))
    np.cumsum(drawn, axis=1, out=counts[:, :, first:last])
    return counts


def _shares(scale: float) -> FloatArray:
    with np.errstate(divide="ignore"):
        edges = np.log(np.array(EDGES) / (SCALE * scale)) / SIGMA
    shares: FloatArray = np.diff(ndtr(edges), prepend=0.0, append=1.0)
    return shares


def reports(bench: Bench) -> Iterable[Report]:
    """Run both quantiles; yield their table."""
    rows: list[tuple[str, str, Work]] = [
        (
            f"{name} of log-normal, sigma {SIGMA:g} (n_fix {setting.n_fix:,.0f})",
            lift,
            partial(simulate, setting),
        )
        for quantile, name in ((0.5, "median"), (0.9, "90th percentile"))
        for lift, size in LIFTS.items()
        for setting in (Setting(quantile, size),)
    ]
    yield table(bench, "quantile_misses", "Quantiles", rows=rows, chunk=CHUNK)
