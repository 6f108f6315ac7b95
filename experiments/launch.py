"""Whether one catalog may go live over another, and who would move."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from experiments.allocation import variant_of
from experiments.definitions import Catalog, Experiment
from experiments.lifecycle import Status

EMPTY = Catalog()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two catalogs.

    Attributes
    ----------
    kind, key : str
        ``experiment``, ``flag``, ``metric`` or ``audience``, and which.
    what : str
        ``added``, ``removed`` or the name of the field.
    before, after : str
        For people; empty where there is nothing.
    safe : bool
        False when it touches what units see or how a running experiment is judged.
    detail : str
        What it means, one sentence; may be empty.
    """

    kind: str
    key: str
    what: str
    before: str = ""
    after: str = ""
    safe: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What would change, and why it may not; nothing is blocked when `blocked` is empty."""

    changes: tuple[Change, ...]
    blocked: tuple[str, ...]


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


def moved_units(old: Experiment, new: Experiment, unit_ids: Iterable[str]) -> MovedUnits:
    """Count who would move, exactly, by assigning every unit under both definitions.

    Bucket and allocation count; audiences do not, since attributes are not stored.

    Parameters
    ----------
    old, new : Experiment
        Two definitions with the same key.
    unit_ids : iterable of str
        Units to try, each once.

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
    for unit_id in unit_ids:
        before, after = variant_of(old, unit_id), variant_of(new, unit_id)
        if before is None:
            join += after is not None
        elif after is None:
            leave += 1
        elif after == before:
            stay += 1
        else:
            move += 1
    return MovedUnits(enrolled=stay + move + leave, stay=stay, move=move, leave=leave, join=join)


def review(old: Catalog | None, new: Catalog, *, now: datetime | None = None) -> Review:
    """Compare two catalogs and refuse what would silently move units or mix two treatments in one analysis.

    It sees only these two: that a key of long ago is used again must be told by whoever keeps all revisions.

    Parameters
    ----------
    old : Catalog or None
        The live one; None before the first apply.
    new : Catalog
        The one that wants to be live.
    now : datetime or None
        Aware. Without it a scheduled experiment counts as begun.

    Returns
    -------
    Review
        Changes by kind and key; `blocked` says what to do instead.

    Examples
    --------
    >>> from experiments.definitions import Flag
    >>> review(None, Catalog(flags={"dark": Flag(key="dark")})).changes[0].what
    'added'
    """
    old = old or EMPTY
    changes: list[Change] = []
    blocked: list[str] = []
    for key in sorted({*old.experiments, *new.experiments}):
        before, after = old.experiments.get(key), new.experiments.get(key)
        changes += _experiment_changes(key, before, after)
        blocked += _experiment_blocks(before, after, now=now)
    changes += _changes("flag", old.flags, new.flags, _FLAG_FIELDS)
    changes += _changes("metric", old.metrics, new.metrics, _METRIC_FIELDS)
    changes += _changes("audience", old.audiences, new.audiences, ())
    return Review(tuple(changes), tuple(blocked))


_SAFE_FIELDS = {"owner", "statement", "label"}
_FLAG_FIELDS = ("status", "value", "otherwise", "unit", "audience", "allocation_bp", "owner")
_METRIC_FIELDS = (
    "kind",
    "event",
    "window_s",
    "value",
    "where",
    "currency",
    "cap",
    "direction",
    "label",
)
_EXPERIMENT_FIELDS = (
    "status",
    "phase",
    "schedule",
    "unit",
    "variants",
    "allocation_bp",
    "audience",
    "overrides",
    "metrics",
    "analysis",
    "decide",
    "owner",
    "statement",
)


def _experiment_changes(key: str, before: Experiment | None, after: Experiment | None) -> list[Change]:
    one = {} if before is None else {key: before}
    two = {} if after is None else {key: after}
    return _changes("experiment", one, two, _EXPERIMENT_FIELDS)


def _changes(
    kind: str, old: Mapping[str, object], new: Mapping[str, object], fields: tuple[str, ...]
) -> list[Change]:
    changes = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if before is None:
            changes.append(Change(kind=kind, key=key, what="added"))
        elif after is None:
            changes.append(Change(kind=kind, key=key, what="removed", safe=False))
        elif not fields:
            changes.append(Change(kind=kind, key=key, what="changed", safe=False))
        else:
            changes += [
                _field_change(kind, key, before, after, field) for field in _differing(before, after, fields)
            ]
    return changes


def _differing(before: object, after: object, fields: tuple[str, ...]) -> list[str]:
    return [field for field in fields if getattr(before, field) != getattr(after, field)]


def _field_change(kind: str, key: str, before: object, after: object, field: str) -> Change:
    one, two = getattr(before, field), getattr(after, field)
    safe, detail = field in _SAFE_FIELDS, ""
    if field == "allocation_bp":
        safe = two >= one
        detail = "enrolled units keep their variant, new units join" if safe else "some units leave"
    elif field == "phase":
        detail = "everybody is randomized again and the analysis restarts"
    elif field in ("metrics", "analysis", "decide"):
        detail = "the verdict will follow a plan that was changed after launch"
    return Change(
        kind=kind,
        key=key,
        what=field,
        before=_shown(field, one),
        after=_shown(field, two),
        safe=safe,
        detail=detail,
    )


def _shown(field: str, value: object) -> str:
    if field == "allocation_bp" and isinstance(value, int):
        return f"{value / 100:g}%"
    if field == "variants" and isinstance(value, tuple):
        return ", ".join(f"{v.key} {v.weight_bp / 100:g}% {v.value!r}" for v in value)
    return "" if value is None else str(value)


def _experiment_blocks(
    before: Experiment | None, after: Experiment | None, *, now: datetime | None
) -> list[str]:
    if before is None or not _has_begun(before, now):
        return []
    if after is None:
        if before.status is Status.STOPPED:
            return []
        return [f"experiment {before.key!r} is {before.status.value}: stop it before it is removed"]
    return [*_status_blocks(before, after), *_phase_blocks(before, after)]


def _has_begun(experiment: Experiment, now: datetime | None) -> bool:
    if experiment.status is Status.DRAFT:
        return False
    start_at = experiment.schedule.start_at
    waiting = experiment.status in (Status.SCHEDULED, Status.RUNNING) and start_at is not None
    return not (waiting and now is not None and start_at is not None and now < start_at)


def _status_blocks(before: Experiment, after: Experiment) -> list[str]:
    if before.status is Status.STOPPED and after.status is not Status.STOPPED:
        advice = "give the new experiment its own (to interrupt one, use 'paused')"
        return [f"experiment {before.key!r} was stopped: a key is never used again, {advice}"]
    if after.status is Status.DRAFT:
        return [f"experiment {before.key!r} has begun: it cannot become a draft again, pause or stop it"]
    return []


def _phase_blocks(before: Experiment, after: Experiment) -> list[str]:
    name = f"experiment {before.key!r} is {before.status.value}"
    if after.phase < before.phase:
        return [f"{name}: phase {before.phase} cannot go back to {after.phase}"]
    if after.phase > before.phase:
        return []
    blocked = [
        f"{name}: its {field} changed; that needs a new phase: set 'phase: {before.phase + 1}'"
        for field in ("unit", "variants")
        if getattr(before, field) != getattr(after, field)
    ]
    if after.allocation_bp < before.allocation_bp:
        blocked.append(
            f"{name}: its allocation may only grow (from {before.allocation_bp / 100:g}% to "
            f"{after.allocation_bp / 100:g}%); pause it, or set 'phase: {before.phase + 1}'"
        )
    return blocked
