"""The exact conversion test: false alarms, misses, power and stopping time, beside peers on the same data."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from experiments.definitions import AnalysisPlan
from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.inference.normal import critical_values
from experiments.power import units_needed
from scripts.calibration import peers
from scripts.calibration.figures import Rate, Report
from scripts.calibration.runs import (
    ALPHA,
    LIFTS,
    LIMIT,
    MDE,
    POWER,
    Bench,
    Found,
    first_of,
    misses_at,
)
from scripts.calibration.streams import DAYS, HORIZON, FloatArray, IntArray, Shares, draw_shares

BASE_RATES = (0.005, 0.05, 0.5)
HOURS = 24
STOPPING_GOAL = 1.12
POWER_GOAL = 0.55
METHODS = {
    "ours": "Opportune, exact",
    "tuned": "asymptotic sequence tuned to n_fix",
    "growthbook_absolute": "GrowthBook N* = 5,000, difference",
    "growthbook_relative": "GrowthBook N* = 5,000, lift by delta method",
    "statsig": "Statsig, z* = 3.584",
    "fixed": "fixed-horizon z, peeked (invalid)",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A conversion with this base rate and true lift, looked at every day or every hour."""

    rate: float
    lift: float = 0.0
    looks_per_day: int = 1

    @property
    def n_fix(self) -> int:
        """Units of both variants that one fixed-horizon look at the MDE needs."""
        return units_needed(AnalysisPlan(alpha=ALPHA, power=POWER, mde=MDE, baseline=self.rate))

    @property
    def rates(self) -> tuple[float, float]:
        """Control and treatment."""
        return self.rate, self.rate * (1 + self.lift)


def simulate(setting: Setting, rng: np.random.Generator, runs: int) -> Found:
    """Return, for each run, the look at which each method stops, and our misses at our stop."""
    looks = HORIZON * setting.looks_per_day
    per_period = setting.n_fix / (DAYS * setting.looks_per_day)
    shares = draw_shares(rng, shape=(runs, looks), per_period=per_period, rates=setting.rates)
    delta = float(log_odds_of(np.array(setting.rate), np.array(MDE)))
    log_e = log_e_of(shares, delta=delta)
    stops = first_of(log_e >= -np.log(ALPHA))
    effects = judged_at(shares, stops, delta=delta).two_sided(np.full(runs, ALPHA))
    truth = setting.rate * setting.lift
    return {
        "ours": stops,
        **misses_at(stops, effects, effect=truth, lift=setting.lift),
        **_peers(shares, setting.n_fix),
    }


def log_e_of(shares: Shares, *, delta: float) -> FloatArray:
    """Return the evidence of every run at every look, (runs, looks)."""
    series = zip(shares.n_t, shares.n_c, shares.x_t, shares.x_c, strict=True)
    return np.stack([
        ConversionInference.running(n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, delta=delta).log_e
        for n_t, n_c, x_t, x_c in series
    ])  # fmt: skip


def judged_at(shares: Shares, stops: IntArray, *, delta: float) -> ConversionInference:
    """Return the test of each run at the look where it stopped, or at the last one."""
    runs, looks = shares.n_t.shape
    used = np.arange(looks) < np.where(stops > 0, stops, looks)[:, None]
    owner = np.broadcast_to(np.arange(runs)[:, None], used.shape)[used]
    return ConversionInference.of(
        owner=owner,
        n_t=shares.n_t[used],
        n_c=shares.n_c[used],
        x_t=shares.x_t[used],
        x_c=shares.x_c[used],
        size=runs,
        delta=np.full(runs, delta),
    )


def _peers(shares: Shares, n_fix: int) -> Found:
    n_t, n_c, x_t, x_c = (
        part.cumsum(axis=1).astype(np.float64) for part in (shares.n_t, shares.n_c, shares.x_t, shares.x_c)
    )
    seen = peers.Shares(n_t, n_c, x_t, x_c)
    absolute, relative = np.abs(seen.z_absolute), np.abs(seen.z_relative)
    tuned = critical_values(seen.n, n_star=float(n_fix), alpha=ALPHA, level=ALPHA)
    growthbook = peers.growthbook_critical(seen.n, alpha=ALPHA)
    return {
        "tuned": first_of(absolute >= tuned),
        "growthbook_absolute": first_of(absolute >= growthbook),
        "growthbook_relative": first_of(relative >= growthbook),
        "statsig": first_of(absolute >= peers.statsig_critical(alpha=ALPHA)),
        "fixed": first_of(absolute >= peers.fixed_critical(alpha=ALPHA)),
    }


def label(setting: Setting) -> str:
    """Return what the progress line says."""
    every = "hourly" if setting.looks_per_day > 1 else "daily"
    return f"conversion {100 * setting.rate:g} %, lift {100 * setting.lift:g} %, {every}"


def reports(bench: Bench) -> Iterable[Report]:
    """Run everything about conversions; yield its tables."""
    found = {
        (rate, name): bench.run(label(s), partial(simulate, s))
        for rate in BASE_RATES
        for name, lift in LIFTS.items()
        for s in (Setting(rate, lift),)
    }
    hourly = {
        rate: bench.run(label(s), partial(simulate, s), chunk=20)
        for rate in BASE_RATES
        for s in (Setting(rate, looks_per_day=HOURS),)
    }
    yield false_alarms(
        {(rate, 1): found[rate, "none"] for rate in BASE_RATES} | {(r, HOURS): hourly[r] for r in hourly}
    )
    yield stopping({rate: found[rate, "MDE"] for rate in BASE_RATES})
    yield misses(found)


def false_alarms(found: dict[tuple[float, int], Found]) -> Report:
    """Tabulate how often each method finds something under A/A, ever."""
    report = Report(
        "conversion_aa",
        f"Conversion under A/A: runs that ever find a difference, to 4 n_fix, alpha {100 * ALPHA:g} %",
        ["base rate", "looks", "method", "by n_fix", "by 4 n_fix (upper 99 % bound)"],
    )
    disagreements = 0
    for (rate, per_day), runs in found.items():
        every = "every hour" if per_day > 1 else "every day"
        for method, name in METHODS.items():
            stops = np.asarray(runs[method])
            by_plan = Rate(int(((stops > 0) & (stops <= DAYS * per_day)).sum()), len(stops))
            ever = Rate(int((stops > 0).sum()), len(stops))
            report.rows.append(
                [f"{100 * rate:g} %", every, name, f"{100 * by_plan.share:.2f} %", ever.told()]
            )
            if method == "ours":
                report.promise(f"conversion {100 * rate:g} %, {every}", ever, level=ALPHA, limit=LIMIT)
        disagreements += int(runs["disagree"].sum())
    report.notes.append(
        f"Runs in which evidence, difference and lift did not say the same at the stop: {disagreements}."
    )
    if disagreements:
        report.violated.append(f"evidence and intervals disagree in {disagreements} runs")
    return report


def stopping(found: dict[float, Found]) -> Report:
    """Tabulate stopping time and power at the planned effect, beside peers."""
    report = Report(
        "conversion_stopping",
        f"Conversion at the planned lift of {100 * MDE:g} %, daily looks: when each method stops",
        ["base rate", "method", "mean stopping time / n_fix (to 4)", "power at n_fix", "stopped by 4 n_fix"],
    )
    for rate, runs in found.items():
        for method, name in METHODS.items():
            stops = np.asarray(runs[method])
            mean, power = mean_stop(stops), float(((stops > 0) & (stops <= DAYS)).mean())
            report.rows.append(
                [f"{100 * rate:g} %", name, f"{mean:.3f}", f"{power:.3f}", f"{float((stops > 0).mean()):.3f}"]
            )
            if method == "ours":
                report.goal(f"mean stopping time at {100 * rate:g} %", mean, at_most=STOPPING_GOAL)
                report.goal(f"power at n_fix at {100 * rate:g} %", power, at_least=POWER_GOAL)
    report.notes.append(
        "Standard errors at 10,000 runs: about .008 of a stopping time, .005 of a power. A run that does not "
        "stop counts as 4."
    )
    return report


def mean_stop(stops: IntArray) -> float:
    """Return the mean stopping time in n_fix; who never stops counts as the horizon."""
    return float(np.where(stops > 0, stops, HORIZON).mean()) / DAYS


def misses(found: dict[tuple[float, str], Found]) -> Report:
    """Tabulate how often the interval at the stop does not hold the truth."""
    report = Report(
        "conversion_misses",
        f"Conversion: intervals at the stop (or at 4 n_fix) that miss the truth, alpha {100 * ALPHA:g} %",
        ["base rate", "true lift", "difference missed", "lift missed", "mean stopping time / n_fix"],
    )
    for (rate, name), runs in found.items():
        cells = []
        for what in ("missed_effect", "missed_lift"):
            missed = Rate(int(runs[what].sum()), len(runs[what]))
            cells.append(missed.told())
            report.promise(f"{what} at {100 * rate:g} %, {name}", missed, level=ALPHA, limit=LIMIT)
        report.rows.append(
            [
                f"{100 * rate:g} %",
                f"{100 * LIFTS[name]:g} %",
                *cells,
                f"{mean_stop(np.asarray(runs['ours'])):.2f}",
            ]
        )
    return report
