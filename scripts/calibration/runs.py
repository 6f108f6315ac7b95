"""Run thousands of simulated experiments in chunks on a few processes; the seed decides what comes out."""

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from experiments.inference.interval import Effects, Intervals

ALPHA = 0.05
POWER = 0.8
MDE = 0.1
LIMIT = 0.056  # what the upper 99 % bound of an error rate of 5 % may be
LIFTS = {"none": 0.0, "half MDE": MDE / 2, "MDE": MDE, "twice MDE": 2 * MDE}

Found = Mapping[str, npt.NDArray[Any]]
"""Arrays of shape (runs,), by name."""
Work = Callable[[np.random.Generator, int], Found]


@dataclass(frozen=True, slots=True)
class Bench:
    """How much is run, on which processes, from which seed.

    Attributes
    ----------
    runs : int
        Of each scenario.
    chunk : int
        Runs of one piece of work; part of what the seed means.
    """

    runs: int
    seed: int
    pool: ProcessPoolExecutor

    def run(self, label: str, work: Work, *, chunk: int = 100, runs: int | None = None) -> Found:
        """Return what `work`, which must be picklable, found in all runs."""
        wanted = self.runs if runs is None else runs
        sizes = [min(chunk, wanted - start) for start in range(0, wanted, chunk)]
        key = [self.seed, *label.encode()]
        seeds = np.random.SeedSequence(key).spawn(len(sizes))
        pieces: list[Found] = []
        with click.progressbar(length=wanted, label=f"{label:<44}", file=sys.stderr, show_pos=True) as bar:
            for size, piece in zip(
                sizes, self.pool.map(_piece, [work] * len(sizes), seeds, sizes), strict=True
            ):
                pieces.append(piece)
                bar.update(size)
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _piece(work: Work, seed: np.random.SeedSequence, runs: int) -> Found:
    return work(np.random.default_rng(seed), runs)


def first_of(crossed: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the number of the first look (from 1) that crossed, 0 for never; `crossed` is (runs, looks)."""
    looks: npt.NDArray[np.int64] = np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, 0)
    return looks


def at_stops(effects: Effects, stops: npt.NDArray[np.int64]) -> Effects:
    """Return of intervals at all looks, run by run, those where each run stopped, or at the last look."""
    runs = len(stops)
    looks = len(effects.effect.lower) // runs
    chosen = np.arange(runs) * looks + np.where(stops > 0, stops, looks) - 1
    effect, lift = (
        Intervals(found.estimate[chosen], found.lower[chosen], found.upper[chosen])
        for found in (effects.effect, effects.lift)
    )
    return Effects(effect, lift)


def misses_at(stops: npt.NDArray[np.int64], effects: Effects, *, effect: float, lift: float) -> Found:
    """Return what the intervals where runs stopped miss, and where they do not say what the evidence says."""
    return {
        "stops": stops,
        "missed_effect": _misses(effects.effect, effect),
        "missed_lift": _misses(effects.lift, lift),
        "disagree": (_excludes_zero(effects.effect) != (stops > 0))
        | (_excludes_zero(effects.lift) != (stops > 0)),
    }


def _misses(found: Intervals, truth: float) -> npt.NDArray[np.bool_]:
    """Return where an interval does not hold the truth; one that says nothing (nan) holds everything."""
    return (truth < found.lower) | (truth > found.upper)


def _excludes_zero(found: Intervals) -> npt.NDArray[np.bool_]:
    return (found.lower > 0) | (found.upper < 0)
