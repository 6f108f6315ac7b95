"""The snapshot follows the store, and no fault of catalog or store takes it away."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.clock import utc_now
from service.storage.migrate import migrate
from service.storage.records import KeyClass
from service.storage.sql import SqlStore
from service.use_cases.access import hash_key
from service.use_cases.snapshot import ServingSnapshot, SnapshotHolder

GOOD = {"flags/dark.yaml": "flag: dark\n"}
BETTER = {"flags/dark.yaml": "flag: dark\n", "flags/new.yaml": "flag: new\n"}
BAD = {"flags/dark.yaml": "flag: [\n"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    path = tmp_path / "opportune.db"
    migrate(f"sqlite:///{path}")
    opened = SqlStore(path)
    yield opened
    opened.close()


def launch(store: SqlStore, files: dict[str, str]) -> int:
    return store.add_revision(files, digest=str(sorted(files.items())), by="test", now=utc_now())


def keys_served(holder: SnapshotHolder) -> tuple[str, ...]:
    return holder.current.compiled.keys


def test_before_any_catalog_it_serves_nothing_and_is_not_ready(store: SqlStore) -> None:
    holder = SnapshotHolder(store)

    holder.refresh()

    assert not holder.ready
    assert keys_served(holder) == ()
    assert holder.current.problem


def test_a_new_revision_is_swapped_in_and_listeners_hear_of_it_once(store: SqlStore) -> None:
    heard: list[ServingSnapshot] = []
    holder = SnapshotHolder(store)
    holder.on_change.append(heard.append)
    launch(store, GOOD)
    holder.refresh()
    before = holder.current

    launch(store, BETTER)
    holder.refresh()
    holder.refresh()

    assert keys_served(holder) == ("dark", "new")
    assert before.compiled.keys == ("dark",)
    assert [snapshot.state.revision for snapshot in heard] == [1, 2]


def test_a_kill_switch_reaches_the_snapshot(store: SqlStore) -> None:
    launch(store, GOOD)
    holder = SnapshotHolder(store)
    holder.refresh()

    store.set_killed("dark", killed=True, by="test", now=utc_now())
    holder.refresh()

    answer = holder.current.compiled.assign("dark", {}, now=utc_now())
    assert (answer.value, answer.decision) == (False, "killed")


def test_an_unreadable_revision_leaves_the_last_good_one(store: SqlStore) -> None:
    launch(store, GOOD)
    holder = SnapshotHolder(store)
    holder.refresh()

    launch(store, BAD)
    holder.refresh()

    assert keys_served(holder) == ("dark",)
    assert holder.current.state.revision == 1
    assert "revision 2" in holder.current.problem
    assert holder.ready


def test_a_fresh_process_starts_from_the_last_good_revision(store: SqlStore) -> None:
    launch(store, GOOD)
    launch(store, BAD)

    holder = SnapshotHolder(store)
    holder.refresh()

    assert holder.ready
    assert holder.current.state.revision == 1
    assert "revision 2" in holder.current.problem


def test_a_repaired_catalog_clears_the_problem(store: SqlStore) -> None:
    launch(store, GOOD)
    holder = SnapshotHolder(store)
    holder.refresh()
    launch(store, BAD)
    holder.refresh()

    launch(store, BETTER)
    holder.refresh()

    assert holder.current.problem == ""
    assert holder.current.state.revision == 3


def test_going_back_to_the_revision_served_clears_the_problem_too(store: SqlStore) -> None:
    launch(store, GOOD)
    holder = SnapshotHolder(store)
    holder.refresh()
    launch(store, BAD)
    holder.refresh()

    launch(store, GOOD)
    holder.refresh()

    assert holder.current.problem == ""
    assert keys_served(holder) == ("dark",)


def test_a_store_that_dies_is_reported_and_serving_goes_on(store: SqlStore, tmp_path: Path) -> None:
    launch(store, GOOD)
    store.set_keys("t", {hash_key("ck_1"): KeyClass.CLIENT}, now=utc_now())
    holder = SnapshotHolder(store)
    holder.refresh()

    store.close()
    for path in tmp_path.glob("opportune.db*"):
        path.unlink()
    (tmp_path / "opportune.db").mkdir()
    holder.refresh()

    assert holder.store_problem
    assert holder.ready
    assert keys_served(holder) == ("dark",)
    assert holder.current.keys[hash_key("ck_1")] is KeyClass.CLIENT


def test_own_keys_are_valid_before_the_store_was_ever_seen(tmp_path: Path) -> None:
    holder = SnapshotHolder(SqlStore(tmp_path / "missing" / "x.db"), own_keys={"digest": KeyClass.ADMIN})

    holder.refresh()

    assert holder.store_problem
    assert holder.current.keys == {"digest": KeyClass.ADMIN}


def test_a_process_that_starts_while_the_store_is_away_begins_with_the_copy(
    store: SqlStore, tmp_path: Path
) -> None:
    spare = tmp_path / "run" / "spare.json"
    launch(store, GOOD)
    store.set_keys("t", {hash_key("ck_1"): KeyClass.CLIENT}, now=utc_now())
    SnapshotHolder(store, spare=spare).refresh()

    holder = SnapshotHolder(SqlStore(tmp_path / "missing" / "x.db"), spare=spare)
    holder.refresh()

    assert holder.ready
    assert keys_served(holder) == ("dark",)
    assert holder.current.keys[hash_key("ck_1")] is KeyClass.CLIENT
    assert "copy" in holder.current.problem
    assert holder.store_problem
    assert spare.stat().st_mode & 0o777 == 0o600


def test_the_store_takes_over_from_the_copy_when_it_is_back(store: SqlStore, tmp_path: Path) -> None:
    spare = tmp_path / "spare.json"
    launch(store, GOOD)
    SnapshotHolder(store, spare=spare).refresh()
    late = tmp_path / "late"
    holder = SnapshotHolder(SqlStore(late / "x.db"), spare=spare)
    holder.refresh()

    migrate(f"sqlite:///{late / 'x.db'}")
    launch(SqlStore(late / "x.db"), BETTER)
    holder.refresh()

    assert keys_served(holder) == ("dark", "new")
    assert holder.current.problem == ""
    assert holder.store_problem == ""


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"revision": 1}', '{"revision": 1, "killed": [], "model": "", "files": {"a": "["}}'],
)
def test_a_damaged_copy_is_no_copy(tmp_path: Path, content: str) -> None:
    spare = tmp_path / "spare.json"
    spare.write_text(content)

    holder = SnapshotHolder(SqlStore(tmp_path / "missing" / "x.db"), spare=spare)
    holder.refresh()

    assert not holder.ready


def test_a_key_stored_later_is_learned(store: SqlStore) -> None:
    launch(store, GOOD)
    holder = SnapshotHolder(store)
    holder.refresh()

    store.set_keys("t", {hash_key("sk_1"): KeyClass.SERVER}, now=utc_now())
    for _ in range(11):
        holder.refresh()

    assert holder.current.keys[hash_key("sk_1")] is KeyClass.SERVER


def test_a_deaf_listener_stops_nobody(store: SqlStore) -> None:
    heard: list[int] = []

    def deaf(_: ServingSnapshot) -> None:
        raise RuntimeError("deaf")

    holder = SnapshotHolder(store)
    holder.on_change.extend([deaf, lambda snapshot: heard.append(snapshot.state.revision)])
    launch(store, GOOD)

    holder.refresh()

    assert heard == [1]


def test_the_thread_follows_the_store_until_it_is_stopped(store: SqlStore) -> None:
    holder = SnapshotHolder(store)
    polls: list[int] = []
    holder.on_poll.append(lambda: polls.append(1))
    holder.start()
    launch(store, GOOD)

    deadline = time.monotonic() + 30
    while not holder.ready and time.monotonic() < deadline:
        time.sleep(0.05)
    holder.stop()

    assert holder.ready
    assert polls
