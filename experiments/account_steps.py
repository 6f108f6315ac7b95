"""The gates of an account that look at buckets, and what every gate has to say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from experiments.allocation import Definition, bucket_ranges, passages
from experiments.hashing import bucket, bucket_v1
from experiments.lifecycle import TOTAL_BP

NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One gate.

    Attributes
    ----------
    gate : str
        killed, status, override, schedule, prerequisite, audience, unit, holdout, layer, allocation; of what
        is shipped, ``shipped`` in the place of the last two.
    passed : bool or None
        Whether the unit goes on; None when the gate needs an id and there is none.
    decision : str
        What it decides for who does not pass; for who matches an override, ``override``.
    detail : str
        What was looked at and seen, in words.
    change : str
        What would have to be otherwise for the unit to pass; empty if it passes.
    facts : mapping of str to JSON
        The numbers and values behind the words.
    """

    gate: str
    passed: bool | None
    decision: str
    detail: str
    change: str = ""
    facts: Mapping[str, object] = field(default_factory=lambda: NOTHING)


def passage_steps(definition: Definition, unit_id: str | None) -> Iterator[Step]:
    """Yield what the holdout and the layer of a definition say of a unit."""
    for passage in passages(definition):
        gate = "holdout" if passage.decision == "holdout" else "layer"
        number = None
        if unit_id is not None:
            hashed = bucket_v1 if passage.hash_version == 1 else bucket
            number = hashed(passage.salt, unit_id)
        passed = None if number is None else passage.start <= number < passage.end
        name = passage.name
        place = f"its place is {_range(passage.start, passage.end)}"
        change = "" if passed or passed is None else f"another {definition.unit}, or another share of {name}"
        yield Step(
            gate=gate,
            passed=passed,
            decision=passage.decision,
            detail=f"{name}: {_number(number, passage.salt)}; {place}",
            change=change,
            facts={
                "name": name,
                "bucket": number,
                "salt": passage.salt,
                "from": passage.start,
                "to": passage.end,
            },
        )


def allocation_step(one: Definition, unit_id: str | None, now: datetime) -> Step:
    """Return what the share of a definition says of a unit at a moment."""
    share = one.share_at(now)
    number = None if unit_id is None else bucket(one.salt, unit_id)
    ranges = bucket_ranges(one, share_bp=share)
    owner = next((key for start, end, key in ranges if number is not None and start <= number < end), None)
    places = ", ".join(f"{_range(start, end)} {key}" for start, end, key in ranges if end > start) or "none"
    ramp = " by its ramp" if one.ramp else ""
    return Step(
        gate="allocation",
        passed=None if number is None else owner is not None,
        decision="not_in_allocation",
        detail=f"{_number(number, one.salt)}; enrolled are {places} (share {share / 100:g}%{ramp})",
        change="" if number is None or owner is not None else _room(one, number),
        facts={
            "bucket": number,
            "salt": one.salt,
            "share": share / TOTAL_BP,
            "ranges": [{"variant": key, "from": start, "to": end} for start, end, key in ranges],
            "variant": owner,
        },
    )


def _room(one: Definition, number: int) -> str:
    """Return from which share on a bucket is enrolled."""
    start, weight, key = next(
        (start, end - start, key)
        for start, end, key in bucket_ranges(one, share_bp=TOTAL_BP)
        if start <= number < end
    )
    needed = -(-(number - start + 1) * TOTAL_BP // weight)
    place = next((i for i, step in enumerate(one.ramp) if step.share_bp >= needed), None)
    when = "" if place is None else f"; its ramp gets there {_opening(one, place)}"
    return f"a share of {needed / 100:g}% or more: then it gets {key!r}{when}"


def _opening(one: Definition, place: int) -> str:
    """Return when a step of a ramp that is not open yet will be."""
    waits = " or later, once its guardrails are found in order" if place >= len(one.timed_steps) else ""
    return f"at {moment_words(one.ramp[place].at)}{waits}"


def _number(number: int | None, salt: str) -> str:
    return f"no bucket without an id (salt {salt})" if number is None else f"bucket {number} of {salt}"


def _range(start: int, end: int) -> str:
    return f"{start}-{end - 1}" if end > start else "no bucket"


def moment_words(at: datetime | None) -> str:
    """Return a moment as it is written; nothing for none."""
    return "" if at is None else at.isoformat()
