"""`opportune peeking`: what looking every day does to a classical p-value, and not to a verdict, live."""

import math
import sys
import textwrap
import time
from collections.abc import Iterator

import click
import numpy as np

from experiments.peeking import ALPHA, MAX_EXPERIMENTS, POWER, Look, RacePlan
from service.use_cases.peeking import Race, finish, looks

WIDTH = 100
BAR = 36  # characters, if every experiment has a winner
PACE_S = 0.15  # between days on a terminal, so that eyes can follow
MAX_DAYS = 365
MAX_VISITORS = 100_000
PLAN = RacePlan()


@click.command()
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Other visitors.")
@click.option(
    "--experiments", default=PLAN.experiments, show_default=True, type=click.IntRange(1, MAX_EXPERIMENTS)
)
@click.option("--days", default=PLAN.days, show_default=True, type=click.IntRange(1, MAX_DAYS))
@click.option(
    "--visitors",
    default=PLAN.visitors,
    show_default=True,
    type=click.IntRange(1, MAX_VISITORS),
    help="New ones on an average day.",
)
@click.option(
    "--rate",
    default=PLAN.rate,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of them that converts.",
)
def peeking(seed: int, experiments: int, days: int, visitors: int, rate: float) -> None:
    """Show what looking every day does to a p-value.

    Runs A/A experiments on one stream of simulated visitors: nothing differs, so every winner is a false one.
    After every day two methods are asked, a classical p-value and ours. Reads and writes no data of yours.
    """
    plan = RacePlan(experiments=experiments, days=days, visitors=visitors, rate=rate)
    click.echo(
        f"Experiments in which p < {ALPHA:g} was seen after that day or before, of {experiments}; seed {seed}"
    )
    click.echo(f"{'day':>4}{'visitors':>13}   {'classical':<{BAR + 5}} Opportune")
    seen: list[Look] = []
    winners = np.zeros((2, experiments), dtype=np.bool_)
    for look in looks(plan, seed):
        seen.append(look)
        winners |= np.stack([look.classical, look.ours]) < ALPHA
        classical, ours = (_bar(int(n), experiments) for n in winners.sum(axis=1))
        click.echo(f"{look.day:>4}{look.visitors:>13,}   {classical:<{BAR + 5}} {ours}")
        if sys.stdout.isatty():
            time.sleep(PACE_S)
    for paragraph in _told(finish(plan, seed, seen)):
        click.echo("\n" + textwrap.fill(paragraph, WIDTH))
    click.echo(f"\nNothing is picked: the seed is 1 unless you name one. Other visitors: --seed {seed + 1}")


def _told(race: Race) -> Iterator[str]:
    """Say what it showed: the stream, each method, and what a single look would have shown."""
    plan, last = race.plan, int(race.classical.now[-1])
    converted = race.conversions / max(race.visitors[-1], 1)
    yield (
        f"All experiments split the same {race.visitors[-1]:,} visitors, of whom {converted * 100:.1f} % "
        "converted. Their variants do not differ, so every winner is a false one."
    )
    yield (
        f"Classical p-value, looked at every day: {_winners(int(race.classical.ever[-1]))}; about "
        f"{race.expected[-1]:.3g} were to be expected. After the last day p < {ALPHA:g} in {last}: looked at "
        f"only then it would have kept its word ({race.expected[0]:.3g} to be expected)."
    )
    yield (
        f"Opportune, looked at every day: {_winners(int(race.ours.ever[-1]))}; at most {race.promised:.3g} "
        "are promised, on average over many seeds, however often one looks. Tuned to a lift of "
        f"{plan.mde * 100:.3g} %, which a single look at the end would find with power {POWER * 100:g} %."
    )


def _winners(n: int) -> str:
    return f"{n} false {'winner' if n == 1 else 'winners'}"


def _bar(n: int, of: int) -> str:
    return f"{n:>4} {'#' * math.ceil(n * BAR / of)}".rstrip()


commands: tuple[click.Command, ...] = (peeking,)
