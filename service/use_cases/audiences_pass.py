"""Who did what, found out by the worker: one pass over the lake, one file, renamed into place."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from experiments.definitions import Catalog
from experiments.membership import Membership, tables
from service.clock import to_micros
from service.lake.behaviours import holders
from service.lake.engines.duckdb import open_duckdb
from service.lake.places import Where, at, sync_folder
from service.log import logger
from service.settings import Settings
from service.storage.ports import Store
from service.use_cases.audiences import LOOKED, MEMBERS, Looked, MembersFile, facts_of, frozen_of
from service.use_cases.judge import judged_catalog

# A pass waits this long after the last one, and three times as long as that took: a quarter of a core.
DEBOUNCE_S = 2.0
SHARE_OF_TIME = 3
# Windows slide, whether anything happens or not.
SLIDE_S = 60.0


@dataclass(slots=True, kw_only=True)
class Pace:
    """When the next pass is due, by a clock in seconds that never goes back."""

    debounce_s: float = DEBOUNCE_S
    share_of_time: float = SHARE_OF_TIME
    slide_s: float = SLIDE_S
    _seen: object = None
    _after: float = 0.0
    _slide_after: float = 0.0

    def rests(self, clock: float) -> bool:
        """Say whether it is too early, whatever has happened."""
        return clock < self._after

    def is_due(self, clock: float, place: object) -> bool:
        """Say whether `place`, what a pass depends on, is another one, or windows have slid for a while."""
        return not self.rests(clock) and (place != self._seen or clock >= self._slide_after)

    def did(self, place: object, *, started: float, ended: float) -> None:
        """Note a pass; None for a place if it failed."""
        self._seen = place
        self._after = ended + max(self.debounce_s, self.share_of_time * (ended - started))
        self._slide_after = ended + self.slide_s


class AudienceKeeper:
    """Keeps the membership file true: after news in the lake or the catalog, and while windows slide."""

    def __init__(self, settings: Settings, store: Store, *, pace: Pace | None = None) -> None:
        self._settings = settings
        self._store = store
        self._lake = at(settings.lake)
        self._pace = pace or Pace()

    def look(self, *, now: datetime) -> None:
        """Do a pass if one is due."""
        started = time.monotonic()
        if self._pace.rests(started):
            return
        # An erasure replaces the manifest just as new events do.
        place = (self._store.live_state().revision, at(self._lake).stamp())
        if not self._pace.is_due(started, place):
            return
        reached = None
        try:
            self._pass(judged_catalog(self._store)[1].catalog, now=now, started=started)
            reached = place
        finally:
            self._pace.did(reached, started=started, ended=time.monotonic())

    def _pass(self, catalog: Catalog, *, now: datetime, started: float) -> None:
        if not facts_of(catalog) and not (self._settings.audiences / MEMBERS).exists():
            return
        membership = find_members(catalog, self._lake, self._settings.audiences, now=now)
        seconds = round(time.monotonic() - started, 3)
        _note_pass(self._settings.audiences, membership, now=now, seconds=seconds)
        logger().info("audiences_refreshed", people=membership.count, seconds=seconds)


def find_members(catalog: Catalog, lake: Where, folder: Path, *, now: datetime) -> Membership:
    """Look for everybody the catalog asks about; write the file if it would say anything else than before."""
    with open_duckdb(lake) as engine:
        found = holders(engine, facts_of(catalog), frozen_of(catalog), now_us=to_micros(now))
        offset = engine.offset
    as_of = now.astimezone(UTC).isoformat(timespec="seconds")
    pieces = tables(found.names, found.prints, found.masks, as_of=as_of, offset=offset)
    membership = Membership(b"".join(pieces))
    before = MembersFile(folder)
    before.look()
    if before.current.digest != membership.digest:
        write_members(folder, pieces)
    return membership


def _note_pass(folder: Path, membership: Membership, *, now: datetime, seconds: float) -> None:
    looked = Looked(
        as_of=now.astimezone(UTC).isoformat(timespec="seconds"),
        log_offset=membership.offset,
        digest=membership.digest,
        seconds=seconds,
    )
    write_members(folder, [json.dumps(asdict(looked)).encode()], name=LOOKED)


def write_members(folder: Path, pieces: Sequence[bytes], *, name: str = MEMBERS) -> None:
    """Put a file in its place in one step; it tells of people, so nobody else may read it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = folder / f"{name}.tmp"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / name)
    sync_folder(folder)
