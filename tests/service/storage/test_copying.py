"""A restore into PostgreSQL: alone, all or nothing, and what comes after it is numbered anew."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL

from service.storage import copying
from service.storage.places import place_of
from service.storage.ports import StoreUnavailableError
from service.storage.records import AppendStatus
from service.storage.sql import SqlStore
from service.use_cases.archive import quiet
from tests.postgres import Cluster
from tests.service.storage.facts import a_batch, an_event
from tests.service.storage.test_upgrades import released_file

ACCEPTED = AppendStatus.ACCEPTED


@pytest.fixture
def place(postgres_url: str) -> URL:
    found = place_of(postgres_url)
    assert isinstance(found, URL)
    return found


@pytest.fixture
def store(place: URL) -> Iterator[SqlStore]:
    opened = SqlStore(place)
    yield opened
    opened.close()


def ids(store: SqlStore) -> list[str]:
    return [row.received.event.event_id for row in store.read(0, 1_000)]


def replace(place: URL, copy: Path) -> None:
    with copying.alone(place) as mine, copying.exchanging(place) as rows:
        assert mine
        rows.load(copy, quiet)


KILLED = """
import os, sys
from pathlib import Path
from service.storage import copying
from service.storage.places import place_of
with copying.exchanging(place_of(sys.argv[1])) as rows:
    rows.load(Path(sys.argv[2]), lambda done, total: None)
    os.kill(os.getpid(), 9)
"""


def test_after_a_killed_restore_of_an_older_state_new_events_are_new(
    store: SqlStore, place: URL, tmp_path: Path
) -> None:
    store.append(a_batch(an_event("old")))
    copying.to_file(place, tmp_path / "old.db", quiet)
    store.append(a_batch(*(an_event(f"e{n}") for n in range(9))))
    store.close()
    words = [place.render_as_string(hide_password=False), str(tmp_path / "old.db")]
    assert subprocess.run([sys.executable, "-c", KILLED, *words], check=False).returncode == -9

    assert len(ids(store)) == 10
    assert store.append(a_batch(an_event("new"))) == [ACCEPTED]
    assert ids(store)[-1] == "new"


def test_a_number_that_is_taken_is_no_duplicate(store: SqlStore, cluster: Cluster, place: URL) -> None:
    store.append(a_batch(an_event("e1")))
    cluster.sql("SELECT setval('event_seq_seq', 1, false)", database=str(place.database))

    with pytest.raises(Exception, match="event_pkey"):
        store.append(a_batch(an_event("e2")))
    assert store.append(a_batch(an_event("e2"))) == [ACCEPTED]


def test_an_offset_is_not_used_again_after_an_older_state_was_restored(
    store: SqlStore, place: URL, tmp_path: Path
) -> None:
    copying.to_file(place, tmp_path / "empty.db", quiet)
    store.append(a_batch(*(an_event(f"e{n}") for n in range(9))))
    copying.to_file(place, tmp_path / "nine.db", quiet)
    store.append(a_batch(an_event("later")))
    store.close()

    for name, n_events in (("nine.db", 9), ("empty.db", 0)):
        replace(place, tmp_path / name)
        assert len(ids(store)) == n_events
        store.append(a_batch(an_event("new")))
        assert store.last_seq() > 10
        store.close()


def test_whoever_is_alone_keeps_a_server_that_starts_away(store: SqlStore, place: URL) -> None:
    with copying.alone(place) as mine:
        assert mine
        with pytest.raises(StoreUnavailableError, match="a backup is being restored"):
            store.append(a_batch(an_event("e1")))
        with pytest.raises(StoreUnavailableError, match="a backup is being restored"):
            store.live_state()

    assert store.append(a_batch(an_event("e1"))) == [ACCEPTED]
    with copying.alone(place) as mine:
        assert not mine


def test_a_connection_that_only_reads_keeps_a_restore_away(store: SqlStore, place: URL) -> None:
    store.live_state()

    with copying.alone(place) as mine:
        assert not mine


def test_what_is_replaced_is_copied_in_the_transaction_that_replaces_it(
    store: SqlStore, place: URL, tmp_path: Path
) -> None:
    copying.to_file(place, tmp_path / "empty.db", quiet)
    store.append(a_batch(an_event("before")))
    with copying.exchanging(place) as rows:
        assert rows.holds_rows()
        late = store.submit(a_batch(an_event("meanwhile")))
        rows.save(tmp_path / "kept.db", quiet)
        rows.load(tmp_path / "empty.db", quiet)

    assert late.result() == [ACCEPTED]
    assert ids(store) == ["meanwhile"]
    with closing(sqlite3.connect(tmp_path / "kept.db")) as kept:
        assert kept.execute("SELECT event_id FROM event").fetchall() == [("before",)]


def test_a_nul_that_an_earlier_release_let_in_does_not_keep_a_shop_from_moving(
    store: SqlStore, place: URL, tmp_path: Path
) -> None:
    released_file(tmp_path / "shop.db")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("UPDATE quarantine SET user_id = 'a' || char(0) || 'b'")
        shop.commit()

    replace(place, tmp_path / "shop.db")

    with store.reading() as connection:
        users = connection.exec_driver_sql("SELECT DISTINCT user_id FROM quarantine").all()
    assert users == [("a\N{REPLACEMENT CHARACTER}b",)]


def test_what_the_server_refuses_of_a_copy_is_said_in_one_line(place: URL, tmp_path: Path) -> None:
    copying.to_file(place, tmp_path / "copy.db", quiet)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        copy.execute(
            "INSERT INTO item (tenant, item_id, fields, categories, active) VALUES ('t', '', '', '', 'x')"
        )
        copy.commit()

    with pytest.raises(StoreUnavailableError, match="the database refused: invalid input syntax") as refused:
        replace(place, tmp_path / "copy.db")
    assert "\n" not in str(refused.value)
