"""Guardrails exactly at their margin, where both "worse" and "safe" would be wrong."""

from collections.abc import Iterable
from functools import partial

import numpy as np

from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.inference.interval import Intervals
from experiments.inference.linear import LinearInference
from scripts.calibration import units
from scripts.calibration.conversion import Setting as Conversion
from scripts.calibration.figures import Rate, Report
from scripts.calibration.runs import ALPHA, LIMIT, MDE, Bench, Found, first_of
from scripts.calibration.streams import DAYS, HORIZON, FloatArray, IntArray, Shares, draw_shares

MARGIN = 0.1  # relative; the true lift is minus that
# A likelihood ratio is at most about exp(z**2 / 2), whatever the alternative, so no mixture reaches 1 / alpha
# below z = 2.45. Exact bounds are computed only where z is above this.
WORTH_A_LOOK = 2.2
RATES = (0.005, 0.05, 0.5)


def simulate_mean(setting: units.Setting, rng: np.random.Generator, runs: int) -> Found:
    """Return the day on which a mean is first called worse, and safe."""
    treatment, control = units.draw(setting, rng, runs)
    seen = LinearInference.of(
        units.pairs_of(setting.kind, treatment, control),
        n_star=units.n_fix(setting.kind, setting.population),
        alpha=ALPHA,
        ready=units.is_ready(treatment, control).ravel(),
    )
    lift = seen.one_sided(np.full(seen.log_e.shape, ALPHA)).lift
    shape = (runs, HORIZON)
    return {
        "worse": first_of(lift.upper.reshape(shape) < -MARGIN),
        "safe": first_of(lift.lower.reshape(shape) > -MARGIN),
    }


def simulate_conversion(setting: Conversion, rng: np.random.Generator, runs: int) -> Found:
    """Return the day on which a conversion is first called worse, and safe."""
    shares = draw_shares(rng, shape=(runs, HORIZON), per_period=setting.n_fix / DAYS, rates=setting.rates)
    z = z_against_margin(shares)
    found = {}
    for word, worth in (("worse", z < -WORTH_A_LOOK), ("safe", z > WORTH_A_LOOK)):
        run, look = np.nonzero(worth)
        lift = bounds_at(shares, run, look, rate=setting.rate)
        called = np.zeros(z.shape, dtype=np.bool_)
        called[run, look] = lift.upper < -MARGIN if word == "worse" else lift.lower > -MARGIN
        found[word] = first_of(called)
    return found


def z_against_margin(shares: Shares) -> FloatArray:
    """Return how many standard errors the treatment's share lies above control's less the margin, so far."""
    n_t, n_c, x_t, x_c = (part.cumsum(axis=1) for part in (shares.n_t, shares.n_c, shares.x_t, shares.x_c))
    p_t, p_c = x_t / np.maximum(n_t, 1), x_c / np.maximum(n_c, 1)
    kept = 1 - MARGIN
    variance = p_t * (1 - p_t) / np.maximum(n_t, 1) + kept**2 * p_c * (1 - p_c) / np.maximum(n_c, 1)
    z: FloatArray = (p_t - kept * p_c) / np.sqrt(np.maximum(variance, 1e-300))
    return z


def bounds_at(shares: Shares, run: IntArray, look: IntArray, *, rate: float) -> Intervals:
    """Return the one-sided bounds of the lift of some runs at some looks."""
    used = np.arange(shares.n_t.shape[1]) <= look[:, None]
    seen = ConversionInference.of(
        owner=np.broadcast_to(np.arange(len(run))[:, None], used.shape)[used],
        n_t=shares.n_t[run][used],
        n_c=shares.n_c[run][used],
        x_t=shares.x_t[run][used],
        x_c=shares.x_c[run][used],
        size=len(run),
        delta=np.full(len(run), float(log_odds_of(np.array(rate), np.array(MDE)))),
    )
    return seen.one_sided(np.full(len(run), ALPHA)).lift


def reports(bench: Bench) -> Iterable[Report]:
    """Run guardrails; yield their table."""
    report = Report(
        "guardrails",
        f"Guardrails at their margin, -{100 * MARGIN:g} %: ever called either way, {100 * ALPHA:g} % each",
        ["metric", "called worse", "called safe"],
    )
    for rate in RATES:
        setting = Conversion(rate, -MARGIN)
        label = f"guardrail, conversion {100 * rate:g} %"
        _add(report, label, bench.run(label, partial(simulate_conversion, setting)))
    for kind, name in (
        ("mean", "exponential"),
        ("mean", "log_normal"),
        ("mean", "revenue"),
        ("ratio", "ratio"),
        ("cuped", "cuped"),
    ):
        mean = units.Setting(kind, name, -MARGIN)
        label = f"guardrail, {mean.units.name}"
        _add(report, label, bench.run(label, partial(simulate_mean, mean), chunk=units.CHUNK))
    yield report


def _add(report: Report, label: str, found: Found) -> None:
    cells = []
    for word in ("worse", "safe"):
        rate = Rate(int((found[word] > 0).sum()), len(found[word]))
        cells.append(rate.told())
        report.promise(f"{label}, called {word}", rate, level=ALPHA, limit=LIMIT)
    report.rows.append([label.removeprefix("guardrail, "), *cells])
