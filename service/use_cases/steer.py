"""Start, stop and ramp: one small edit of a catalog file, checked as a whole before anything is written."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from experiments.actions import RAMP, Action
from experiments.definitions import Experiment, Flag
from experiments.lifecycle import Status, opened_by
from experiments.notation import percent
from experiments.plans import CLOSED, EVERYTHING
from service.catalog import CatalogError, Finding, LoadedCatalog, load, read_folder
from service.catalog.diff import diff
from service.catalog.edit import EditError, find, set_values
from service.catalog.words import ramp_words, slot_words
from service.storage.ports import Store
from service.storage.records import StoredRevision
from service.use_cases import launch
from service.use_cases.goals import counts, standings
from service.use_cases.steered import steered

Definition: TypeAlias = Experiment | Flag
Change: TypeAlias = Callable[[Definition], dict[str, str]]

STOP = {"status": Status.STOPPED.value}
NEW_FILE = 0o644
LOOK_BACK = 200
"""So many of the newest decisions of a phase are read."""


class RefusedError(Exception):
    """The command makes no sense now; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """What was written where, and what it made live; `others` are pending edits that went live with it."""

    key: str
    file: str
    values: Mapping[str, str]
    before: Definition
    applied: launch.Applied
    others: tuple[str, ...]
    restored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One live definition; `share_bp` is its share now, `ramp_to_bp` what its ramp has yet to reach.

    `shipped` is the variant that everybody gets, `waits` why the next step of its ramp is closed, late.
    """

    key: str
    kind: str
    status: str
    share_bp: int
    ramp_to_bp: int | None
    layer: str
    exposed: int | None
    decision: str
    killed: bool
    shipped: str
    waits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What is live and what is wrong."""

    stored: StoredRevision | None
    folder: Path
    problem: str
    refused: str
    pending: int
    killed: tuple[str, ...]
    rows: tuple[Row, ...]
    goals: Mapping[str, int]

    def members(self) -> dict[str, object]:
        """Return the facts as JSON members."""
        return {
            "revision": self.stored.revision if self.stored else 0,
            "applied_at": self.stored.applied_at.isoformat() if self.stored else None,
            "applied_by": self.stored.applied_by if self.stored else None,
            "catalog": str(self.folder),
            "problem": self.problem,
            "refused": self.refused,
            "pending": self.pending,
            "killed": list(self.killed),
            "goals": dict(self.goals),
            "definitions": [
                {
                    "key": row.key,
                    "kind": row.kind,
                    "status": row.status,
                    "allocation": row.share_bp / 10_000,
                    "ramp_to": None if row.ramp_to_bp is None else row.ramp_to_bp / 10_000,
                    "layer": row.layer or None,
                    "exposed_units": row.exposed,
                    "decision": row.decision or None,
                    "killed": row.killed,
                    "shipped": row.shipped or None,
                    "ramp_waits": row.waits or None,
                }
                for row in self.rows
            ],
        }


def started(now: Definition, *, share_bp: int | None, new_phase: bool) -> dict[str, str]:
    """Return the edit that starts a definition, or a new phase of one that is running."""
    if now.status is Status.RUNNING and not new_phase:
        hint = f"to raise its share: `opportune ramp {now.key} 100%`"
        raise RefusedError(f"{now.key} is running already; {hint}")
    values = {} if now.status is Status.RUNNING else {"status": Status.RUNNING.value}
    if isinstance(now, Experiment):
        _check_start(now, share_bp=share_bp, new_phase=new_phase)
        if new_phase:
            values["phase"] = str(now.phase + 1)
    elif new_phase:
        raise RefusedError(f"{now.key} is a flag: a flag has no phases")
    if share_bp is not None:
        _check_no_ramp(now)
        values["allocation"] = percent(share_bp)
    return values


def _check_no_ramp(now: Definition) -> None:
    if now.ramp:
        raise RefusedError(
            f"{now.key} follows the steps of its ramp ({ramp_words(now.ramp)}): change them in its file, "
            "or put 'allocation: ...' in the place of 'ramp:', then `opportune apply`"
        )


def _check_start(now: Experiment, *, share_bp: int | None, new_phase: bool) -> None:
    if now.status is Status.STOPPED:
        raise RefusedError(
            f"{now.key} was stopped: its question is answered and its key is never used again. "
            "Ask anew with `opportune new experiment NEW-NAME`"
        )
    if now.status is Status.DRAFT and new_phase:
        raise RefusedError(f"{now.key} never ran: start it without --new-phase")
    if (
        share_bp is not None
        and share_bp < now.allocation_bp
        and now.status is not Status.DRAFT
        and not new_phase
    ):
        raise RefusedError(_no_shrinking(now, share_bp))


def stopped(now: Definition) -> dict[str, str]:
    """Return the edit that stops a definition."""
    if now.status is Status.STOPPED:
        raise RefusedError(f"{now.key} is stopped already")
    if now.status is Status.DRAFT:
        raise RefusedError(
            f"{now.key} is not live (a draft, or not applied yet): there is nothing to stop; "
            "delete its file if it is not wanted"
        )
    return dict(STOP)


def ramped(now: Definition, *, share_bp: int) -> dict[str, str]:
    """Return the edit that changes the share of visitors; an experiment's share only grows."""
    if now.status is Status.STOPPED:
        raise RefusedError(f"{now.key} is stopped: nobody takes part any more")
    if now.status is Status.DRAFT:
        raise RefusedError(
            f"{now.key} is not live (a draft, or not applied yet): `opportune start {now.key}` first"
        )
    _check_no_ramp(now)
    if share_bp == now.allocation_bp:
        raise RefusedError(f"{now.key} is at {percent(share_bp)} already")
    if isinstance(now, Experiment) and share_bp < now.allocation_bp:
        raise RefusedError(_no_shrinking(now, share_bp))
    return {"allocation": percent(share_bp)}


def _no_shrinking(now: Experiment, share_bp: int) -> str:
    return (
        f"{now.key} is at {percent(now.allocation_bp)}: {percent(share_bp)} would take out people "
        "who are counted already. "
        f"To end it, `opportune stop {now.key}`; in an emergency, `opportune kill {now.key}`"
    )


def steer(store: Store, folder: Path, key: str, change: Change, *, now: datetime) -> Steered:
    """Edit the file that defines `key`, check the whole folder, write, apply.

    Raises
    ------
    RefusedError
        If the change makes no sense, or the file cannot be edited safely.
    CatalogError
        If the folder has errors or may not go live. In every case nothing was changed.
    """
    files = read_folder(folder)
    known = launch.definitions(load(files))
    live = launch.definitions(launch.live_catalog(store))
    standing = _standing(key, live, known, folder)
    values = change(standing)
    edit = _edited(store, files, key, values)
    edited_files = {**files, edit.file: edit.text}
    refused = launch.refusals(store, edited_files, now=now)
    if refused:
        raise launch.BlockedError(refused)
    others = tuple(d.key for d in diff(launch.live_catalog(store), load(edited_files)) if d.key != key)
    _write(folder / edit.file, edit.text)
    try:
        applied = launch.apply(store, edited_files, by=f"cli {key}", now=now)
    except Exception:
        # A file that was edited but not applied would be made live by the watch, behind the user's back.
        _put_back(folder / edit.file, files.get(edit.file))
        raise
    return Steered(
        key=key,
        file=edit.file,
        values=values,
        before=standing,
        applied=applied,
        others=others,
        restored=edit.restored,
    )


def _put_back(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        _write(path, text)


@dataclass(frozen=True, slots=True)
class _Edit:
    """The new text of one file; `restored` when it comes from the live revision."""

    file: str
    text: str
    restored: bool = False


def _standing(
    key: str, live: Mapping[str, Definition], known: Mapping[str, Definition], folder: Path
) -> Definition:
    """Return `key` as it is live; what the folder says of it, as a draft, when it is not live."""
    if key in live:
        return live[key]
    if key not in known:
        hint = launch.suggest(key, {**live, **known}) or f"make it with `opportune new experiment {key}`"
        raise RefusedError(f"neither {folder} nor the live catalog defines '{key}': {hint}")
    return replace(known[key], status=Status.DRAFT)


def _edited(store: Store, files: Mapping[str, str], key: str, values: Mapping[str, str]) -> _Edit:
    """Return the edit of the file that defines `key`; what is to stop comes back from the live revision."""
    here = find(files, key)
    stored = store.revision(store.live_state().revision)
    there = find(stored.files, key) if stored else None
    text = files[here.file] if here else ""
    try:
        if here is not None and not (there and _is_draft(files, key) and values == STOP):
            return _Edit(here.file, set_values(text, here.path, values))
        if stored is None or there is None or values != STOP or there.kind != "experiment":
            was = f" (it was in {there.file})" if there else ""
            raise RefusedError(
                f"{key} is live, but no file of the folder defines it any more{was}: put the file back; "
                + (
                    f"`opportune stop {key}` ends it"
                    if values != STOP
                    else "`opportune apply` removes a flag"
                )
            )
        file = here.file if here else _free(files, there.file, key)
        return _Edit(file, set_values(stored.files[there.file], there.path, values), restored=True)
    except EditError as error:
        raise RefusedError(f"{here.file if here else key}: {error}") from error


def _is_draft(files: Mapping[str, str], key: str) -> bool:
    definition = launch.definitions(load(files)).get(key)
    return definition is not None and definition.status is Status.DRAFT


def _free(files: Mapping[str, str], former: str, key: str) -> str:
    """Return the path that a file had, or one that no other definition has taken."""
    names = (former, f"experiments/{key}.yaml", *(f"experiments/{key}-{i}.yaml" for i in range(2, 99)))
    return next(name for name in names if name not in files)


def _write(path: Path, text: str) -> None:
    """Replace a file as one step, keeping its mode: a reader sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else NEW_FILE
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as target:
            target.write(text)
            target.flush()
            os.fsync(target.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def status(store: Store, folder: Path, *, now: datetime) -> Desk:
    """Return what is live, what is killed, and how the folder stands to it."""
    state = store.live_state()
    loaded = launch.live_catalog(store)
    served = loaded and steered(loaded, state)
    problem, refused, pending = "", "", 0
    try:
        files = read_folder(folder)
        pending = len(diff(loaded, load(files)))
        refused = "; ".join(_said(found) for found in launch.refusals(store, files, now=now))
    except CatalogError as error:
        n, first = len(error.findings), error.findings[0]
        counted = f"{n} errors, the first" if n > 1 else "an error"
        problem = f"{counted} at {_said(first)}"
    return Desk(
        stored=store.revision(state.revision),
        folder=folder,
        problem=problem,
        refused=refused,
        pending=pending,
        killed=tuple(sorted(state.killed)),
        rows=tuple(_rows(store, served, state.killed, now)) if served else (),
        goals=counts(standings(store, loaded, now=now)) if loaded else {},
    )


def _said(found: Finding) -> str:
    hint = f" ({found.hint})" if found.hint and found.code.startswith("E5") else ""
    return f"{found.path}:{found.line}:{found.column}: {found.message}{hint}"


def _rows(store: Store, loaded: LoadedCatalog, killed: frozenset[str], now: datetime) -> list[Row]:
    found: list[Row] = []
    definitions: list[Definition] = [*loaded.catalog.experiments.values(), *loaded.catalog.flags.values()]
    for definition in definitions:
        is_experiment = isinstance(definition, Experiment)
        verdict = _verdict(store, definition.key) if is_experiment else {}
        exposed = verdict.get("exposure", {}).get("exposed_units")
        share_bp = definition.share_at(now)
        found.append(
            Row(
                key=definition.key,
                kind="experiment" if is_experiment else "flag",
                status=definition.status.value,
                share_bp=share_bp,
                ramp_to_bp=None if share_bp == definition.allocation_bp else definition.allocation_bp,
                layer=slot_words(definition.layer) if definition.layer else "",
                exposed=sum(exposed.values()) if isinstance(exposed, dict) else None,
                decision=str(verdict.get("decision", "")),
                killed=bool(killed & {definition.key, EVERYTHING}),
                shipped=definition.shipped if isinstance(definition, Experiment) else "",
                waits=_waits(store, definition, now) if isinstance(definition, Experiment) else "",
            )
        )
    return found


def _waits(store: Store, experiment: Experiment, now: datetime) -> str:
    """Say what keeps the next step of a ramp closed although its time has come; nothing if nothing does."""
    if experiment.shipped or experiment.status in CLOSED:
        return ""
    if opened_by(experiment.ramp, experiment.ramp_limit, now) is None:
        return ""
    decided = store.decisions(experiment.key, phase=experiment.phase, limit=LOOK_BACK)
    newest = next((one for one in decided if one.action in RAMP), None)
    if newest is not None and newest.action == Action.RAMP_HOLD:
        return newest.reason
    n = len(experiment.timed_steps) + 1
    return f"Step {n} of the ramp waits for a verdict of the worker that finds its guardrails in order."


def _verdict(store: Store, key: str) -> dict[str, Any]:
    snapshot = store.latest_verdict(key)
    body = json.loads(snapshot.body) if snapshot else {}
    return body if isinstance(body, dict) else {}
