"""Before a SQLite file is upgraded: a copy that stays, and a try on another one."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection

from service.storage.engine import store_errors
from service.storage.ports import StoreUnavailableError
from service.storage.sqlite import SqliteDatabase, copy_before, create
from service.storage.version import HEAD

REHEARSAL = ".rehearsal-"
PAGES = 4_096


def keep_copy(database: Path) -> Path:
    """Copy the file as it is to ``<name>.before-<revision>``; the caller holds the writer's turn.

    The name appears with the whole content or not at all. A copy of an earlier try is replaced.
    """
    copy = copy_before(database, HEAD)
    unfinished = copy.with_name(f"{copy.name}.part")
    with _disk_errors(database):
        for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
            left.unlink(missing_ok=True)
        try:
            create(unfinished)
            with (
                closing(sqlite3.connect(database)) as source,
                closing(sqlite3.connect(unfinished, isolation_level=None)) as target,
            ):
                source.backup(target, pages=PAGES)
                # One file, without a write-ahead log beside it.
                target.execute("PRAGMA journal_mode=DELETE")
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync(unfinished)
        unfinished.replace(copy)
        _sync(copy.parent)
    return copy


@contextmanager
def rehearsed(copy: Path) -> Iterator[Connection]:
    """Give a transaction on a throw-away copy of `copy`; afterwards it must be sound and hold the same log.

    Raises
    ------
    StoreUnavailableError
        If it is not, or there is no room for it; the database itself was not touched.
    """
    for left in copy.parent.glob(f"{REHEARSAL}*"):
        shutil.rmtree(left, ignore_errors=True)
    with (
        _disk_errors(copy),
        tempfile.TemporaryDirectory(prefix=REHEARSAL, dir=copy.parent, ignore_cleanup_errors=True) as folder,
    ):
        stage = Path(shutil.copyfile(copy, Path(folder) / copy.name))
        database = SqliteDatabase(stage)
        try:
            with database.writing(within_s=None) as connection:
                before = _events(connection)
                yield connection
                after = _events(connection)
            with database.reading() as connection:
                said = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        finally:
            database.close()
    if said != "ok" or after != before:
        raise StoreUnavailableError(
            f"the upgrade was tried on a copy and failed ({said}; events before {before}, after {after}); "
            f"the database was not touched"
        )


def _events(connection: Connection) -> tuple[int, int]:
    row = connection.exec_driver_sql("SELECT count(*), coalesce(max(seq), 0) FROM event").one()
    return int(row[0]), int(row[1])


@contextmanager
def _disk_errors(database: Path) -> Iterator[None]:
    with store_errors():
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailableError(
                f"the upgrade needs a copy of the database in {database.parent} first, and that failed: "
                f"{error}; the database was not touched"
            ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
