"""What was decided about a phase, for its page."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.actions import Action
from service.storage.analysis_records import RecordedDecision
from service.use_cases.verdicts import when

MOST = 20
DONE = {
    Action.NONE: "nothing",
    Action.ROLLBACK: "rolled back",
    Action.SHIP: "shipped",
    Action.RAMP_HOLD: "ramp waits",
    Action.RAMP_STEP: "ramp opened",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One line of the list."""

    at: str
    word: str
    variant: str
    done: str
    reason: str


def decided(decisions: Sequence[RecordedDecision]) -> list[Decided]:
    """Return what the page says of decisions, in their order."""
    return [
        Decided(
            at=when(one.decided_at),
            word=one.decision.replace("_", " "),
            variant=one.variant,
            done=DONE[Action(one.action)],
            reason=one.reason,
        )
        for one in decisions
    ]
