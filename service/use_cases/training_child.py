"""Daily training in a child process: its memory is limited, and given back when it ends."""

import os
import resource
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recommender.definitions import RankBy
from service.log import logger
from service.settings import REPOSITORY, Settings, child_environment
from service.storage.ports import Store
from service.use_cases.launch import live_catalog

EVERY = timedelta(days=1)
ATTEMPT = "training.attempt"
LOG = "training.log"
MIN_MEMORY = 4 * 2**30
SHARE_OF_MEMORY = 0.75
STOP_S = 10.0
COMMAND = (sys.executable, "-m", "service.cli.main", "train")


class TrainingError(Exception):
    """The last training did not end well; the last good model keeps serving."""


class TrainingChild:
    """At most one training at a time; started a day after the last attempt or the newest model."""

    def __init__(self, settings: Settings, store: Store, *, command: tuple[str, ...] = COMMAND) -> None:
        self._settings = settings
        self._store = store
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None

    def look(self, *, now: datetime) -> None:
        """Start a training that is due, or note that one has ended; never waits.

        Raises
        ------
        TrainingError
            If the child has just ended with an error; its words are in training.log.
        """
        if self._child is not None:
            self._collect()
        elif self._is_due(now):
            self._start()

    def stop(self) -> None:
        """End a training that is under way: the next one starts anew, nothing half-made is ever served."""
        if self._child is None:
            return
        if self._child.poll() is None:
            # What we cut short was no attempt: the next worker starts at once, not a day later.
            (self._settings.home / ATTEMPT).unlink(missing_ok=True)
        self._child.terminate()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def _is_due(self, now: datetime) -> bool:
        if self._last() + EVERY > now or not self._store.last_seq():
            return False
        loaded = live_catalog(self._store)
        wanted = loaded.recommenders.values() if loaded else ()
        return any(recommender.rank_by is RankBy.MODEL for recommender in wanted)

    def _last(self) -> datetime:
        made = [self._settings.home / ATTEMPT, *self._settings.models.glob("*/manifest.json")]
        return max((_modified(path) for path in made), default=datetime.min.replace(tzinfo=UTC))

    def _start(self) -> None:
        (self._settings.home / ATTEMPT).touch()
        environment = child_environment(
            OPPORTUNE_HOME=str(self._settings.home),
            OPPORTUNE_CATALOG=str(self._settings.catalog),
            OPPORTUNE_DATABASE_URL=self._settings.database_url,
            OPPORTUNE_LAKE=str(self._settings.lake),
        )
        with (self._settings.home / LOG).open("wb") as output:
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                env=environment,
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        limit = max(MIN_MEMORY, int(SHARE_OF_MEMORY * _physical_memory()))
        if hasattr(resource, "prlimit"):
            resource.prlimit(self._child.pid, resource.RLIMIT_AS, (limit, limit))
        logger().info("training_started", process_id=self._child.pid)

    def _collect(self) -> None:
        code = self._child.poll() if self._child else None
        if code is None:
            return
        self._child = None
        if code:
            raise TrainingError(f"`opportune train` ended with {code}; see {LOG} in the home folder")
        logger().info("training_finished")


def _modified(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return datetime.min.replace(tzinfo=UTC)


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
