"""What use cases may ask of a store about the analysis and what it leads to; see `service.storage.ports`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from service.storage.analysis_records import (
    Change,
    GoalValue,
    Lease,
    OutboxMessage,
    RecordedDecision,
    Steering,
)


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


class Decisions(Protocol):
    """What was decided about phases: appended, never changed."""

    def record_decision(self, change: Change) -> bool:
        """Append a decision, put its messages and change what is served, all of it in one transaction.

        False, and nothing is written, unless its number follows that of the phase's last decision and the
        live state still has the version that it was made on: somebody has acted meanwhile, and deciding again
        tells whether anything is left to do.
        """
        ...

    def decisions(
        self,
        experiment: str = "",
        *,
        phase: int | None = None,
        limit: int = 100,
        but: Collection[str] = (),
    ) -> Sequence[RecordedDecision]:
        """Return up to `limit` newest decisions, newest first: of all experiments, of one, of its phase.

        Those whose action is one of `but` are left out, however many they are.
        """
        ...

    def decision(self, experiment: str, phase: int, number: int) -> RecordedDecision | None:
        """Return one decision, or None."""
        ...


class Outbox(Protocol):
    """Messages on their way to endpoints of the catalog: each is delivered at least once, or given up."""

    def put_messages(self, messages: Sequence[OutboxMessage]) -> None:
        """Put messages by themselves; an id that is there for the same endpoint stays as it is.

        To an endpoint that was disabled they are put as given up.
        """
        ...

    def take_messages(self, *, now: datetime, until: datetime, limit: int) -> Sequence[OutboxMessage]:
        """Return messages that are due, oldest first, and keep them from other senders until `until`.

        Whoever takes one and dies before `settle_message` leaves it to the next sender, with the same id.
        """
        ...

    def settle_message(self, message: OutboxMessage) -> None:
        """Write down what came of an attempt; what was delivered stays delivered."""
        ...

    def disable_endpoint(self, endpoint: str) -> int:
        """Give up every message that waits for an endpoint, and those still to come; return how many wait."""
        ...

    def enable_endpoint(self, endpoint: str, *, now: datetime) -> int:
        """Send to an endpoint again, beginning with what was held back; return how many those were."""
        ...

    def retry_message(self, message_id: str, *, now: datetime) -> int:
        """Make a message due that was not delivered, to each of its endpoints; return how many those are."""
        ...

    def messages(self, *, endpoint: str = "", limit: int = 100) -> Sequence[OutboxMessage]:
        """Return up to `limit` newest messages, newest first."""
        ...

    def outbox_counts(self) -> Mapping[str, int]:
        """Return how many messages were ``delivered``, are ``waiting``, and were ``given_up``."""
        ...


class Leases(Protocol):
    """Who may do what only one process may do; `now` is the clock of the database unless it is said."""

    def acquire_lease(
        self, name: str, holder: str, *, ttl: timedelta, now: datetime | None = None
    ) -> Lease | None:
        """Give the lease to `holder` if it is free, has expired or is the holder's already; else None.

        The fence grows whenever the holder is another one than before.
        """
        ...

    def renew_lease(self, lease: Lease, *, ttl: timedelta, now: datetime | None = None) -> Lease | None:
        """Let it last for `ttl` from now; None when somebody else has got it since."""
        ...

    def release_lease(self, lease: Lease) -> None:
        """Let the next one have it at once; nothing happens when somebody else has got it already."""
        ...
