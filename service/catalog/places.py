"""Do definitions leave room for one another? Places in a layer, units, and what they are hashed with."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.definitions import Experiment, Flag
from experiments.gates import LayerSlot
from experiments.lifecycle import TOTAL_BP, Schedule, Status
from service.catalog.fields import Said

MAX_GAPS = 5
MAX_HINTS = 20
OUR_HASH = 2
MAY_SERVE = frozenset({Status.SCHEDULED, Status.RUNNING, Status.PAUSED})
COLLECTION_OF = {"experiment": "experiments", "flag": "flags"}

Told = tuple[Any, tuple[str | int, ...], Said]


@dataclass(frozen=True, slots=True)
class Member:
    """An experiment or flag, and where it is written."""

    source: Any
    value: Experiment | Flag


def check(
    definitions: Iterable[Any], parts: Mapping[str, Mapping[str, Any]], keeps: Collection[str]
) -> Iterator[Told]:
    """Yield what does not fit: which, where inside it, and what to say; `keeps` are not told to move."""
    declared = list(definitions)
    members: dict[str, Member] = {}
    for source in declared:
        value = parts.get(COLLECTION_OF.get(source.kind, source.kind), {}).get(source.key)
        if isinstance(value, Experiment | Flag):
            members.setdefault(source.key, Member(source, value))
    yield from _units(members.values(), parts)
    yield from _overlaps(sorted(members.values(), key=lambda one: one.value.key not in keeps))
    yield from _salts(declared, members, parts)


def _units(members: Iterable[Member], parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Told]:
    """Yield members whose unit is not that of their layer or holdout."""
    for member in members:
        value = member.value
        gates = [
            ("layer", ("layer", "name"), parts["layers"].get(value.layer.layer.key) if value.layer else None),
            ("holdout", ("holdout",), parts["holdouts"].get(value.holdout.key) if value.holdout else None),
        ]
        for noun, path, gate in gates:
            if gate is not None and gate.unit != value.unit:
                message = f"{noun} '{gate.key}' splits by {gate.unit}, this definition by {value.unit}"
                hint = f"write 'unit: {gate.unit}', or use a {noun} of {value.unit}"
                yield member.source, path, Said("E412", message, hint)


# --- places in a layer


@dataclass(frozen=True, slots=True)
class Claim:
    """A place that a member wants while its schedule is open."""

    member: Member
    slot: LayerSlot

    @property
    def schedule(self) -> Schedule:
        """When."""
        return self.member.value.schedule


def _overlaps(members: Iterable[Member]) -> Iterator[Told]:
    """Yield the later one of two members that would enrol the same units."""
    layers: dict[str, list[Claim]] = defaultdict(list)
    for member in members:
        slot = member.value.layer
        if slot is not None and member.value.status in MAY_SERVE:
            layers[slot.layer.key].append(Claim(member, slot))
    for name, claims in layers.items():
        for i, (claim, other) in enumerate(_conflicts(claims)):
            hint = _room(claim, claims) if i < MAX_HINTS else "mend the first ones"
            message = (
                f"the place {_place(claim.slot)} of layer '{name}' is taken: "
                f"'{other.member.value.key}' ({other.member.source.file}) has {_place(other.slot)}"
            )
            yield claim.member.source, ("layer", "from"), Said("E411", message, hint)


@dataclass(slots=True)
class Taken:
    """The ranges of a layer that members of one schedule have taken, in order, and who was first."""

    spans: list[tuple[int, int, Claim]] = field(default_factory=list)

    def owner(self, slot: LayerSlot) -> Claim | None:
        """Return who has the first taken bucket of a place."""
        beside = self.spans[self._first_beyond(slot.start_bp) :][:1]
        return next((claim for start, _end, claim in beside if start < slot.end_bp), None)

    def take(self, claim: Claim) -> None:
        """Give those buckets of the place that are free."""
        reached, end_bp = claim.slot.start_bp, claim.slot.end_bp
        first = last = self._first_beyond(reached)
        found: list[tuple[int, int, Claim]] = []
        while last < len(self.spans) and self.spans[last][0] < end_bp:
            start, end, _owner = span = self.spans[last]
            if reached < start:
                found.append((reached, start, claim))
            found.append(span)
            reached = end
            last += 1
        if reached < end_bp:
            found.append((reached, end_bp, claim))
        self.spans[first:last] = found

    def _first_beyond(self, bucket: int) -> int:
        """Return the place of the first range that ends beyond a bucket."""
        return bisect_right(self.spans, bucket, key=lambda span: span[1])


def _conflicts(claims: Iterable[Claim]) -> Iterator[tuple[Claim, Claim]]:
    """Yield who finds a place taken, and by whom; schedules are few, so that not all pairs are tried."""
    schedules: dict[Schedule, Taken] = {}
    for claim in claims:
        beside = (taken for other, taken in schedules.items() if other.overlaps(claim.schedule))
        owner = next((one for one in (taken.owner(claim.slot) for taken in beside) if one), None)
        if owner is not None:
            yield claim, owner
        schedules.setdefault(claim.schedule, Taken()).take(claim)


def _room(wanted: Claim, claims: Iterable[Claim]) -> str:
    """Return which place is free whenever the member serves."""
    others = (one for one in claims if one is not wanted and one.schedule.overlaps(wanted.schedule))
    gaps = _gaps(one.slot for one in others)
    if not gaps:
        return "the layer is full: stop one of its members, or use another layer"
    free = ", ".join(_range(start, end) for start, end in gaps[:MAX_GAPS])
    fitting = next(((start, end) for start, end in gaps if end - start >= wanted.slot.share_bp), None)
    if fitting:
        return f"free: {free}: write from: {fitting[0] / 100:g}%"
    start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    return f"free: {free}: write from: {start / 100:g}%, share: {(end - start) / 100:g}%"


def _gaps(slots: Iterable[LayerSlot]) -> list[tuple[int, int]]:
    """Return the ranges of a layer that nobody has."""
    gaps: list[tuple[int, int]] = []
    reached = 0
    for slot in sorted(slots, key=lambda one: one.start_bp):
        if slot.start_bp > reached:
            gaps.append((reached, slot.start_bp))
        reached = max(reached, slot.end_bp)
    return [*gaps, (reached, TOTAL_BP)] if reached < TOTAL_BP else gaps


def _place(slot: LayerSlot) -> str:
    return _range(slot.start_bp, slot.end_bp)


def _range(start: int, end: int) -> str:
    return f"{start / 100:g}% to {end / 100:g}%"


# --- salts


def _salts(
    declared: Iterable[Any], members: Mapping[str, Member], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[Told]:
    """Yield what would split the same units in the same way as another: it has the seed that makes it so."""
    users: dict[str, list[tuple[Any, str]]] = defaultdict(list)
    for member in members.values():
        if member.value.status in MAY_SERVE:
            users[member.value.salt].append((member.source, member.value.seed))
    for source in declared:
        gate = parts[source.kind].get(source.key) if source.kind in ("layers", "holdouts") else None
        if gate is not None and getattr(gate, "hash_version", OUR_HASH) == OUR_HASH:
            users[gate.salt].append((source, gate.seed))
    for salt, found in users.items():
        seeded = [source for source, seed in found if seed]
        if len(found) == 1 or not seeded:
            continue
        told = seeded[-1]
        other = next(source for source, _seed in found if source is not told)
        message = f"'{told.key}' and '{other.key}' ({other.file}) are split by the same salt '{salt}'"
        yield told, ("seed",), Said("E414", message, "remove this seed, or stop one of the two")
