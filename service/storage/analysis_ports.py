"""What use cases may ask of a store about the analysis and what it leads to; see `service.storage.ports`."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from service.storage.analysis_records import GoalValue, Steering


class Steerings(Protocol):
    """What rules or people decided about phases while they ran; `live_state` holds all of it."""

    def put_steering(self, steering: Steering, *, by: str, now: datetime) -> bool:
        """Say what holds for the units of a phase from now on; return whether it is anything new.

        What holds already is not written again: it keeps who decided it, and when.
        """
        ...

    def ship(self, experiment: str, phase: int, variant: str, *, by: str, now: datetime) -> bool:
        """Give all units of a phase one variant, or none (empty); return whether that is anything new.

        The steps of its ramp stay as open as they are.
        """
        ...

    def clear_steering(self, experiment: str, phase: int) -> bool:
        """Let the catalog alone decide about a phase again; return whether anything else did."""
        ...

    def steerings(self) -> Sequence[Steering]:
        """Return what is decided of all phases, in order of experiment and phase."""
        ...


class Goals(Protocol):
    """The values of goals' metrics by day."""

    def put_goal_values(self, values: Sequence[GoalValue]) -> None:
        """Store values; one of the same goal and day is replaced."""
        ...

    def goal_values(self, goals: Collection[str], *, since: str) -> Sequence[GoalValue]:
        """Return the values of these goals from the day `since` on, by goal, then by day."""
        ...
