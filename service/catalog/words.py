"""Parts of definitions as short texts, in the words of the YAML files."""

import json
from collections.abc import Sequence
from datetime import datetime

from experiments.gates import SERVED_VALUE, LayerSlot, Prerequisite
from experiments.lifecycle import RampStep, Schedule
from experiments.targeting import All, Any_, AudienceRef, Behaviour, Condition, Inside, Leaf, Not

MAX_WORDS = 72
UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def condition_words(condition: Condition, *, inner: bool = False) -> str:
    """Return a condition as one line of plain words."""
    match condition:
        case All(found):
            return _joined(found, " and ", inner=inner) or "everybody"
        case Any_(found):
            return _joined(found, " or ", inner=inner)
        case Not(part):
            return f"not {condition_words(part, inner=True)}"
        case AudienceRef(name):
            return f"audience {name}"
        case Inside(attribute, op, part):
            return f"{attribute} {op} {condition_words(part, inner=True)}"
        case Behaviour():
            return _behaviour_words(condition)
        case Leaf(attribute, op, operand):
            return f"{attribute} {op} {json_words(operand)}".lstrip()


def _joined(parts: Sequence[Condition], word: str, *, inner: bool) -> str:
    text = word.join(condition_words(part, inner=True) for part in parts)
    return f"({text})" if inner and len(parts) > 1 else text


def _behaviour_words(fact: Behaviour) -> str:
    if fact.measure == "sum":
        text = f"sum of {fact.property} in {fact.event} at least {fact.at_least:g}"
    else:
        text = fact.event if fact.at_least == 1 else f"{fact.event} at least {fact.at_least:,} times"
    where = " and ".join(f"{name} = {json_words(value)}" for name, value in fact.where)
    within = f" within {duration_words(fact.within_s)}" if fact.within_s else ""
    return f"did ({text}{f' where {where}' if where else ''}{within})"


def json_words(value: object) -> str:
    """Return a value as JSON, cut when it is long."""
    text = json.dumps(value, ensure_ascii=False, default=list)
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 3] + "..."


def percent(basis_points: int) -> str:
    """Return basis points as a percentage."""
    return f"{basis_points / 100:g}%"


def duration_words(seconds: int) -> str:
    """Return seconds in the largest unit that fits, in the form that the catalog reads."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


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
    return ", ".join(f"{percent(step.share_bp)} from {moment_words(step.at)}" for step in ramp)


def prerequisite_words(prerequisites: Sequence[Prerequisite]) -> str:
    """Return what others must serve."""
    return ", ".join(_needed(one) for one in prerequisites)


def _needed(one: Prerequisite) -> str:
    words = condition_words(one.condition, inner=True)
    return f"{one.key} {words.removeprefix(f'{SERVED_VALUE} ')}"
