"""Seeded simulations of the conversion test, looked at every closed day: its errors, and how soon it ends."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import beta

from experiments.definitions import AnalysisPlan
from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.power import units_needed

pytestmark = pytest.mark.statistical
DAYS = 28
CHUNK = 200


def simulate(baseline: float, lift: float, *, days: int, runs: int) -> Iterator[ConversionInference]:
    """Run experiments planned for 28 days at a relative difference of 10 %, units split at random.

    Yields the looks of `CHUNK` runs at a time, run by run.
    """
    rng = np.random.default_rng(2026)
    planned = units_needed(AnalysisPlan(baseline=baseline, mde=0.1))
    until = np.rint(np.arange(days + 1) * planned / DAYS).astype(np.int64)
    a_day = until[1:] - until[:-1]
    delta = float(log_odds_of(np.array(baseline), np.array(0.1)))
    for _ in range(runs // CHUNK):
        n_t = rng.binomial(a_day, 0.5, (CHUNK, days))
        n_c = a_day - n_t
        x_t, x_c = rng.binomial(n_t, baseline * (1 + lift)), rng.binomial(n_c, baseline)
        yield ConversionInference.running(n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, delta=delta)


def upper_bound(errors: int, runs: int) -> float:
    """Return the upper end of the one-sided 99 % interval of Clopper and Pearson."""
    return float(beta.ppf(0.99, errors + 1, runs - errors))


@pytest.mark.parametrize("baseline", [0.05, 0.5])
def test_daily_looks_at_nothing_err_no_more_often_than_promised(baseline: float) -> None:
    days, runs, errors = 2 * DAYS, 2000, 0
    for looks in simulate(baseline, 0.0, days=days, runs=runs):
        errors += int((looks.log_e >= np.log(20)).reshape(CHUNK, days).any(axis=1).sum())

    assert upper_bound(errors, runs) <= 0.056


@pytest.mark.parametrize("baseline", [0.05, 0.5])
def test_the_planned_difference_is_found_in_more_than_half_of_runs_and_seldom_missed(baseline: float) -> None:
    runs, found, missed, lasted = 1000, 0, 0, 0.0
    for looks in simulate(baseline, 0.1, days=DAYS, runs=runs):
        rejected = (looks.log_e >= np.log(20)).reshape(CHUNK, DAYS)
        found += int(rejected.any(axis=1).sum())
        lasted += np.where(rejected.any(axis=1), rejected.argmax(axis=1) + 1, DAYS).sum() / DAYS
        lift = looks.two_sided(np.full(rejected.size, 0.05)).lift
        missed += int(((lift.lower > 0.1) | (lift.upper < 0.1)).reshape(CHUNK, DAYS).any(axis=1).sum())

    # The Brownian limit: .574 found, after .780 of the planned time on average.
    assert found / runs >= 0.574 - 3 * np.sqrt(0.25 / runs)
    assert lasted / runs <= 0.780 + 3 * 0.3 / np.sqrt(runs)
    assert upper_bound(missed, runs) <= 0.056


@pytest.mark.parametrize(
    ("control", "treatment", "a_day", "mde"),
    [(0.8, 0.95, 20, 0.15), (0.5, 0.9, 10, 0.99), (0.8, 0.4, 20, 0.5)],
)
def test_the_ends_of_a_large_effect_on_few_units_miss_seldom(
    control: float, treatment: float, a_day: int, mde: float
) -> None:
    rng, runs, days = np.random.default_rng(5), 300, 14
    units = np.full((runs, days), a_day)
    x_t, x_c = rng.binomial(units, treatment), rng.binomial(units, control)
    delta = float(log_odds_of(np.array(control), np.array(mde)))
    looks = ConversionInference.running(n_t=units, n_c=units, x_t=x_t, x_c=x_c, delta=delta)
    found, truth = looks.one_sided(np.full(units.size, 0.05)), treatment - control

    for one, true in ((found.effect, truth), (found.lift, truth / control)):
        for missed in (one.lower > true, one.upper < true):
            assert missed.reshape(runs, days).any(axis=1).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
