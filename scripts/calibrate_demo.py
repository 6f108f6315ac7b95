"""Check the promises of the demo's verdict on many seeds: false alarms under A/A, coverage of planted lifts.

Same people as scripts/simulate.py, same judge as the worker, no HTTP: hundreds of whole experiments with a
look on every simulated day. Exit 1 when a bound is violated. Usage: python scripts/calibrate_demo.py --help
"""

import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import numpy as np
from scipy import stats

from experiments.assignment import variant_of
from experiments.definitions import Catalog, Experiment, Metric
from experiments.sequential import fixed_horizon_p_value
from experiments.verdict import judge
from service.catalog import load, read_folder
from service.settings import DEMO_CATALOG
from service.use_cases.demo_data import DAYS, read_orders
from service.use_cases.demo_evidence import Scene, Stream
from service.use_cases.demo_people import People, World

ALARM_CONFIDENCE = 0.99
# At 400 seeds and alpha 0.05 this asks for 366 covered ones.
MISS_CONFIDENCE = 0.998


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every seed runs."""

    experiment: Experiment
    metrics: tuple[Metric, ...]
    n_people: int
    n_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One seed: what the judge decided first, if its intervals held the truth, what a naive reader saw."""

    stopped: str
    stopped_day: int
    covered_at_stop: bool
    covered_at_end: bool
    naive_win: bool
    naive_loss: bool


@click.command()
@click.option(
    "--experiment", "key", default="", help="Key in examples/shop; default: the first by name that fits."
)
@click.option("--seeds", default=400, show_default=True, type=click.IntRange(min=1))
@click.option("--people", default=20_000, show_default=True, type=click.IntRange(min=100))
@click.option("--days", default=DAYS, show_default=True, type=click.IntRange(8, DAYS))
@click.option("--lift", default=0.25, show_default=True, help="Planted lift of the second half.")
@click.option("--first-seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("--processes", default=2, show_default=True, type=click.IntRange(min=1))
def main(**options: Any) -> None:  # noqa: ANN401 - click passes options by name
    """Run SEEDS A/A experiments and SEEDS with a planted lift; print what the judge got wrong."""
    plan = make_plan(options["key"], n_people=options["people"], n_days=options["days"])
    alpha = plan.experiment.analysis.alpha
    click.echo(
        f"Experiment {plan.experiment.key}: {plan.n_people:,} people, {plan.n_days} days, a look every day, "
        f"alpha {alpha:g} (two-sided: ship is the upper half, rollback the lower)"
    )
    seeds = range(options["first_seed"], options["first_seed"] + options["seeds"])
    started = time.monotonic()
    with ProcessPoolExecutor(options["processes"]) as pool:
        aa = run_seeds(pool, seeds, plan=plan, lift=0.0)
        planted = run_seeds(pool, seeds, plan=plan, lift=options["lift"])
    good = report_aa(aa, alpha) & report_planted(planted, alpha, lift=options["lift"])
    click.echo(f"{'All bounds hold' if good else 'A BOUND IS VIOLATED'} ({time.monotonic() - started:.0f} s)")
    sys.exit(0 if good else 1)


def make_plan(key: str, *, n_people: int, n_days: int) -> Plan:
    """Read the experiment as it is served: from the demo catalog."""
    catalog = load(read_folder(DEMO_CATALOG)).catalog
    experiment = catalog.experiments[key] if key else first_that_fits(catalog)
    metrics = tuple(catalog.metrics[m] for m in experiment.metrics.keys())  # noqa: SIM118 - not a mapping
    return Plan(experiment=experiment, metrics=metrics, n_people=n_people, n_days=n_days)


def first_that_fits(catalog: Catalog) -> Experiment:
    """Return the first experiment whose metrics need nothing but orders and refunds."""
    known = {"Order Completed", "Order Refunded"}
    for _, experiment in sorted(catalog.experiments.items()):
        metrics = [catalog.metrics[m] for m in experiment.metrics.keys()]  # noqa: SIM118 - not a mapping
        if all(m.event in known and not m.where for m in metrics):
            return experiment
    raise click.ClickException("no experiment of the demo catalog can be computed from orders alone")


def run_seeds(pool: ProcessPoolExecutor, seeds: Sequence[int], *, plan: Plan, lift: float) -> list[Outcome]:
    """Run every seed, with a progress bar."""
    label = f"{'A/A' if lift == 0 else f'lift {lift:+.0%}'} "
    found: list[Outcome] = []
    with click.progressbar(length=len(seeds), label=label, file=sys.stderr) as bar:
        for outcome in pool.map(partial(run_seed, plan=plan, lift=lift), seeds, chunksize=2):
            found.append(outcome)
            bar.update(1)
    return found


_WORLD: list[World] = []


def run_seed(seed: int, *, plan: Plan, lift: float) -> Outcome:
    """Live one experiment and look at it at the end of every simulated day."""
    stream = draw_stream(seed, plan=plan, lift=lift)
    metrics = {m.key: m for m in plan.metrics}
    stopped, stopped_day, covered_at_stop = "", 0, False
    naive_win = naive_loss = False
    for day in range(1, plan.n_days + 1):
        verdict = judge(plan.experiment, metrics, stream.evidence(day)).members()
        z = naive_z(stream, day)
        if fixed_horizon_p_value(z) < plan.experiment.analysis.alpha:
            naive_win, naive_loss = naive_win or z > 0, naive_loss or z < 0
        if not stopped and verdict["decision"] in ("ship", "rollback"):
            stopped, stopped_day = str(verdict["decision"]), day
            covered_at_stop = covers(verdict, plan.experiment.metrics.primary, lift)
    covered_at_end = covers(verdict, plan.experiment.metrics.primary, lift)
    return Outcome(
        stopped=stopped,
        stopped_day=stopped_day,
        # Who never decides stops when time is up.
        covered_at_stop=covered_at_stop if stopped else covered_at_end,
        covered_at_end=covered_at_end,
        naive_win=naive_win,
        naive_loss=naive_loss,
    )


def draw_stream(seed: int, *, plan: Plan, lift: float) -> Stream:
    """Draw people, assign them by the real hash and let them live."""
    if not _WORLD:
        _WORLD.append(World.of(read_orders()))
    world = _WORLD[0]
    people = People.draw(world, n_people=plan.n_people, n_days=plan.n_days, seed=seed)
    places: dict[str | None, int] = {v.key: i for i, v in enumerate(plan.experiment.variants)}
    assigned = (variant_of(plan.experiment, unit_id) for unit_id in people.ids)
    variant = np.fromiter((places.get(key, -1) for key in assigned), np.int64, len(people))
    return Scene.of(world, people, variant=variant, lift=lift).stream(plan.experiment, plan.metrics)


def covers(verdict: dict[str, Any], primary: str, lift: float) -> bool:
    """Tell whether the primary metric's interval of the lift holds `lift`; a missing bound is infinite."""
    row = next(
        m for m in verdict["metrics"] if m["metric"] == primary and m["role"] == "primary" and m["lift"]
    )
    low, high = row["lift"]["lower"], row["lift"]["upper"]
    return (low is None or low <= lift) and (high is None or lift <= high)


def naive_z(stream: Stream, day: int) -> float:
    """Return the z of the textbook two-sample test for proportions, which may be looked at only once."""
    (x_control, n_control), (x_treatment, n_treatment) = stream.primary_totals(day)[:2]
    if not n_control or not n_treatment:
        return 0.0
    pooled = (x_control + x_treatment) / (n_control + n_treatment)
    variance = pooled * (1 - pooled) * (1 / n_control + 1 / n_treatment)
    return (x_treatment / n_treatment - x_control / n_control) / math.sqrt(variance) if variance > 0 else 0.0


def report_aa(outcomes: Sequence[Outcome], alpha: float) -> bool:
    """Print the false alarms of the A/A seeds; tell whether the bounds hold."""
    n = len(outcomes)
    ships = sum(o.stopped == "ship" for o in outcomes)
    rollbacks = sum(o.stopped == "rollback" for o in outcomes)
    naive = sum(o.naive_win or o.naive_loss for o in outcomes)
    bound_one, bound_two = upper_bound(n, alpha / 2), upper_bound(n, alpha)
    good = ships <= bound_one and ships + rollbacks <= bound_two
    click.echo(f"\nA/A, {n} seeds: nothing is planted, so every decision is wrong")
    click.echo(f"  false ship               {ships:4d}   99 % binomial bound at alpha/2: {bound_one}")
    click.echo(
        f"  false ship or rollback   {ships + rollbacks:4d}   99 % binomial bound at alpha:   {bound_two}"
    )
    click.echo(f"  classical p < alpha, looked at every day: {naive} ({naive / n:.1%}) of the same streams")
    click.echo(f"    of these in the winning direction:      {sum(o.naive_win for o in outcomes)}")
    click.echo(f"  interval covers 0: at the end {sum(o.covered_at_end for o in outcomes)}")
    return good


def report_planted(outcomes: Sequence[Outcome], alpha: float, *, lift: float) -> bool:
    """Print power and coverage of the planted seeds; tell whether the bounds hold."""
    n = len(outcomes)
    least = n - upper_bound(n, alpha, confidence=MISS_CONFIDENCE)
    at_end, at_stop = (
        sum(getattr(o, name) for o in outcomes) for name in ("covered_at_end", "covered_at_stop")
    )
    wanted = "ship" if lift > 0 else "rollback"
    days = sorted(o.stopped_day for o in outcomes if o.stopped == wanted)
    click.echo(f"\nPlanted lift {lift:+.0%}, {n} seeds")
    if days:
        click.echo(
            f"  {wanted:<24} {len(days):4d}   {len(days) / n:.0%} of the seeds, on day "
            f"{days[len(days) // 2]} in the median"
        )
    undecided = sum(not o.stopped for o in outcomes)
    click.echo(f"  no decision in time      {undecided:4d}   {undecided / n:.0%} of the seeds")
    click.echo(f"  covered at the stop      {at_stop:4d}   at least {least} wanted")
    click.echo(f"  covered at the end       {at_end:4d}   at least {least} wanted")
    return bool(min(at_end, at_stop) >= least)


def upper_bound(n: int, rate: float, *, confidence: float = ALARM_CONFIDENCE) -> int:
    """Return the largest count that a true `rate` explains."""
    return int(stats.binom.ppf(confidence, n, rate))


if __name__ == "__main__":
    main()
