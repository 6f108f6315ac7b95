"""Bring a catalog live: show what would change, refuse what would harm, store it; kill and revive."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from experiments.definitions import Catalog, Experiment, Flag
from experiments.launch import has_begun, review
from experiments.lifecycle import Status
from experiments.notation import percent
from experiments.plans import EVERYTHING
from experiments.steering import steer
from service.catalog import CatalogError, Finding, LoadedCatalog, load
from service.catalog.compiling import load_to_serve
from service.catalog.diff import Difference, diff, parts
from service.catalog.edit import find
from service.catalog.findings import did_you_mean
from service.catalog.goal_schema import notes as goal_notes
from service.catalog.loader import place_of
from service.catalog.notes import doubts, starts
from service.clock import EPOCH
from service.storage.ports import RevisionMovedError, Store
from service.storage.records import LiveState, StoredRevision
from service.use_cases.cautions import dependent, overlaps, warnings
from service.use_cases.forecast import Needed, needed
from service.use_cases.movements import Movement, Progress, movements
from service.use_cases.steered import steered

OVERLAP = "E411"
TRY_BACK = 20
MAX_NAMED = 12
WATCH = "watch"
"""Who applied a revision: the worker that watches the folder."""
JUST_NOW = timedelta(minutes=15)
BECAME_DRAFT = "cannot become a draft"
NOTHING_LIVE = LiveState(version=0, revision=0, killed=frozenset(), model="")


class BlockedError(CatalogError):
    """The catalog is readable, and making it live would harm a running experiment."""


class UnknownKeyError(Exception):
    """Nothing live has that key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What applying would do. `live` is the revision serving now, 0 for none.

    `watched_at`: when the worker that watches the folder made it live, if that was a short time ago.
    """

    live: int
    differences: tuple[Difference, ...]
    movements: tuple[Movement, ...]
    blocked: tuple[Finding, ...]
    loaded: LoadedCatalog
    previous: LoadedCatalog | None
    needed: Mapping[str, Needed]
    warnings: Mapping[tuple[str, str], tuple[str, ...]]
    overlaps: Mapping[str, str]
    dependent: tuple[str, ...]
    starts: Mapping[str, str]
    notes: tuple[str, ...]
    watched_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The revision that is live now, whether it is a new one, and what it started, with its share.

    `cautions` are what `plan` would have warned of.
    """

    revision: int
    changed: bool
    started: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def plan(
    store: Store | None, files: Mapping[str, str], now: datetime, *, progress: Progress | None = None
) -> Plan:
    """Return what making `files` live would change, and who would move; without a store, nothing is live.

    Raises
    ------
    CatalogError
        If the files have errors.
    """
    loaded = _load(store, files)
    state = store.live_state() if store else NOTHING_LIVE
    number = state.revision
    previous = _live(store, number) if store else None
    differences = diff(previous, loaded)
    served, would_serve = previous and steered(previous, state), steered(loaded, state)
    return Plan(
        live=number,
        differences=differences,
        movements=tuple(movements(store, previous, loaded, progress)) if store else (),
        blocked=tuple(_blocked(store, files, (previous, loaded), now=now)) if store else (),
        loaded=loaded,
        previous=previous,
        needed={
            d.key: needed(loaded.catalog.experiments[d.key], loaded.catalog.metrics)
            for d in differences
            if d.kind == "experiments" and d.sign == "+"
        },
        warnings=warnings(served, would_serve, differences, now=now),
        overlaps=overlaps(would_serve.catalog, differences),
        dependent=tuple(dependent(would_serve.catalog)),
        starts={d.key: starts(d) for d in _starting(previous, loaded, now)},
        notes=tuple(f"note: {note}" for note in _doubts(files, loaded, now)),
        watched_at=_watched_at(store, number, now) if store and number else None,
    )


def _doubts(files: Mapping[str, str], loaded: LoadedCatalog, now: datetime) -> Iterator[str]:
    yield from doubts(files, loaded.catalog)
    yield from goal_notes(loaded.goals, today=now.astimezone(UTC).date())


def _watched_at(store: Store, number: int, now: datetime) -> datetime | None:
    stored = store.revision(number)
    just_now = stored is not None and stored.applied_by == WATCH and now - stored.applied_at < JUST_NOW
    return stored.applied_at if stored and just_now else None


def apply(store: Store, files: Mapping[str, str], *, by: str, now: datetime) -> Applied:
    """Make `files` the live revision, unless they are it already.

    Raises
    ------
    CatalogError
        If the files have errors; nothing was changed.
    BlockedError
        If a running experiment would be harmed; nothing was changed.
    RevisionMovedError
        If others went live twice while this one was reviewed; nothing was changed.
    """
    loaded = _load(store, files)
    try:
        return _reviewed(store, files, loaded, by=by, now=now)
    except RevisionMovedError:
        # Somebody else applied between our review and our write: what is live now was not reviewed.
        return _reviewed(store, files, loaded, by=by, now=now)


def _load(store: Store | None, files: Mapping[str, str]) -> LoadedCatalog:
    """Return the catalog of `files`; where places in a layer overlap, what is live already keeps its own."""
    try:
        return load_to_serve(files)
    except CatalogError as error:
        if store is None or not any(found.code == OVERLAP for found in error.findings):
            raise
    live = definitions(live_catalog(store)).values()
    return load_to_serve(files, keeps={d.key for d in live if d.status not in (Status.DRAFT, Status.STOPPED)})


def _reviewed(
    store: Store, files: Mapping[str, str], loaded: LoadedCatalog, *, by: str, now: datetime
) -> Applied:
    live = store.live_state().revision
    stored = store.revision(live) if live else None
    if stored is not None and stored.digest == loaded.digest:
        return Applied(revision=live, changed=False)
    previous = _live(store, live)
    blocked = _blocked(store, files, (previous, loaded), now=now)
    if blocked:
        raise BlockedError(blocked)
    revision = store.add_revision(files, loaded.digest, by=by, now=now, expected=live)
    state = store.live_state()
    serves = steered(loaded, state)
    started = tuple(f"{d.key} on {percent(d.share_at(now))}" for d in _starting(previous, serves, now))
    found = warnings(previous and steered(previous, state), serves, diff(previous, loaded), now=now)
    cautions = tuple(f"{key}: {text}" for (_kind, key), texts in found.items() for text in texts)
    return Applied(revision=revision, changed=revision != live, started=started, cautions=cautions)


def _starting(
    previous: LoadedCatalog | None, loaded: LoadedCatalog, now: datetime
) -> Iterator[Experiment | Flag]:
    """Yield what runs in the new catalog and not in the live one."""
    before = definitions(previous)
    for key, definition in definitions(loaded).items():
        was = before.get(key)
        opens = definition.schedule.start_at
        runs = definition.status is Status.RUNNING and (opens is None or opens <= now)
        if runs and (was is None or was.status is not Status.RUNNING):
            yield definition


def definitions(loaded: LoadedCatalog | None) -> dict[str, Experiment | Flag]:
    """Return experiments and flags by key; none of no catalog."""
    return {**loaded.catalog.experiments, **loaded.catalog.flags} if loaded else {}


def refusals(store: Store, files: Mapping[str, str], *, now: datetime) -> list[Finding]:
    """Return why readable `files` may not go live; empty when they may."""
    return _blocked(store, files, (live_catalog(store), _load(store, files)), now=now)


def kill(store: Store, key: str, *, by: str, now: datetime) -> None:
    """Serve the control's value of `key` (or of everything: ``*``) from now on, in every worker.

    Raises
    ------
    UnknownKeyError
        If nothing live has that key; the message suggests one.
    """
    check_key(store, key)
    store.set_killed(key, killed=True, by=by, now=now)


def revive(store: Store, key: str, *, by: str, now: datetime) -> bool:
    """Undo `kill`; return whether there was one. Reviving ``*`` leaves alone what was killed by its own name.

    Raises
    ------
    UnknownKeyError
        If `key` is neither live nor killed.
    """
    if key not in store.live_state().killed:
        check_key(store, key)
        return False
    store.set_killed(key, killed=False, by=by, now=now)
    return True


def check_key(store: Store, key: str) -> None:
    """Raise UnknownKeyError unless the live catalog has an experiment or a flag of that name."""
    loaded = live_catalog(store)
    known = definitions(loaded)
    if key != EVERYTHING and key not in known:
        none = "nothing is defined in it" if loaded else "no catalog is live yet"
        hint = suggest(key, known) or none
        raise UnknownKeyError(f"nothing live is called '{key}': {hint}")


def suggest(key: str, known: Collection[str]) -> str:
    """Return a near key, else the known ones, of many the first; empty when there is none."""
    names = sorted(known)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return did_you_mean(key, names) or (f"known: {', '.join(names[:MAX_NAMED])}{more}" if names else "")


def served_catalog(store: Store) -> LoadedCatalog | None:
    """Return the live catalog with what was decided about its experiments, None when nothing is live."""
    state = store.live_state()
    loaded = _live(store, state.revision)
    return loaded and steered(loaded, state)


def live_catalog(store: Store) -> LoadedCatalog | None:
    """Return the catalog of the live revision, None when nothing was ever applied."""
    return _live(store, store.live_state().revision)


def _live(store: Store, number: int) -> LoadedCatalog | None:
    """Return the catalog of a revision, or of the newest one before it that this code can read."""
    for candidate in range(number, max(0, number - TRY_BACK), -1):
        stored = store.revision(candidate)
        loaded = _readable(stored) if stored else None
        if loaded is not None:
            return loaded
    return None


def _readable(stored: StoredRevision) -> LoadedCatalog | None:
    try:
        return load(stored.files)
    except CatalogError:
        return None


# --- may it go live?


def _blocked(
    store: Store,
    files: Mapping[str, str],
    catalogs: tuple[LoadedCatalog | None, LoadedCatalog],
    *,
    now: datetime,
) -> list[Finding]:
    previous, loaded = catalogs
    if previous is None:
        return []
    if not any(parts(loaded).values()) and any(parts(previous).values()):
        return [
            Finding(
                path=".",
                line=1,
                column=1,
                code="E501",
                message="the folder defines nothing, and something is live",
                hint="is this the right folder? To end experiments, use `opportune stop KEY`",
            )
        ]
    old = replace(
        previous.catalog,
        experiments={**_ended(store, previous.catalog, loaded.catalog), **previous.catalog.experiments},
    )
    state = store.live_state()
    stored = store.revision(state.revision)
    lost = stored.files if stored else {}
    # Of a ramp with gates, what they let in counts; one that was opened must not close behind anybody.
    before, after = steer(old, state.steering), steer(loaded.catalog, state.steering)
    return [_finding(message, loaded.catalog, files, lost) for message in review(before, after, now=now)]


def _ended(store: Store, live: Catalog, new: Catalog) -> dict[str, Experiment]:
    """Return experiments that had begun once, are not live now and come back: their keys are taken."""
    wanted = set(new.experiments) - set(live.experiments)
    found: dict[str, Experiment] = {}
    superseded_at: datetime | None = None
    for stored in store.revisions_since(EPOCH) if wanted else ():
        named = any(key in text for key in wanted for text in stored.files.values())
        past = _readable(stored) if named else None
        for key in wanted & set(past.catalog.experiments if past else ()):
            if past and key not in found and has_begun(past.catalog.experiments[key], superseded_at):
                found[key] = past.catalog.experiments[key]
        superseded_at = stored.applied_at
    return found


def _finding(message: str, catalog: Catalog, files: Mapping[str, str], lost: Mapping[str, str]) -> Finding:
    """Return the refusal with the place of the definition that it names, its former place if it is gone."""
    named = [key for key in (*catalog.experiments, *catalog.flags) if f"'{key}'" in message]
    key = min(named, key=lambda one: message.index(f"'{one}'"), default="")
    found = find(files, key) if key else None
    if found is None:
        return _vanished(message, lost)
    path = found.path or (found.kind,)
    told = place_of(files[found.file], found.file, path, code="E500", message=message)
    return replace(told, hint=f"`opportune stop {key}` ends it") if BECAME_DRAFT in message else told


def _vanished(message: str, lost: Mapping[str, str]) -> Finding:
    key = next(iter(re.findall(r"'([a-z0-9_-]+)'", message)), "")
    place = find(lost, key)
    hint = f"no file defines it any more: put the file back, or end it with `opportune stop {key}`"
    path = place.file if place else "."
    return Finding(path=path, line=1, column=1, code="E500", message=message, hint=hint)
