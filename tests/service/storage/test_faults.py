"""What goes wrong under the store: it is told to whom it concerns, and it ends when its cause ends."""

import fcntl
import resource
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import exc

from service.storage import commit
from service.storage.commit import GroupCommitter
from service.storage.migrate import migrate
from service.storage.ports import IngestBatch, StoreUnavailableError
from service.storage.records import AppendStatus, KeyClass
from service.storage.rows import encode
from service.storage.sql import SqlStore
from service.storage.sqlite import SqliteDatabase, lock_path
from service.storage.writers import SqliteWriter
from tests.server import until
from tests.service.storage.facts import NOW, a_bad_event, a_batch, an_event, file_of


@pytest.fixture
def store(sqlite_store: SqlStore) -> SqlStore:
    """Give a store on SQLite: what is tested here only a file has."""
    return sqlite_store


@contextmanager
def stuck_writer(path: Path) -> Iterator[None]:
    with lock_path(path).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        yield


@contextmanager
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class DamagedLog(SqliteDatabase):
    """A file whose write-ahead log SQLite cannot cut any more."""

    def checkpoint(self, *, over_bytes: int = 0) -> None:
        raise sqlite3.DatabaseError(f"database disk image is malformed ({over_bytes})")


class Broken(SqliteDatabase):
    """Fails after each commit with an error of a given kind."""

    kind: type[BaseException] = MemoryError

    def tidy(self) -> None:
        raise self.kind


class Ending(Broken):
    kind = SystemExit


@pytest.mark.parametrize("kind", [DamagedLog, Broken, Ending])
def test_whatever_fails_after_a_commit_the_next_batch_is_written(
    store: SqlStore, kind: type[SqliteDatabase]
) -> None:
    database = kind(file_of(store))
    committer = GroupCommitter(database, SqliteWriter())

    for n in range(3):
        told = committer.append(encode(a_batch(an_event(f"e{n}")), tenant="default"))
        assert told == [AppendStatus.ACCEPTED]

    committer.close()
    database.close()
    assert store.last_seq() == 3


def test_a_change_that_is_durable_is_not_called_a_failure_because_of_the_log_behind_it(
    store: SqlStore,
) -> None:
    database = DamagedLog(file_of(store))

    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE event SET type = 'x'")

    database.close()


def test_a_stuck_writer_is_waited_for_no_longer_than_said_and_the_turn_comes_back(store: SqlStore) -> None:
    database = SqliteDatabase(file_of(store))

    with (
        stuck_writer(file_of(store)),
        pytest.raises(StoreUnavailableError, match=r"another writer .* for 0.05 s; nothing was changed"),
        database.lock.held(within_s=0.05),
    ):
        pytest.fail("two writers at once")

    with database.lock.held(), pytest.raises(StoreUnavailableError), database.lock.held(within_s=0.05):
        pytest.fail("two writers at once")
    with database.lock.held(within_s=60):
        pass
    store.set_keys("web", {"aa": KeyClass.CLIENT}, now=NOW)
    database.close()


def test_a_change_waits_its_turn_behind_threads_that_write_all_the_time(store: SqlStore) -> None:
    enough = threading.Event()

    def keep_writing(name: int) -> None:
        n = 0
        while not enough.is_set():
            n += 1
            store.append(a_batch(an_event(f"{name}-{n}")))

    threads = [threading.Thread(target=keep_writing, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for n in range(20):
        store.set_killed("hero", killed=bool(n % 2), by="maria", now=NOW)
    enough.set()
    for thread in threads:
        thread.join()

    assert store.live_state().killed == {"hero"}


def test_a_stuck_writer_does_not_keep_a_store_from_closing(store: SqlStore) -> None:
    database = SqliteDatabase(file_of(store))
    committer = GroupCommitter(database, SqliteWriter(), patience_s=0.05)

    with stuck_writer(file_of(store)):
        with pytest.raises(StoreUnavailableError):
            committer.append(encode(a_batch(an_event("e1")), tenant="default"))
        assert committer.close() is False

    assert committer.close() is True
    database.close()
    assert store.last_seq() == 1


def test_interactions_take_room_in_the_waiting_room() -> None:
    batch = encode(
        a_batch(an_event("e1"), an_event("e2", user_id=None), an_event("e3", properties={})),
        tenant="default",
    )

    assert batch.weight == 1 + 3 + (2 + 1 + 0)


def test_large_events_take_more_room_so_that_bytes_are_bounded_like_rows() -> None:
    large = an_event("e1", properties={"note": "x" * 32_000})
    batch = encode(IngestBatch(events=[large], quarantined=[a_bad_event("y" * 1_000_000)]), tenant="default")

    assert 250 < batch.weight < 260


def test_an_error_of_the_driver_repeats_nothing_that_is_personal(store: SqlStore) -> None:
    insert = "INSERT INTO session (tenant, sha256, key_class, expires_us) VALUES (?, ?, ?, ?)"
    row = ("default", "very-secret-person", "ck", 1)

    with pytest.raises(exc.IntegrityError) as refused, store.writing() as connection:
        connection.exec_driver_sql(insert, [row, row])

    assert "very-secret-person" not in str(refused.value)


def test_only_its_owner_reads_the_files_of_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    migrate(f"sqlite:///{path}")
    store = SqlStore(path)
    store.append(a_batch(an_event("e1")))

    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in tmp_path.iterdir()}
    store.close()

    assert {"shop.db", "shop.db-wal", "shop.db-shm", "shop.db.lock", "shop.db.inuse"} <= set(modes)
    assert set(modes.values()) == {"0o600"}


def test_the_store_is_not_ready_from_a_failed_write_until_there_is_room_again(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "PROBE_EVERY_S", 0.0)
    store.append(a_batch(an_event("e0")))
    with full_disk():
        store.ping()
        with pytest.raises(StoreUnavailableError):
            store.append(a_batch(an_event("e1")))
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                store.ping()

    store.ping()


def test_a_write_that_succeeds_makes_the_store_ready_at_once(store: SqlStore) -> None:
    with full_disk():
        for n in range(2):
            with pytest.raises(StoreUnavailableError):
                store.append(a_batch(an_event(f"e{n}")))

    store.append(a_batch(an_event("e2")))
    store.ping()


def test_a_stuck_writer_is_told_by_ping_until_it_has_gone(store: SqlStore) -> None:
    database = SqliteDatabase(file_of(store))
    committer = GroupCommitter(database, SqliteWriter(), patience_s=0.05)
    with stuck_writer(file_of(store)):
        with pytest.raises(StoreUnavailableError):
            committer.append(encode(a_batch(an_event("e1")), tenant="default"))
        with pytest.raises(StoreUnavailableError):
            committer.check()

    while store.last_seq() < 1:
        time.sleep(0.01)
    assert committer.close()
    committer.check()
    database.close()


def test_a_stuck_writer_is_told_although_no_thread_waits_for_it(store: SqlStore) -> None:
    database = SqliteDatabase(file_of(store))
    committer = GroupCommitter(database, SqliteWriter(), patience_s=0.05)

    def hangs() -> bool:
        try:
            committer.check()
        except StoreUnavailableError:
            return True
        return False

    with stuck_writer(file_of(store)):
        pending = committer.submit(encode(a_batch(an_event("e1")), tenant="default"))
        until(hangs)

    assert pending.result() == [AppendStatus.ACCEPTED]
    assert committer.close()
    committer.check()
    database.close()
