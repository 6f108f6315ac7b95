"""Parts of definitions as short texts, in the words of the YAML files."""

import json
from collections.abc import Sequence
from datetime import datetime

from experiments.gates import SERVED_VALUE, LayerSlot, Prerequisite
from experiments.lifecycle import RampStep, Schedule
from experiments.notation import percent
from experiments.targeting.phrases import condition_words

MAX_WORDS = 72
GATED = " if its guardrails are in order"


def json_words(value: object) -> str:
    """Return a value as JSON, cut when it is long."""
    text = json.dumps(value, ensure_ascii=False, default=list)
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 3] + "..."


def moment_words(moment: datetime | None) -> str:
    """Return a moment of a schedule."""
    return moment.isoformat(timespec="minutes") if moment else "open"


def schedule_words(schedule: Schedule) -> str:
    """Return when a definition serves; nothing when it always does."""
    if not (schedule.start_at or schedule.end_at):
        return ""
    return f"{moment_words(schedule.start_at)} to {moment_words(schedule.end_at)}"


def slot_words(slot: LayerSlot) -> str:
    """Return a layer and the place in it."""
    return f"{slot.layer.key}, {percent(slot.start_bp)} to {percent(slot.end_bp)}"


def ramp_words(ramp: Sequence[RampStep]) -> str:
    """Return the steps of a ramp."""
    return ", ".join(
        f"{percent(step.share_bp)} from {moment_words(step.at)}{GATED * step.gated}" for step in ramp
    )


def prerequisite_words(prerequisites: Sequence[Prerequisite]) -> str:
    """Return what others must serve."""
    return ", ".join(_needed(one) for one in prerequisites)


def _needed(one: Prerequisite) -> str:
    words = condition_words(one.condition, inner=True)
    return f"{one.key} {words.removeprefix(f'{SERVED_VALUE} ')}"
