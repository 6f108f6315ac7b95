"""Means, ratios, adjusted means and counts: false alarms from the burn-in on, and misses at the stop."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from experiments.burn_in import BURN_IN_CARRIERS, BURN_IN_UNITS
from experiments.inference.counts import CountInference
from experiments.inference.interval import BoolArray
from experiments.inference.linear import LinearInference, MomentArrays, Pairs, mean_pairs, ratio_pairs
from experiments.moments import MIN_UNITS
from scripts.calibration.figures import Rate, Report
from scripts.calibration.runs import (
    ALPHA,
    LIFTS,
    LIMIT,
    MDE,
    POWER,
    Bench,
    Found,
    Work,
    at_stops,
    first_of,
    misses_at,
)
from scripts.calibration.streams import (
    DAYS,
    HORIZON,
    FloatArray,
    Population,
    Sums,
    draw_sums,
    events,
    exponential,
    log_normal,
    orders_per_visit,
    planned_units,
    with_past,
)

SHAPE_OF_SPREAD = 0.5
CHUNK = 50  # runs; some tens of thousands of units each
POPULATIONS: Mapping[str, Callable[[], Population]] = {
    "exponential": exponential,
    "log_normal": log_normal,
    "revenue": partial(log_normal, share=0.05),
    "ratio": orders_per_visit,
    "cuped": with_past,
    "poisson": events,
    "overdispersed": partial(events, SHAPE_OF_SPREAD),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A metric of this kind on units of this population, with this true lift."""

    kind: str
    population: str
    lift: float = 0.0

    @property
    def units(self) -> Population:
        """Return the population itself."""
        return POPULATIONS[self.population]()


@lru_cache
def n_fix(kind: str, population: str) -> float:
    """Return the units of both variants that one fixed-horizon look at the MDE needs."""
    return planned_units(POPULATIONS[population](), kind=kind, mde=MDE, alpha=ALPHA, power=POWER)


def draw(setting: Setting, rng: np.random.Generator, runs: int) -> tuple[Sums, Sums]:
    """Return the sums so far of treatment and control at every daily look."""
    units = setting.units
    per_period = n_fix(setting.kind, setting.population) / DAYS / 2
    scale = units.scale_of(setting.lift) if setting.lift else 1.0
    treatment = draw_sums(rng, units, shape=(runs, HORIZON), per_period=per_period, scale=scale)
    return treatment, draw_sums(rng, units, shape=(runs, HORIZON), per_period=per_period, scale=1.0)


def pairs_of(kind: str, treatment: Sums, control: Sums) -> Pairs:
    """Return the estimates of every run and look, one after the other."""
    t, c = (
        MomentArrays.from_sums(
            s.n.ravel(), s.sums.reshape(-1, s.sums.shape[-1]), s.products.reshape(-1, *s.products.shape[-2:])
        )
        for s in (treatment, control)
    )
    return ratio_pairs(t, c) if kind == "ratio" else mean_pairs(t, c)


def simulate_linear(setting: Setting, rng: np.random.Generator, runs: int) -> Found:
    """Return, for each run, the day on which it stops, and what is missed there."""
    treatment, control = draw(setting, rng, runs)
    seen = LinearInference.of(
        pairs_of(setting.kind, treatment, control),
        n_star=n_fix(setting.kind, setting.population),
        alpha=ALPHA,
        ready=is_ready(treatment, control).ravel(),
    )
    log_e = seen.log_e.reshape(runs, HORIZON)
    stops = first_of(log_e >= -np.log(ALPHA))
    effects = at_stops(seen.two_sided(np.full(seen.log_e.shape, ALPHA)), stops)
    truth = setting.units.mean_of(1.0) * setting.lift
    return misses_at(stops, effects, effect=truth, lift=setting.lift)


def simulate_count(setting: Setting, rng: np.random.Generator, runs: int) -> Found:
    """Return the same for counts, each closed day a stratum; the dispersion is estimated at every look."""
    treatment, control = draw(setting, rng, runs)
    ready, spread = is_ready(treatment, control), dispersion(treatment, control)
    days = [
        np.diff(part, axis=1, prepend=0.0).astype(np.int64) for part in _units_and_events(treatment, control)
    ]
    log_e = np.empty((runs, HORIZON))
    for i in range(runs):
        n_t, n_c, x_t, x_c = (part[i] for part in days)
        seen = CountInference.running(
            n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, delta=float(np.log1p(MDE)), dispersion=spread[i]
        )
        log_e[i] = np.where(ready[i], seen.log_e, np.nan)
    stops = first_of(log_e >= -np.log(ALPHA))
    used = np.arange(HORIZON) < np.where(stops > 0, stops, HORIZON)[:, None]
    at_stop = spread[np.arange(runs), np.where(stops > 0, stops, HORIZON) - 1]
    n_t, n_c, x_t, x_c = (part[used] for part in days)
    effects = CountInference.of(
        owner=np.broadcast_to(np.arange(runs)[:, None], used.shape)[used],
        n_t=n_t,
        n_c=n_c,
        x_t=x_t,
        x_c=x_c,
        size=runs,
        delta=np.full(runs, np.log1p(MDE)),
        dispersion=at_stop,
    ).two_sided(np.full(runs, ALPHA))
    return misses_at(stops, effects, effect=setting.lift, lift=setting.lift)


def _units_and_events(
    treatment: Sums, control: Sums
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return treatment.n, control.n, treatment.sums[..., 0], control.sums[..., 0]


def dispersion(treatment: Sums, control: Sums) -> FloatArray:
    """Return the dispersion of a difference of two means, as `experiments.comparisons`, for arrays."""
    found = sum(
        (s.products[..., 0, 0] - s.sums[..., 0] ** 2 / np.maximum(s.n, 1.0))
        / (np.maximum(s.n - 1.0, 1.0) * np.maximum(s.n, 1.0))
        for s in (treatment, control)
    )
    n = treatment.n + control.n
    mean = (treatment.sums[..., 0] + control.sums[..., 0]) / np.maximum(n, 1.0)
    known = (mean > 0) & (np.minimum(treatment.n, control.n) >= MIN_UNITS)
    poisson = mean * (1 / np.maximum(treatment.n, 1.0) + 1 / np.maximum(control.n, 1.0))
    result: FloatArray = np.where(known, found / np.where(known, poisson, 1.0), 1.0)
    return result


def is_ready(treatment: Sums, control: Sums) -> BoolArray:
    """Return where the burn-in of `experiments.comparisons` is over: the rule there, for arrays."""
    total = treatment.sums + control.sums
    squares = np.einsum("...ii->...i", treatment.products + control.products)
    # Of covariates too: those here have as many carriers as the value, so it makes no difference.
    smaller = np.minimum(treatment.n, control.n)
    share = smaller / np.maximum(treatment.n + control.n, 1)
    carried = (total**2 / np.maximum(squares, 1e-300)).min(axis=-1) * share
    ready: BoolArray = (smaller >= BURN_IN_UNITS) & (carried >= BURN_IN_CARRIERS)
    return ready


def table(
    bench: Bench, key: str, title: str, *, rows: Iterable[tuple[str, str, Work]], chunk: int = CHUNK
) -> Report:
    """Run `rows` of (name, lift, work); tabulate misses at the stop, which without lift are false alarms."""
    report = Report(
        key,
        f"{title}: intervals at the stop that miss the truth, alpha {100 * ALPHA:g} %",
        ["data", "true lift", "difference missed", "lift missed", "ever found", "mean stopping time / n_fix"],
    )
    disagreements = 0
    for name, lift, work in rows:
        found = bench.run(f"{name}, lift {100 * LIFTS[lift]:g} %", work, chunk=chunk)
        stops = found["stops"]
        rates = [Rate(int(found[what].sum()), len(stops)) for what in ("missed_effect", "missed_lift")]
        ever = Rate(int((stops > 0).sum()), len(stops))
        mean = float(np.where(stops > 0, stops, HORIZON).mean()) / DAYS
        report.rows.append(
            [
                name,
                f"{100 * LIFTS[lift]:g} %",
                *(rate.told() for rate in rates),
                f"{100 * ever.share:.1f} %",
                f"{mean:.2f}",
            ]
        )
        for what, rate in zip(("difference", "lift"), rates, strict=True):
            report.promise(f"{what}, {name}, lift {100 * LIFTS[lift]:g} %", rate, level=ALPHA, limit=LIMIT)
        if lift == "none":
            report.promise(f"false alarms, {name}", ever, level=ALPHA, limit=LIMIT)
        disagreements += int(found["disagree"].sum())
    report.notes.append(
        f"Runs in which evidence, difference and lift did not say the same at the stop: {disagreements}."
    )
    if disagreements:
        report.violated.append(f"evidence and intervals disagree in {disagreements} runs")
    return report


def rows_of(
    kind: str, names: Iterable[str], simulate: Callable[[Setting, np.random.Generator, int], Found]
) -> Iterable[tuple[str, str, Work]]:
    """Return each population with each true lift."""
    for name in names:
        for lift, size in LIFTS.items():
            setting = Setting(kind, name, size)
            plan = f"{setting.units.name} (n_fix {n_fix(kind, name):,.0f})"
            yield plan, lift, partial(simulate, setting)


def mean_reports(bench: Bench) -> Iterable[Report]:
    """Run means without covariates."""
    rows = rows_of("mean", ("exponential", "log_normal", "revenue"), simulate_linear)
    yield table(bench, "mean_misses", "Means", rows=rows)


def ratio_reports(bench: Bench) -> Iterable[Report]:
    """Run ratios of sums."""
    yield table(bench, "ratio_misses", "Ratio", rows=rows_of("ratio", ("ratio",), simulate_linear))


def cuped_reports(bench: Bench) -> Iterable[Report]:
    """Run means adjusted for a covariate."""
    yield table(
        bench, "cuped_misses", "Adjusted mean (CUPED)", rows=rows_of("cuped", ("cuped",), simulate_linear)
    )


def count_reports(bench: Bench) -> Iterable[Report]:
    """Run counts of events, as Poisson as the test takes them to be, and not."""
    rows = rows_of("mean", ("poisson", "overdispersed"), simulate_count)
    yield table(bench, "count_misses", "Counts", rows=rows)
