"""Do definitions leave room for one another? Places in a layer, units, and what they are hashed with."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.definitions import Experiment, Flag
from experiments.gates import LayerSlot
from experiments.lifecycle import TOTAL_BP, Status
from service.catalog.fields import Said

MAX_GAPS = 5
OUR_HASH = 2
MAY_SERVE = frozenset({Status.SCHEDULED, Status.RUNNING, Status.PAUSED})
COLLECTION_OF = {"experiment": "experiments", "flag": "flags"}

Told = tuple[Any, tuple[str | int, ...], Said]


@dataclass(frozen=True, slots=True)
class Member:
    """An experiment or flag, and where it is written."""

    source: Any
    value: Experiment | Flag

    @property
    def slot(self) -> LayerSlot | None:
        """Its place in a layer."""
        return self.value.layer

    def meets(self, other: "Member") -> bool:
        """Return whether both could serve at the same time."""
        both = {self.value.status, other.value.status} <= MAY_SERVE
        return both and self.value.schedule.overlaps(other.value.schedule)


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


def _overlaps(members: Iterable[Member]) -> Iterator[Told]:
    """Yield the later one of two members that would enrol the same units."""
    layers: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        if member.slot is not None and member.value.status in MAY_SERVE:
            layers[member.slot.layer.key].append(member)
    for name, group in layers.items():
        for i, others in sorted(_conflicts(group).items()):
            member = group[i]
            yield member.source, ("layer", "from"), _said(name, member, [group[k] for k in others], group)


def _conflicts(group: Sequence[Member]) -> Mapping[int, list[int]]:
    """Return which members overlap earlier ones, by index; a sweep over the layer, as most never meet."""
    slots = [(member.slot.start_bp, member.slot.end_bp) if member.slot else (0, 0) for member in group]
    found: dict[int, list[int]] = defaultdict(list)
    beside: list[int] = []
    for i in sorted(range(len(group)), key=lambda k: slots[k]):
        beside = [k for k in beside if slots[k][1] > slots[i][0]]
        for k in beside:
            if group[i].meets(group[k]):
                found[max(i, k)].append(min(i, k))
        beside.append(i)
    return {i: sorted(others) for i, others in found.items()}


def _said(name: str, member: Member, others: Sequence[Member], group: Sequence[Member]) -> Said:
    first = others[0]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    message = (
        f"the place {_place(member.slot)} of layer '{name}' is taken: '{first.value.key}' "
        f"({first.source.file}) has {_place(first.slot)}{more}"
    )
    slots = [one.slot for one in group if one is not member and one.meets(member) and one.slot]
    return Said("E411", message, _room(_gaps(slots), member.slot.share_bp if member.slot else TOTAL_BP))


def _gaps(slots: Iterable[LayerSlot]) -> list[tuple[int, int]]:
    """Return the ranges of a layer that nobody has."""
    gaps: list[tuple[int, int]] = []
    reached = 0
    for slot in sorted(slots, key=lambda one: one.start_bp):
        if slot.start_bp > reached:
            gaps.append((reached, slot.start_bp))
        reached = max(reached, slot.end_bp)
    return [*gaps, (reached, TOTAL_BP)] if reached < TOTAL_BP else gaps


def _room(gaps: Sequence[tuple[int, int]], share_bp: int) -> str:
    if not gaps:
        return "the layer is full: stop one of its members, or use another layer"
    free = ", ".join(_range(start, end) for start, end in gaps[:MAX_GAPS])
    fitting = next(((start, end) for start, end in gaps if end - start >= share_bp), None)
    if fitting:
        return f"free: {free}: write from: {fitting[0] / 100:g}%"
    start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    return f"free: {free}: write from: {start / 100:g}%, share: {(end - start) / 100:g}%"


def _place(slot: LayerSlot | None) -> str:
    return _range(slot.start_bp, slot.end_bp) if slot else ""


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
