"""Whether one catalog may go live over another, and who would move."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from experiments.allocation import Definition, chooser
from experiments.definitions import Catalog, Experiment
from experiments.gates import Holdout, LayerSlot
from experiments.lifecycle import Status
from experiments.notation import percent


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedUnits:
    """How many units keep or change their variant.

    Attributes
    ----------
    enrolled : int
        Units with a variant before: ``stay + move + leave``.
    stay, move, leave, join : int
        Same variant, another one, none any more, newly one.
    """

    enrolled: int = 0
    stay: int = 0
    move: int = 0
    leave: int = 0
    join: int = 0


def moved_units(
    old: Definition, new: Definition, unit_ids: Iterable[str], *, at: datetime | None = None
) -> MovedUnits:
    """Count who would move, exactly, by assigning every unit under both definitions.

    Holdout, layer, ramp and allocation count; audiences do not, since attributes are not stored.

    Parameters
    ----------
    old, new : Experiment or Flag
        Two definitions with the same key.
    unit_ids : iterable of str
        Units to try, each once.
    at : datetime or None
        Aware. The moment at which ramps are read; None is after all of their steps.

    Returns
    -------
    MovedUnits

    Examples
    --------
    >>> from dataclasses import replace
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="m"), allocation_bp=5000)
    >>> moved = moved_units(e, replace(e, allocation_bp=10_000), (f"u{i}" for i in range(1000)))
    >>> moved.move, moved.leave
    (0, 0)
    """
    stay = move = leave = join = 0
    choose_old, choose_new = chooser(old, at=at), chooser(new, at=at)
    for unit_id in unit_ids:
        before, after = choose_old(unit_id), choose_new(unit_id)
        if before is None:
            join += after is not None
        elif after is None:
            leave += 1
        elif after == before:
            stay += 1
        else:
            move += 1
    return MovedUnits(enrolled=stay + move + leave, stay=stay, move=move, leave=leave, join=join)


def review(old: Catalog | None, new: Catalog, *, now: datetime | None = None) -> tuple[str, ...]:
    """Refuse what would silently move units or mix two treatments in one analysis.

    It sees only these two: that a key of long ago is used again must be told by whoever keeps all revisions.

    Parameters
    ----------
    old : Catalog or None
        The live one; None before the first apply.
    new : Catalog
        The one that wants to be live.
    now : datetime or None
        Aware. Without it a scheduled experiment counts as begun, and a ramp as finished.

    Returns
    -------
    tuple of str
        Why it may not, and what to do instead; empty when it may.

    Examples
    --------
    >>> from experiments.definitions import Flag
    >>> review(None, Catalog(flags={"dark": Flag(key="dark")}))
    ()
    """
    live = old.experiments if old is not None else {}
    blocked: list[str] = []
    for key, before in sorted(live.items()):
        blocked += _experiment_blocks(before, new.experiments.get(key), now=now)
    return tuple(blocked)


def _hashing(gate: LayerSlot | Holdout | None) -> object:
    """Return what decides which bucket of a gate a unit has."""
    if isinstance(gate, LayerSlot):
        return gate.layer.key, gate.layer.unit, gate.layer.salt, gate.layer.hash_version
    return None if gate is None else (gate.key, gate.unit, gate.salt)


def has_begun(experiment: Experiment, now: datetime | None) -> bool:
    """Tell whether units may have been enrolled in the current phase.

    Parameters
    ----------
    experiment : Experiment
        As it is, or was, live.
    now : datetime or None
        Aware. Without it every start counts as past.

    Returns
    -------
    bool
        Exact, as `review` lets no start of a begun phase move into the future.
    """
    if experiment.status in (Status.DRAFT, Status.STOPPED) or now is None:
        return experiment.status is not Status.DRAFT
    first_step_at = next((step.at for step in experiment.ramp if step.share_bp), None)
    return _has_opened(experiment, now) and (first_step_at is None or first_step_at <= now)


def _has_opened(experiment: Experiment, now: datetime | None) -> bool:
    start_at = experiment.schedule.start_at
    return start_at is None or now is None or start_at <= now


def _experiment_blocks(before: Experiment, after: Experiment | None, *, now: datetime | None) -> list[str]:
    if before.status is Status.DRAFT:
        return []
    begun = has_begun(before, now)
    if after is None:
        if before.status is Status.STOPPED or not (begun or before.phase > 1):
            return []
        return [f"experiment {before.key!r} is {before.status.value}: stop it before it is removed"]
    if begun:
        return [*_status_blocks(before, after), *_phase_blocks(before, after, now)]
    return [*(_status_blocks(before, after) if before.phase > 1 else ()), *_returns(before, after)]


def _status_blocks(before: Experiment, after: Experiment) -> list[str]:
    if before.status is Status.STOPPED and after.status is not Status.STOPPED:
        advice = "give the new experiment its own (to interrupt one, use 'paused')"
        return [f"experiment {before.key!r} was stopped: a key is never used again, {advice}"]
    if after.status is Status.DRAFT:
        return [f"experiment {before.key!r} has begun: it cannot become a draft again, pause or stop it"]
    return []


def _returns(before: Experiment, after: Experiment) -> list[str]:
    if after.phase >= before.phase:
        return []
    name = f"experiment {before.key!r} is {before.status.value}"
    return [f"{name}: phase {before.phase} cannot go back to {after.phase}"]


def _phase_blocks(before: Experiment, after: Experiment, now: datetime | None) -> list[str]:
    name = f"experiment {before.key!r} is {before.status.value}"
    if after.phase != before.phase:
        return _returns(before, after)
    changed = [field for field in ("unit", "variants") if getattr(before, field) != getattr(after, field)]
    if before.salt != after.salt:
        changed.append("seed")
    changed += [
        field
        for field in ("layer", "holdout")
        if _hashing(getattr(before, field)) != _hashing(getattr(after, field))
    ]
    next_phase = f"set 'phase: {before.phase + 1}'"
    return [
        *(f"{name}: its {field} changed; that needs a new phase: {next_phase}" for field in changed),
        *(f"{name}: {said}, or {next_phase}" for said in _shrunk(before, after, now)),
    ]


def _shrunk(before: Experiment, after: Experiment, now: datetime | None) -> Iterator[str]:
    """Say by which gates enrolled units would leave, and what to write instead."""
    if _has_opened(before, now) and not _has_opened(after, now):
        yield "it has begun, so its start may not move into the future: pause it instead"
    one, two = before.layer, after.layer
    if one and two and _hashing(one) == _hashing(two):
        layer = f"layer {one.layer.key!r}"
        if two.start_bp != one.start_bp:
            moved = f"(from {percent(one.start_bp)} to {percent(two.start_bp)})"
            yield f"its place in {layer} may not move {moved}: write 'from: {percent(one.start_bp)}'"
        elif two.share_bp < one.share_bp:
            shrunk = f"(from {percent(one.share_bp)} to {percent(two.share_bp)})"
            yield f"its share of {layer} may only grow {shrunk}: write 'share: {percent(one.share_bp)}'"
    held, holds = before.holdout, after.holdout
    if held and holds and _hashing(held) == _hashing(holds) and holds.share_bp > held.share_bp:
        grown = f"(from {percent(held.share_bp)} to {percent(holds.share_bp)})"
        yield (
            f"its holdout {held.key!r} may not grow {grown}, enrolled units would leave: "
            f"write 'share: {percent(held.share_bp)}'"
        )
    was, would_be = (e.allocation_bp if now is None else e.share_at(now) for e in (before, after))
    if would_be >= was:
        return
    if before.ramp or after.ramp:
        yield (
            f"{percent(was)} of the units are enrolled by now, with this change {percent(would_be)} "
            f"would be: let a step that has begun say 'share: {percent(was)}'"
        )
    else:
        yield f"its allocation may only grow (from {percent(was)} to {percent(would_be)}); pause it"
