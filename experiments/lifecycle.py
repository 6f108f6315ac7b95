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
    """From `at` (aware) on, `share_bp` of the units are enrolled."""

    at: datetime
    share_bp: int


def check_ramp(ramp: Sequence[RampStep], allocation_bp: int) -> None:
    """Refuse a ramp that would take anybody out again.

    Raises
    ------
    InvalidDefinitionError
        E322 when steps are out of order or shrink, E323 when the last step is not the allocation.
    """
    for i, (one, two) in enumerate(pairwise(ramp), start=1):
        if two.at <= one.at or two.share_bp < one.share_bp:
            raise InvalidDefinitionError(
                "each step of a ramp comes later than the one before it and is at least as large",
                path=("ramp", i),
                code="E322",
            )
    if ramp and ramp[-1].share_bp != allocation_bp:
        raise InvalidDefinitionError(
            "a ramp's last step is its allocation: give one of the two", path=("ramp",), code="E323"
        )


def share_at(ramp: Sequence[RampStep], allocation_bp: int, now: datetime) -> int:
    """Return the basis points of all units that are enrolled at `now`; without a ramp always the same."""
    if not ramp:
        return allocation_bp
    return next((step.share_bp for step in reversed(ramp) if step.at <= now), 0)


def _before(start_at: datetime | None, end_at: datetime | None) -> bool:
    return start_at is None or end_at is None or start_at < end_at
