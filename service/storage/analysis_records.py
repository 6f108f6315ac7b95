"""What the worker keeps beside verdicts: decisions, messages, leases, the values of goals."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What rules decided about the units of one phase.

    Attributes
    ----------
    shipped : str
        The variant that everybody gets whom the experiment would enrol or not; empty: as assigned.
    ramp_steps : int or None
        How many steps of its ramp may open when their time comes; None: those before the first gate.
    ramp_share_bp : int or None
        The share of the last gate that was opened: after an edit of the ramp it tells which gates are open.
    shipped_since, shipped_until : datetime or None
        When a variant was shipped last, whichever it was; until None: it still is.
    """

    experiment: str
    phase: int
    shipped: str = ""
    ramp_steps: int | None = None
    ramp_share_bp: int | None = None
    shipped_since: datetime | None = field(default=None, compare=False)
    shipped_until: datetime | None = field(default=None, compare=False)
    changed_by: str = ""
    changed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """A change of what is decided about a phase; `number` counts from 1, `verdict` is its snapshot's number.

    `action` is what was done: none, rollback, ship, ramp_hold or ramp_step; `reason` says why, in a sentence.
    """

    experiment: str
    phase: int
    number: int
    verdict: int
    revision: int
    decision: str
    variant: str
    rule: str
    action: str
    reason: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """One message to one endpoint of the catalog; `payload` is the body, byte for byte, of every attempt.

    `next_at` is None once it was delivered or given up; `problem` is what the last attempt met.
    """

    message_id: str
    endpoint: str
    payload: str
    created_at: datetime
    attempts: int = 0
    next_at: datetime | None = None
    delivered_at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision with all that happens in the same transaction: whom it tells, what is served from then on.

    `ships`, `ramp_steps` and `ramp_share_bp` become those of the phase's `Steering`, None leaves them as they
    are. `live_version` is the version of the live state that it was made on; None: it does not matter.
    """

    decision: RecordedDecision
    messages: tuple[OutboxMessage, ...] = ()
    kills: bool = False
    ships: str | None = None
    ramp_steps: int | None = None
    ramp_share_bp: int | None = None
    live_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to do a duty until `expires_at`; a later holder's `fence` is larger."""

    name: str
    holder: str
    fence: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalValue:
    """The metric of a goal on one UTC day (ISO): `sums` is JSON, `digest` is of the definition."""

    goal: str
    day: str
    digest: str
    sums: str
