"""Acknowledged means stored: writers are killed with -9 in the middle, disks fill, locks outlive nobody."""

import fcntl
import multiprocessing
import os
import random
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from service.settings import SettingsError
from service.settings import load as load_settings
from service.storage.commit import GroupCommitter
from service.storage.migrate import migrate
from service.storage.places import place_of
from service.storage.ports import IngestBatch, StoreBusyError, StoreUnavailableError
from service.storage.records import AppendStatus, KeyClass
from service.storage.rows import encode
from service.storage.sql import SqlStore, open_store
from service.storage.sqlite import InUse, SqliteDatabase, in_use_path, lock_path
from service.storage.writers import SqliteWriter
from tests.service.storage.facts import NOW, a_batch, an_event, file_of

REPOSITORY = Path(__file__).resolve().parents[3]
HOLD = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""
LIST_OPEN_FILES = """
import pathlib
print([str(p.resolve()) for p in pathlib.Path("/proc/self/fd").iterdir()])
"""
WRITER = Path(__file__).with_name("writer.py")


@pytest.fixture
def store(sqlite_store: SqlStore) -> SqlStore:
    """Give a store on SQLite: what is tested here only a file has."""
    return sqlite_store


def test_whatever_was_acknowledged_survives_kill_9_of_both_writers_and_nothing_is_there_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "opportune.db"
    migrate(f"sqlite:///{path}")
    seed = 20_261_122
    rng = random.Random(seed)
    told: list[str] = []
    for round_number in range(3):
        writers = [start_writer(path, f"w{round_number}{which}", tmp_path) for which in "ab"]
        wait_until_written(writers)
        time.sleep(rng.uniform(0.05, 0.25))
        for process, _ in writers:
            process.kill()
            process.wait()
        told += [line for _, out in writers for line in complete_lines(out)]

    statuses = Counter(tuple(line.split()) for line in told)
    accepted = {event_id for (event_id, status) in statuses if status == "accepted"}
    store = SqlStore(path)
    stored = [row.received.event.event_id for row in store.read(0, 10_000_000)]
    with closing(sqlite3.connect(path)) as connection:
        integrity = connection.execute("PRAGMA integrity_check").fetchone()
        copies = connection.execute("SELECT count(*) FROM interaction").fetchone()[0]
    store.close()

    assert integrity == ("ok",)
    assert len(accepted) > 100, f"{seed=}"
    assert {line.split()[0] for line in told} <= set(stored), f"{seed=}"
    assert len(stored) == len(set(stored)), f"{seed=}"
    assert all(n == 1 for (_, status), n in statuses.items() if status == "accepted"), f"{seed=}"
    assert copies == len(stored), "events and their interactions are one transaction"


def test_two_processes_take_turns_and_neither_starves(tmp_path: Path) -> None:
    path = tmp_path / "opportune.db"
    migrate(f"sqlite:///{path}")

    writers = [start_writer(path, which, tmp_path) for which in "ab"]
    wait_until_written(writers, lines=600)
    for process, _ in writers:
        process.kill()
        process.wait()

    a, b = (len(complete_lines(out)) for _, out in writers)
    assert min(a, b) >= 600


def stored_keys(store: SqlStore) -> set[str]:
    return {key.sha256 for key in store.keys()}  # noqa: SIM118 - no mapping


def start_writer(path: Path, prefix: str, folder: Path) -> tuple["subprocess.Popen[bytes]", Path]:
    out = folder / f"{prefix}.out"
    with out.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, str(WRITER), str(path), prefix, "4", "5"],
            stdout=stream,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    return process, out


def wait_until_written(writers: list[tuple["subprocess.Popen[bytes]", Path]], *, lines: int = 60) -> None:
    while any(len(complete_lines(out)) < lines for _, out in writers):
        assert all(process.poll() is None for process, _ in writers), "a writer ended by itself"
        time.sleep(0.02)


def complete_lines(path: Path) -> list[str]:
    return path.read_text("utf-8").split("\n")[:-1]


def test_a_store_made_before_a_fork_works_in_the_child_and_in_the_parent(store: SqlStore) -> None:
    store.set_keys("parent", {"parent": KeyClass.CLIENT}, now=NOW)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: store.set_keys("child", {"child": KeyClass.CLIENT}, now=NOW)
    )

    child.start()
    child.join()

    store.set_keys("parent-2", {"parent-2": KeyClass.CLIENT}, now=NOW)
    assert child.exitcode == 0
    assert stored_keys(store) == {"parent", "child", "parent-2"}


def test_the_lock_excludes_processes_and_dies_with_its_holder(store: SqlStore) -> None:
    store.ping()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLD,
            str(lock_path(file_of(store))),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    done = threading.Event()

    def put() -> None:
        store.set_keys("aa", {"aa": KeyClass.CLIENT}, now=NOW)
        done.set()

    thread = threading.Thread(target=put)
    thread.start()
    waited = not done.wait(0.2)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    thread.join()

    assert waited
    assert stored_keys(store) == {"aa"}


def test_lock_files_are_not_inherited_by_programs_that_are_started(store: SqlStore) -> None:
    store.ping()

    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            LIST_OPEN_FILES,
        ],
        capture_output=True,
        text=True,
        check=True,
        close_fds=False,
    ).stdout

    assert file_of(store).name not in seen


def test_a_full_waiting_room_says_busy_and_a_slow_disk_says_unavailable(store: SqlStore) -> None:
    database = SqliteDatabase(file_of(store))
    committer = GroupCommitter(database, SqliteWriter(), waiting_rows=3, patience_s=0.2)
    batch = encode(IngestBatch(events=[an_event("e1"), an_event("e2")]), tenant="default")
    problems: list[Exception] = []

    def send() -> None:
        try:
            committer.append(batch)
        except StoreUnavailableError as error:
            problems.append(error)

    with lock_path(file_of(store)).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        first = threading.Thread(target=send)
        first.start()
        first.join()
        with pytest.raises(StoreBusyError):
            committer.append(batch)

    assert "sending it again is harmless" in str(problems[0])
    while store.last_seq() < 2:
        time.sleep(0.01)
    assert committer.append(encode(IngestBatch(events=[an_event("e3")]), tenant="default")) == [
        AppendStatus.ACCEPTED
    ]
    committer.close()
    database.close()
    assert [row.received.event.event_id for row in store.read(0, 10)] == ["e1", "e2", "e3"]
    with pytest.raises(StoreUnavailableError):
        committer.append(batch)


def test_a_full_disk_is_unavailable_and_heals_without_a_restart(store: SqlStore) -> None:
    store.append(IngestBatch(events=[an_event("e0")]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    acknowledged = ["e0"]
    refused = 0

    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        for n in range(1, 400):
            try:
                store.append(IngestBatch(events=[an_event(f"e{n}")]))
            except StoreUnavailableError:
                refused += 1
            else:
                acknowledged.append(f"e{n}")
        answered_meanwhile = store.last_seq()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.append(IngestBatch(events=[an_event("after")]))

    assert refused > 0
    assert answered_meanwhile > 0
    stored = [row.received.event.event_id for row in store.read(0, 1_000)]
    assert set(acknowledged) | {"after"} <= set(stored)
    assert len(stored) == len(set(stored))


def test_the_write_ahead_log_is_cut_when_it_has_grown_and_left_alone_while_a_reader_needs_it(
    store: SqlStore,
) -> None:
    database = SqliteDatabase(file_of(store))
    with closing(sqlite3.connect(file_of(store), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        store.append(IngestBatch(events=[an_event(f"e{n}") for n in range(500)]))
        with database.lock.held():
            database.checkpoint(over_bytes=0)
        assert database.wal_bytes() > 0
        reader.execute("ROLLBACK")

    again = SqliteDatabase(file_of(store))
    with again.lock.held():
        again.checkpoint(over_bytes=0)

    assert again.wal_bytes() == 0
    again.close()
    database.close()


def test_a_store_that_is_not_migrated_says_what_to_run(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "new.db")

    with pytest.raises(StoreUnavailableError, match="opportune migrate"):
        store.ping()
    store.close()


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="No such file or directory"):
        SqlStore(tmp_path / "absent" / "x.db").ping()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"this is not a database, it is a letter to my aunt" * 100)
    store = SqlStore(path)

    with pytest.raises(StoreUnavailableError, match=r"damaged|refused"):
        store.ping()
    with pytest.raises(StoreUnavailableError):
        store.append(IngestBatch(events=[an_event("e1")]))
    store.close()


def test_restore_is_not_alone_while_a_store_is_open(store: SqlStore) -> None:
    store.ping()
    with pytest.raises(BlockingIOError):
        InUse(in_use_path(file_of(store)), alone=True)

    store.close()

    InUse(in_use_path(file_of(store)), alone=True).close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://maria:secret@db",
        "postgresql+asyncpg://maria:secret@db/shop",
        "postgresql://maria:secret@db:port/shop",
        "mysql://x/y",
        "sqlite://",
        "sqlite:///:memory:",
        "nonsense",
        "sqlite:///file:x?uri=true",
    ],
)
def test_another_database_is_refused_in_one_line_without_its_password(url: str) -> None:
    settings = load_settings({"OPPORTUNE_DATABASE_URL": url})

    with pytest.raises(SettingsError, match="OPPORTUNE_DATABASE_URL") as refused:
        open_store(settings)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_sqlite_url_names_its_file(tmp_path: Path) -> None:
    assert place_of(f"sqlite:///{tmp_path}/shop.db") == tmp_path / "shop.db"


def test_erased_bytes_are_gone_from_the_files(store: SqlStore) -> None:
    path = file_of(store)
    store.append(a_batch(an_event("e1", user_id="very-secret-person", anonymous_id=None)))
    assert any(b"very-secret-person" in p.read_bytes() for p in path.parent.iterdir())

    store.delete_person(["u:very-secret-person"], user_ids=[], anonymous_ids=[])

    store.close()
    assert not [p.name for p in path.parent.iterdir() if b"very-secret-person" in p.read_bytes()]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
