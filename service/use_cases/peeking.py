"""The peeking race: run it for a seed, count what it shows, remember it for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np

from experiments.peeking import ALPHA, Look, RacePlan, Tally, expected_false_winners, run

SEEDS = range(1, 1_001)
"""What the page runs: as few as are remembered, so that no seed is ever computed twice by one process."""
WAIT_S = 1.0

_turn = Lock()


class RaceBusyError(Exception):
    """Another seed is being computed: a page waits for one, not for a queue of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """A race that was run; arrays as in `Tally`. `expected` classical winners have shape (days,)."""

    plan: RacePlan
    seed: int
    visitors: tuple[int, ...]
    conversions: int
    classical: Tally
    ours: Tally
    expected: tuple[float, ...]

    @property
    def promised(self) -> float:
        """The most false winners that ours may have on average."""
        return ALPHA * self.plan.experiments


def looks(plan: RacePlan, seed: int) -> Iterator[Look]:
    """Run a race day by day."""
    return run(plan, np.random.default_rng(seed))


def finish(plan: RacePlan, seed: int, seen: Sequence[Look]) -> Race:
    """Count what all the looks of a race saw."""
    return Race(
        plan=plan,
        seed=seed,
        visitors=tuple(look.visitors for look in seen),
        conversions=seen[-1].conversions,
        classical=Tally.of(np.stack([look.classical for look in seen])),
        ours=Tally.of(np.stack([look.ours for look in seen])),
        expected=tuple((plan.experiments * expected_false_winners(plan.days)).tolist()),
    )


def remembered(seed: int) -> Race:
    """Return the race of the page: a third of a second the first time, then at once; one at a time.

    Raises `RaceBusyError` if another one does not end within a second.
    """
    if not _turn.acquire(timeout=WAIT_S):
        raise RaceBusyError
    try:
        return _raced(seed)
    finally:
        _turn.release()


@lru_cache(maxsize=len(SEEDS))
def _raced(seed: int) -> Race:
    plan = RacePlan()
    return finish(plan, seed, list(looks(plan, seed)))
