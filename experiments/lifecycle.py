"""When a definition is served and to how many: its status, its schedule and the steps of its ramp."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from experiments.errors import InvalidDefinitionError

TOTAL_BP = 10_000


class Status(StrEnum):
    """Where a definition is in its life."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Aware times between which a scheduled or running definition serves; None is open."""

    start_at: datetime | None = None
    end_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.start_at and self.end_at and self.end_at <= self.start_at:
            raise InvalidDefinitionError(
                "the schedule ends before it starts", path=("schedule", "end"), code="E321"
            )

    def is_open(self, now: datetime) -> bool:
        """Return whether `now` lies inside: from the start on, until just before the end."""
        return (self.start_at is None or now >= self.start_at) and (self.end_at is None or now < self.end_at)

    def overlaps(self, other: "Schedule") -> bool:
        """Return whether there is a moment at which both are open."""
        return _before(self.start_at, other.end_at) and _before(other.start_at, self.end_at)


@dataclass(frozen=True, slots=True)
class RampStep:
    """From `at` (aware) on, `share_bp` of the units are enrolled.

    A gated step, and every one after it, also waits until somebody who has seen the guardrails opens it.
    """

    at: datetime
    share_bp: int
    gated: bool = False


def check_ramp(ramp: Sequence[RampStep], allocation_bp: int, *, guarded: bool = False) -> None:
    """Refuse a ramp that would take anybody out again, or that nobody could ever open.

    Raises
    ------
    InvalidDefinitionError
        E322 when steps are out of order or shrink, E323 when the last step is not the allocation, E326 when
        a gate is before anybody, E327 when there is a gate and no guardrail (`guarded`).
    """
    for i, (one, two) in enumerate(pairwise(ramp), start=1):
        if two.at <= one.at or two.share_bp < one.share_bp:
            raise InvalidDefinitionError(
                "each step of a ramp comes later than the one before it and is at least as large",
                path=("ramp", i),
                code="E322",
            )
    gate = next((i for i, step in enumerate(ramp) if step.gated), None)
    if gate is not None and not guarded:
        raise InvalidDefinitionError(
            "the step waits for guardrails, and there are none",
            path=("ramp", gate, "if"),
            code="E327",
            hint="name guardrails under 'metrics', or remove 'if'",
        )
    if gate is not None and not (gate and ramp[gate - 1].share_bp):
        raise InvalidDefinitionError(
            "nobody takes part before this step, so its guardrails would never speak",
            path=("ramp", gate, "if"),
            code="E326",
            hint="remove 'if', or let a step before it have a share",
        )
    if ramp and ramp[-1].share_bp != allocation_bp:
        raise InvalidDefinitionError(
            "a ramp's last step is its allocation: give one of the two", path=("ramp",), code="E323"
        )


def unlocked(ramp: Sequence[RampStep], limit: int | None) -> Sequence[RampStep]:
    """Return the steps that open when their time comes, nothing else needed.

    Parameters
    ----------
    ramp : sequence of RampStep
        In order.
    limit : int or None
        How many steps may open; None is those before the first gated one.

    Returns
    -------
    sequence of RampStep
        The first ones of `ramp`.

    Examples
    --------
    >>> from datetime import UTC
    >>> steps = (RampStep(datetime(2027, 1, 1, tzinfo=UTC), 1000), RampStep(datetime.max, 10_000, gated=True))
    >>> len(unlocked(steps, None)), len(unlocked(steps, 2))
    (1, 2)
    """
    if limit is None:
        limit = next((i for i, step in enumerate(ramp) if step.gated), len(ramp))
    return ramp[:limit]


def limit_of(ramp: Sequence[RampStep], steps: int | None, share_bp: int | None) -> int | None:
    """Return how many steps of a ramp may open by the gates opened so far, whatever was edited since.

    Parameters
    ----------
    ramp : sequence of RampStep
        As it is now.
    steps : int or None
        How many steps could open when the last gate was opened; None: none was.
    share_bp : int or None
        The share of that gate. A gate with a larger one waits for its own decision, wherever it stands now;
        None: those at the place `steps` and after it wait.

    Returns
    -------
    int or None
        The limit that `unlocked` takes. What asks nothing needs no gate: without gates all steps may open.

    Examples
    --------
    >>> from datetime import UTC
    >>> start = datetime(2027, 1, 1, tzinfo=UTC)
    >>> limit_of((RampStep(start, 5_000), RampStep(datetime.max, 10_000, gated=True)), 2, 5_000)
    1
    >>> limit_of((RampStep(start, 5_000), RampStep(datetime.max, 10_000)), 1, 5_000)
    2
    """
    if steps is None and share_bp is None:
        return None
    if share_bp is not None:
        return next((i for i, step in enumerate(ramp) if step.gated and step.share_bp > share_bp), len(ramp))
    least = steps or 0
    return max(least, next((i for i, step in enumerate(ramp) if step.gated and i >= least), len(ramp)))


def open_steps(ramp: Sequence[RampStep], limit: int | None, now: datetime) -> int:
    """Return how many steps are open at `now`: unlocked, and their time has come."""
    return sum(step.at <= now for step in unlocked(ramp, limit))


def opened_by(ramp: Sequence[RampStep], limit: int | None, now: datetime) -> int | None:
    """Return the limit that opens the gate whose time has come, or None when no gate waits for an answer.

    Steps after the gate that ask nothing open with it, each when its own time comes.
    """
    n = len(unlocked(ramp, limit))
    if n == len(ramp) or not ramp[n].gated or ramp[n].at > now:
        return None
    return next((i for i in range(n + 1, len(ramp)) if ramp[i].gated), len(ramp))


def share_at(ramp: Sequence[RampStep], allocation_bp: int, now: datetime, *, limit: int | None = None) -> int:
    """Return the basis points of all units that are enrolled at `now`; without a ramp always the same."""
    if not ramp:
        return allocation_bp
    n = open_steps(ramp, limit, now)
    return ramp[n - 1].share_bp if n else 0


def _before(start_at: datetime | None, end_at: datetime | None) -> bool:
    return start_at is None or end_at is None or start_at < end_at
