"""The second process: watches the catalog, fills the lake, finds audiences, judges, has models trained.

Each duty is a step that may be repeated after a crash at any point. A duty that fails is logged once
for each new message and tried again; it never stops the others. Of all workers that serve one store the
holder of a lease does them; the others stand by.
"""

import fcntl
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, timedelta
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from service import log
from service.catalog import CatalogError
from service.clock import Clock, utc_now
from service.lake import LakeBusyError, LakeError, export, forget, lake_at
from service.lake.engines import open_engine
from service.log import logger
from service.settings import Settings
from service.settings import load as load_settings
from service.storage.holding import LeaseKeeper
from service.storage.leases import under
from service.storage.ports import Keep, Store, StoreUnavailableError
from service.storage.retention import MOST_AT_ONCE
from service.storage.sql import open_store
from service.use_cases.acting import Actor
from service.use_cases.archive import BackupError, check_restored
from service.use_cases.audiences_pass import AudienceKeeper
from service.use_cases.backup import sweep_unfinished
from service.use_cases.catalog_watch import CatalogWatch, Tell, first_finding, quiet
from service.use_cases.goals_pass import GoalKeeper
from service.use_cases.growth import note_growth, sizes
from service.use_cases.heartbeat import Heartbeat, beat
from service.use_cases.judge import UnjudgedError, refresh_verdicts
from service.use_cases.launch import live_catalog
from service.use_cases.training_child import TrainingChild

TICK_S = 1.0
LOCK = "worker.lock"
LEASE = "worker"
# Of the kernel, where it is Linux: no two machines have the same.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Verdicts wait this long after the last refresh, and three times as long as it took: a quarter of a core.
DEBOUNCE_S = 2.0
SHARE_OF_TIME = 3
# Exposures in quarantine do not make the log grow, so verdicts are looked at now and then in any case.
LOOK_AGAIN_S = 60.0
# A log that has not grown for this long has settled: its last exposures, too few to be news, get their row.
SETTLED_S = 10.0
# What follows from a verdict is looked for after each one, and for a ramp whose time has come also between.
DECIDE_EVERY_S = 5.0
PRUNE_EVERY_S = 3_600.0
MEASURE_EVERY_S = 600.0


Duties: TypeAlias = tuple[tuple[str, Callable[[], None]], ...]


class Worker:
    """The duties of one process over one home; `run` returns when `stop` was called."""

    def __init__(
        self, settings: Settings, store: Store, *, clock: Clock = utc_now, tell: Tell = quiet
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._catalog = CatalogWatch(settings, store, tell=tell)
        self._lake = lake_at(settings.lake, store)
        self._keeper = LeaseKeeper(store, LEASE, holder=_name_of(settings.home))
        self._stands_by = False
        self._stopping = threading.Event()
        self._problems: dict[str, str] = {}
        self._offset = -1
        self._judged: tuple[int, int] = (-1, -1)
        self._judge_after = 0.0
        self._look_after = 0.0
        self._unjudged: UnjudgedError | None = None
        self._audiences = AudienceKeeper(settings, store)
        self._goals = GoalKeeper(settings, store)
        self._actor = Actor(settings, store, clock=clock, tell=tell)
        self._decide_after = 0.0
        self._training = TrainingChild(settings, store)
        self._prune_after = 0.0
        self._measure_after = 0.0

    def stop(self) -> None:
        """Let the step under way finish, then end."""
        self._stopping.set()

    def run(self) -> None:
        """Do every duty about once a second until told to stop."""
        while not self._stopping.is_set():
            started = time.monotonic()
            self.step()
            self._actor.send(wanted=self._keeper.lease is not None)
            self._stopping.wait(max(0.0, TICK_S - (time.monotonic() - started)))
        self._actor.send(wanted=False)
        self._training.stop()
        self._keeper.close()
        self._do("heartbeat", self._beat)

    def step(self) -> None:
        """Do every duty once; those of the store only as the one worker that holds the lease."""
        self._do("lease", self._seek)
        self._do("heartbeat", self._beat)
        self._do_all((("catalog", self._watch_catalog), ("measuring", self._measure)))
        lease = self._keeper.lease
        if lease is None:
            self._training.stop()
            if isinstance(self._settings.lake, str):
                # The other worker fills this lake, too, and web workers of this home need the audiences.
                self._do_all((("audiences", self._keep_audiences),))
            return
        duties: Duties = (
            ("lake", self._export),
            ("audiences", self._keep_audiences),
            ("verdicts", self._judge),
            ("decisions", self._decide),
            ("goals", self._keep_goals),
            ("training", self._train),
            ("pruning", self._prune),
        )
        with under(lease):
            for duty in duties:
                if self._keeper.lease is not None:
                    self._do_all((duty,))

    def _do_all(self, duties: Duties) -> None:
        for name, duty in duties:
            if not self._stopping.is_set():
                self._do(name, duty)

    def _do(self, name: str, duty: Callable[[], None]) -> None:
        try:
            duty()
        except Exception as error:  # noqa: BLE001 - one duty's trouble must not stop the others
            problem = _told(error)
            if self._problems.get(name) != problem:
                _log_failure(name, error)
            self._problems[name] = problem
            return
        if self._problems.pop(name, ""):
            with suppress(OSError):
                logger().info("duty_recovered", duty=name)

    def _beat(self) -> None:
        at = self._clock().astimezone(UTC).isoformat()
        heartbeat = Heartbeat(
            process_id=os.getpid(),
            at=at,
            lake_offset=max(0, self._offset),
            problems=dict(self._problems),
            stand_by=self._stands_by,
        )
        beat(self._settings.home, heartbeat)

    def _seek(self) -> None:
        try:
            lease = self._keeper.seek()
        except StoreUnavailableError:
            # Nobody can tell who holds it; every duty would tell of the store itself.
            self._stands_by = False
            raise
        if (lease is None) != self._stands_by:
            self._stands_by = lease is None
            logger().info("stands_by" if lease is None else "takes_over", duty=LEASE)

    def _watch_catalog(self) -> None:
        if self._settings.watch_catalog:
            self._catalog.look(now=self._clock())

    def _export(self) -> None:
        while not self._stopping.is_set() and self._keeper.lease is not None:
            try:
                reached = export(self._store, self._lake, wait=False)
            except LakeBusyError:
                # A backup or a training reads: nothing is lost by trying again at the next tick.
                return
            before, self._offset = self._offset, reached
            if self._offset == before:
                return

    def _keep_audiences(self) -> None:
        self._audiences.look(now=self._clock())

    def _judge(self) -> None:
        now = time.monotonic()
        place = (self._offset, self._store.live_state().revision)
        is_new = place != self._judged
        is_due = is_new and now >= self._judge_after
        if not is_due and now < self._look_after:
            if self._unjudged is not None:
                # It lasts until the next look shows that it is over.
                raise self._unjudged.with_traceback(None)
            return
        self._unjudged = None
        try:
            kept = refresh_verdicts(
                self._store,
                self._settings.lake,
                now=self._clock(),
                settled=not is_new,
                partials=self._settings.partials,
                engine=None if self._settings.engine == "duckdb" else open_engine(self._settings),
            )
        except UnjudgedError as error:
            kept, self._unjudged = error.kept, error.with_traceback(None)
        done = time.monotonic()
        self._judged = place
        self._judge_after = done + max(DEBOUNCE_S, SHARE_OF_TIME * (done - now))
        self._look_after = done + (SETTLED_S if is_new else LOOK_AGAIN_S)
        if kept:
            self._decide_after = 0.0
            logger().info("verdicts_refreshed", kept=kept, log_offset=place[0], seconds=round(done - now, 3))
        if self._unjudged is not None:
            raise self._unjudged

    def _decide(self) -> None:
        now = time.monotonic()
        if now >= self._decide_after:
            self._decide_after = now + DECIDE_EVERY_S
            self._actor.decide()

    def _keep_goals(self) -> None:
        self._goals.look(now=self._clock())

    def _train(self) -> None:
        self._training.look(now=self._clock())

    def _prune(self) -> None:
        started = time.monotonic()
        if started < self._prune_after:
            return
        self._prune_after = started + LOOK_AGAIN_S
        keep, now = self._keep(), self._clock()
        if keep is None:
            return
        deleted = self._store.prune(now=now, keep=keep, exported=max(0, self._offset))
        with suppress(LakeBusyError):
            forget(
                self._lake,
                events_before=(now - timedelta(days=keep.events)).astimezone(UTC).date(),
                interactions_before=(now - timedelta(days=keep.interactions)).astimezone(UTC).date(),
            )
        done = time.monotonic()
        backlog = max(deleted.values()) >= MOST_AT_ONCE
        self._prune_after = done + (SHARE_OF_TIME * (done - started) if backlog else PRUNE_EVERY_S)

    def _keep(self) -> Keep | None:
        """Return what the live catalog says; None while this code can read none: nothing is deleted then."""
        if not self._store.live_state().revision:
            return Keep()
        loaded = live_catalog(self._store)
        return loaded.data.keep if loaded else None

    def _measure(self) -> None:
        if time.monotonic() >= self._measure_after:
            self._measure_after = time.monotonic() + MEASURE_EVERY_S
            note_growth(self._settings, sizes(self._store, self._settings), now=self._clock())


def _name_of(home: Path) -> str:
    """Return the name of the one worker of a home, another one wherever the home was copied or moved to.

    After a restart of the machine it is another one, too, and waits for what the old one held to expire.
    """
    file = home / "run" / "worker.id"
    if not (file.exists() and file.read_text("utf-8")):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{secrets.token_hex(4)}")
        temporary.write_text(secrets.token_hex(8), "utf-8")
        temporary.replace(file)
    # A copy of the file has its bytes, not its place: of containers the host may have any name and id.
    boot = BOOT_ID.read_text("utf-8").strip() if BOOT_ID.exists() else ""
    place = file.stat()
    said = (socket.gethostname(), boot, home, f"{place.st_dev}.{place.st_ino}", file.read_text("utf-8"))
    return ":".join(map(str, said))


def _told(error: Exception) -> str:
    """Return what the heartbeat, and through it `/readyz`, says: one line, without a path of this machine."""
    if isinstance(error, CatalogError):
        return first_finding(error)
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return f"{type(error).__name__}: {why}"[:2_000]


def _log_failure(duty: str, error: Exception) -> None:
    # On a full disk the log may be refused too, and that is no reason to end.
    with suppress(OSError):
        if isinstance(error, CatalogError):
            # Whoever edits the folder was told in words already.
            logger().info("catalog_refused", findings=len(error.findings), first=_told(error))
        else:
            logger().error("duty_failed", duty=duty, error=f"{type(error).__name__}: {error}"[:2_000])


@contextmanager
def only_worker(home: Path) -> Iterator[bool]:
    """Hold the home's worker lock; False if another process has it. The kernel frees it when we die."""
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _tell(text: str) -> None:
    # Under `make run` standard error is what the person who edits the catalog looks at.
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def main() -> int:
    """Run the worker until SIGTERM or SIGINT; return the exit code."""
    settings = load_settings()
    log.configure(settings.log_level)
    with only_worker(settings.home) as alone:
        if not alone:
            sys.stderr.write("opportune: another worker already serves this home; this one ends\n")
            return 3
        try:
            check_restored(settings.home)
        except BackupError as error:
            sys.stderr.write(f"opportune: {error}\n")
            return 1
        sweep_unfinished(settings.home)
        store = open_store(settings)
        try:
            worker = Worker(settings, store, tell=_tell)

            def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
                worker.stop()

            signal.signal(signal.SIGTERM, ask_to_stop)
            signal.signal(signal.SIGINT, ask_to_stop)
            logger().info("worker_started", process_id=os.getpid())
            worker.run()
        except LakeError as error:
            sys.stderr.write(f"opportune: {error}\n")
            return 1
        finally:
            store.close()
    return 0
