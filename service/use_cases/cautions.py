"""What a plan allows and warns of: changes of who is served or of how it is judged, overlap, dependence."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from experiments.allocation import chooser
from experiments.definitions import Catalog, Experiment, Flag
from experiments.independence import dependent_pairs, splitters
from experiments.launch import has_begun
from experiments.lifecycle import TOTAL_BP, Schedule, Status
from experiments.plans import CLOSED
from experiments.targeting import Condition, audience_refs
from service.catalog import LoadedCatalog
from service.catalog.diff import Difference
from service.catalog.rules import DataRules

JUDGED_BY = frozenset(
    {"primary", "secondary", "guardrails", "analysis", "min_runtime", "ship_when", "rollback_when"}
)
SERVES = frozenset({Status.SCHEDULED, Status.RUNNING, Status.PAUSED})
SERVED_BY = ("audience", "prerequisites", "overrides")
SPLIT_BY = frozenset({"unit", "seed", "hash_version", "share"})
SHARED_BY = frozenset({"status", "schedule", "allocation", "ramp", "unit", "layer", "holdout"})
MAX_TESTED = 100
MAX_NAMED = 3

Warnings = Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Live:
    """What enrols units in the live catalog and is still in the new one."""

    experiments: Mapping[str, Experiment]
    flags: Mapping[str, Flag]

    def all(self) -> Iterable[Experiment | Flag]:
        """Return both kinds."""
        return chain(self.experiments.values(), self.flags.values())


def warnings(
    previous: LoadedCatalog | None,
    loaded: LoadedCatalog,
    differences: Iterable[Difference],
    *,
    now: datetime | None = None,
) -> Warnings:
    """Return what deserves a second thought, by kind and key; without `now`, every start counts as past."""
    if previous is None:
        return {}
    old, new = previous.catalog, loaded.catalog
    live = Live(
        {k: e for k, e in old.experiments.items() if e.status in SERVES and k in new.experiments},
        {k: f for k, f in old.flags.items() if f.status in SERVES and k in new.flags},
    )
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for difference in differences:
        names = {detail.name for detail in difference.details}
        for text in (
            *_judged(difference, names, live),
            *_served(difference, names, live),
            *_within_phase(difference, names, (live, new), now),
            *_unshipped(difference, old, new),
            *_forgotten(difference, previous.data, loaded.data),
        ):
            found[difference.kind, difference.key].append(text)
    return {place: tuple(texts) for place, texts in found.items()}


def _unshipped(difference: Difference, old: Catalog, new: Catalog) -> Iterator[str]:
    """Yield that everybody loses the variant that was shipped to them."""
    before, after = old.experiments.get(difference.key), new.experiments.get(difference.key)
    if difference.kind != "experiments" or before is None or before.status in CLOSED or not before.shipped:
        return
    if after is None or after.status in CLOSED or not after.shipped:
        yield f"{before.shipped} is shipped to everybody, and this ends it"


def _forgotten(difference: Difference, old: DataRules, new: DataRules) -> Iterator[str]:
    """Yield what would be deleted within the hour because it is to be kept for less time."""
    if difference.kind != "data":
        return
    times = (
        (name, getattr(old.keep, name), getattr(new.keep, name))
        for name in ("events", "interactions", "quarantine", "slates")
    )
    for name, before, after in times:
        if after < before:
            yield f"{name} older than {after} days will be deleted for good: they were kept {before} days"


def _judged(difference: Difference, names: set[str], live: Live) -> Iterator[str]:
    begun = {k: e for k, e in live.experiments.items() if e.status is not Status.SCHEDULED}
    judged = [key for key, e in begun.items() if difference.key in e.metrics.keys()]  # noqa: SIM118
    if difference.kind == "experiments" and difference.key in begun and names & JUDGED_BY:
        yield "the verdict will follow a plan that was changed after launch"
    elif difference.kind == "metrics" and difference.sign == "~" and judged and names - {"label"}:
        yield f"it judges what is running already: {', '.join(judged)}"


def _served(difference: Difference, names: set[str], live: Live) -> Iterator[str]:
    """Yield changes of layers and holdouts under what is live."""
    key, kind = difference.key, difference.kind
    if key in {"experiments": live.experiments, "flags": live.flags}.get(kind, {}):
        changed = [name for name in ("layer", "holdout") if name in names]
        if changed:
            yield f"it is live, and a change of its {' and '.join(changed)} changes who is served"
    if kind not in ("layers", "holdouts") or not names & SPLIT_BY:
        return
    gates = {d.key: d.layer.layer.key if d.layer else "" for d in live.all()}
    if kind == "holdouts":
        gates = {d.key: d.holdout.key if d.holdout else "" for d in live.all()}
    members = [member for member, gate in gates.items() if gate == key]
    if members:
        yield f"it changes who is served by what is live: {', '.join(members)}"


def _within_phase(
    difference: Difference, names: set[str], catalogs: tuple[Live, Catalog], now: datetime | None
) -> Iterator[str]:
    """Yield what changes for the units of an experiment that has begun and goes on in the same phase."""
    live, new = catalogs
    pairs = ((old, new.experiments[key]) for key, old in live.experiments.items() if has_begun(old, now))
    begun = {one.key: (old, one) for old, one in pairs if old.phase == one.phase}
    if difference.kind == "audiences" and difference.sign == "~":
        named = [
            key
            for key, (_old, one) in begun.items()
            if one.audience and difference.key in _audiences_behind(one.audience, new.audiences)
        ]
        if named:
            yield f"it changes who is served by what is live: {', '.join(named)}"
    if difference.kind != "experiments" or difference.key not in begun:
        return
    old, one = begun[difference.key]
    changed = [name for name in SERVED_BY if name in names]
    if "schedule" in names and not _only_ends(old.schedule, one.schedule, now):
        changed.append("schedule")
    if changed:
        yield f"it is live, and a change of its {' and '.join(changed)} changes who is served"
    yield from _forced_elsewhere(old, one)


def _audiences_behind(condition: Condition, audiences: Mapping[str, Condition]) -> list[str]:
    """Return every audience that a condition builds on."""
    names = list(audience_refs(condition))
    for name in names:
        names += audience_refs(audiences[name]) - set(names)
    return names


def _only_ends(old: Schedule, new: Schedule, now: datetime | None) -> bool:
    """Return whether a change of schedule is no more than the end."""
    ended = now is not None and new.end_at is not None and new.end_at <= now
    return ended and old.start_at == new.start_at


def _forced_elsewhere(old: Experiment, new: Experiment) -> Iterator[str]:
    """Yield new overrides that take units out of the variant which they are in."""
    choose = chooser(new)
    for variant, units in new.overrides.items():
        added = (unit for unit in units if unit not in old.overrides.get(variant, ()))
        moved = [f"{unit} (now {own})" for unit in added if (own := choose(unit)) not in (None, variant)]
        if moved:
            more = f" and {len(moved) - MAX_NAMED} more" if len(moved) > MAX_NAMED else ""
            yield f"its overrides for {variant} are of another variant: {', '.join(moved[:MAX_NAMED])}{more}"


# --- overlap


def overlaps(catalog: Catalog, differences: Iterable[Difference]) -> Mapping[str, str]:
    """Return, for each experiment that begins or changes its share, with which others it shares units."""
    changed = {
        d.key
        for d in differences
        if d.kind == "experiments" and (d.sign == "+" or {detail.name for detail in d.details} & SHARED_BY)
    }
    serving = [e for e in catalog.experiments.values() if e.status in (Status.SCHEDULED, Status.RUNNING)]
    active = [e for e in serving if not e.shipped]
    found: dict[str, str] = {}
    for one in active:
        if one.key in changed:
            shared = ((_in_both(one, other), other.key) for other in active if other is not one)
            most = sorted(((share, key) for share, key in shared if share), key=lambda s: (-s[0], s[1]))
            if most:
                found[one.key] = _overlap_words(most)
    return found


def _in_both(one: Experiment, other: Experiment) -> float:
    """Return the share of all units that both may enrol; audiences are not counted."""
    if one.unit != other.unit or not one.schedule.overlaps(other.schedule):
        return 0.0
    if one.layer and other.layer and one.layer.layer.key == other.layer.layer.key:
        return 0.0
    holdouts = {e.holdout.key: e.holdout.share_bp for e in (one, other) if e.holdout}
    share = 1.0
    for e in (one, other):
        share *= e.allocation_bp / TOTAL_BP * (e.layer.share_bp / TOTAL_BP if e.layer else 1)
    for held_bp in holdouts.values():
        share *= 1 - held_bp / TOTAL_BP
    return share


def _overlap_words(most: list[tuple[float, str]]) -> str:
    named = ", ".join(f"{key} {share * 100:.3g}%" for share, key in most[:MAX_NAMED])
    more = f" and {len(most) - MAX_NAMED} more" if len(most) > MAX_NAMED else ""
    return f"units that may be in another experiment at the same time: {named}{more} (no layer in common)"


# --- dependence


def dependent(catalog: Catalog) -> Iterator[str]:
    """Yield what is not split independently of each other, and whether that was asked at all."""
    found = splitters(catalog)
    if len(found) > MAX_TESTED:
        yield f"{len(found):,} salts are too many to test here: run `opportune doctor buckets`"
        return
    for pair in dependent_pairs(found):
        yield (
            f"{pair.one.name} and {pair.other.name} are not independent (ids such as {pair.shape}: "
            f"{pair.excess:.1f} times as many units in one cell as there should be): both will be biased"
        )
