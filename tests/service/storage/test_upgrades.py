"""A database that an earlier release wrote opens whole, whatever happens to the upgrade on its way."""

import fcntl
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from service.clock import to_micros
from service.storage.analysis_records import Steering
from service.storage.migrate import migrate, upgrade
from service.storage.places import open_database, place_of
from service.storage.ports import IngestBatch, StoreUnavailableError
from service.storage.records import Activity, AppendStatus
from service.storage.sql import SqlStore
from service.storage.sqlite import lock_path
from service.storage.version import HEAD, KNOWN
from tests.postgres import Cluster
from tests.service.storage.facts import a_batch, an_event

RELEASED = Path(__file__).parent / "released"
EVENTS = 12
SHOPPING = ("Order Completed", "Page Viewed", "Product Viewed")
Released = Callable[[str], str]
LINKS = [
    ("a:a1", "u1", "client"),
    ("a:a2", "u1", "client"),
    ("a:a2", "u2", "client"),
    ("a:a2", "u2", "server"),
]
TABLES = ("event", "interaction", "quarantine", "slate", "item", "verdict_snapshot", "api_key", "session")


def released_file(path: Path, *, release: str = "0001") -> str:
    """Write the database of a release; return its URL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript((RELEASED / f"r{release}.sql").read_text("utf-8"))
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Released]:
    """Give what makes a database with the rows of a release and returns its URL."""
    if request.param == "sqlite":
        yield lambda release: released_file(tmp_path / "shop.db", release=release)
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    url = cluster.new_database(migrated=False)
    yield lambda release: released_to_postgresql(url, release=release)
    cluster.drop(url)


def released_to_postgresql(url: str, *, release: str) -> str:
    """Write the rows of a release into an empty database; return its URL."""
    database = open_database(place_of(url))
    rows = [
        line
        for line in (RELEASED / f"r{release}.sql").read_text("utf-8").splitlines()
        if line.startswith("INSERT") and "sqlite_sequence" not in line and "alembic_version" not in line
    ]
    with database.writing() as connection:
        upgrade(connection, to=release)
        for row in rows:
            connection.exec_driver_sql(row.replace("%", "%%"))
        connection.execute(text("SELECT setval('event_seq_seq', max(seq)) FROM event"))
    database.close()
    return url


def counted(store: SqlStore) -> dict[str, int]:
    with store.reading() as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in TABLES
        }


def test_what_an_earlier_release_wrote_is_all_there_and_what_follows_from_it_is_filled_in(
    place: Released,
) -> None:
    url = place("0001")
    migrate(url)

    store = SqlStore(place_of(url))
    log = store.read(0, 100)
    activity = store.activity("u:u1")
    links = [(link.from_id, link.user_id, link.trust) for link in store.links_to(["u1", "u2"])]
    (held,) = store.quarantined(reason="variant_mismatch")
    told = store.append(a_batch(an_event("e12"), an_event("new")))
    newest = store.last_seq()
    counts = counted(store)
    store.close()

    assert [row.seq for row in log] == list(range(1, EVENTS + 1))
    assert {row.received.privacy for row in log} == {""}
    assert log[-1].received.event.properties == {"text": 'it\'s; "quoted"', "n": None}
    assert counts == {
        "event": EVENTS + 1,
        "interaction": 15,
        "quarantine": 2,
        "slate": 1,
        "item": 1,
        "verdict_snapshot": 1,
        "api_key": 1,
        "session": 1,
    }
    assert sorted(links) == LINKS
    at = {row.received.event.event_id: row.received.event.occurred_at for row in log}
    assert activity == [
        Activity(person_id="u:u1", event_type="Order Completed", n=1, first_at=at["e04"], last_at=at["e04"]),
        Activity(person_id="u:u1", event_type="Product Viewed", n=2, first_at=at["e05"], last_at=at["e06"]),
        Activity(person_id="u:u1", event_type="Signed In", n=1, first_at=at["e03"], last_at=at["e03"]),
    ]
    assert (held.held.body, held.held.encoding, held.held.context) == (held.held.canonical, "utf-8", {})
    assert told == [AppendStatus.DUPLICATE, AppendStatus.ACCEPTED]
    assert newest > EVENTS


def test_what_is_known_of_each_person_is_what_0002_knew(place: Released) -> None:
    with closing(sqlite3.connect(":memory:")) as written:
        written.executescript((RELEASED / "r0002.sql").read_text("utf-8"))
        interactions = written.execute(
            "SELECT person_id, occurred_us, item_id, event_type, quantity FROM interaction "
            "ORDER BY person_id, occurred_us DESC, event_id DESC, item_id DESC"
        ).fetchall()
        activity = written.execute(
            "SELECT person_id, event_type, n, first_us, last_us FROM person_activity ORDER BY 1, 2"
        ).fetchall()
    url = place("0002")
    migrate(url)

    store = SqlStore(place_of(url))
    persons = sorted({row[0] for row in (*interactions, *activity)})
    recents = [one for person in persons for one in store.recent_of_types(person, SHOPPING, 100)]
    done = [one for person in persons for one in store.activity(person)]
    store.append(IngestBatch(events=[an_event("new")], active=[["u:u1"]]))
    seen = sum(one.n for one in store.activity("u:u1"))
    store.close()

    assert len(persons) == 11
    assert len(interactions) > 30
    assert interactions == [
        (one.person_id, to_micros(one.occurred_at), one.item_id, one.event_type, one.quantity)
        for one in recents
    ]
    assert activity == [
        (one.person_id, one.event_type, one.n, to_micros(one.first_at), to_micros(one.last_at))
        for one in done
    ]
    assert seen == 1 + sum(row[2] for row in activity if row[0] == "u:u1")


def test_what_0003_kept_in_parts_and_its_verdicts_are_as_they_were(place: Released) -> None:
    url = place("0003")
    migrate(url)

    store = SqlStore(place_of(url))
    live = store.live_state()
    newest = store.latest_verdict("button")
    history = [one.body for one in store.verdict_history("button", 1, 10)]
    bought = [one for one in store.activity("u:u1") if one.event_type == "Order Completed"]
    recent = store.recent_of_types("u:u1", SHOPPING, 1)
    steered = store.put_steering(
        Steering(experiment="button", phase=1, shipped="red"), by="maria", now=bought[0].last_at
    )
    lease = store.acquire_lease("worker", "me", ttl=timedelta(seconds=15))
    told = store.append(a_batch(an_event("e12"), an_event("new")))
    counts = counted(store)
    store.close()

    assert (live.version, live.revision, live.model, live.killed) == (4, 1, "m1", frozenset({"button"}))
    assert live.steering == {}
    assert newest is not None
    assert (newest.number, newest.digest, newest.inputs, newest.final) == (2, "ee", "", False)
    assert history == ['{"decision":"keep_running"}', newest.body]
    assert (sum(one.n for one in bought), recent[0].item_id) == (2, "item-9")
    assert steered
    assert lease is not None
    assert lease.fence == 1
    assert told == [AppendStatus.DUPLICATE, AppendStatus.ACCEPTED]
    assert (counts["interaction"], counts["verdict_snapshot"]) == (42 + 2, 2)


def test_every_release_has_a_database_of_its_own_here() -> None:
    assert {path.stem[1:] for path in RELEASED.glob("*.sql")} == set(KNOWN) - {HEAD}


def test_the_file_as_it_was_is_kept_beside_the_upgraded_one_until_somebody_is_erased(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    kept = migrate(released_file(path))

    assert kept == tmp_path / f"shop.db.before-{HEAD}"
    assert schema_of(kept) == ("0001", EVENTS)
    assert schema_of(path) == (HEAD, EVENTS)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert migrate(f"sqlite:///{path}") is None

    store = SqlStore(path)
    store.delete_person(["u:u1"], user_ids=[], anonymous_ids=[])
    store.close()
    assert not kept.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"shop.db", "shop.db.lock", "shop.db.inuse"}


def test_an_upgrade_that_fails_on_the_copy_does_not_touch_the_database(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    url = released_file(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE identity_link (somebody_elses TEXT)")

    with pytest.raises(StoreUnavailableError, match="table identity_link already exists"):
        migrate(url)

    assert schema_of(path) == ("0001", EVENTS)


def test_without_room_for_a_copy_the_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    url = released_file(path)
    (tmp_path / f"shop.db.before-{HEAD}.part").mkdir()

    with pytest.raises(StoreUnavailableError, match="the disk refused"):
        migrate(url)

    assert schema_of(path) == ("0001", EVENTS)


def test_killed_at_any_point_an_upgrade_leaves_the_old_schema_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    url = released_file(path)
    found = ["0001"]
    n_kills = 0
    while killed_after(n_kills, url, tmp_path):
        n_kills += 1
        revision, n_events = schema_of(path)
        found.append(revision)
        assert n_events == EVENTS

    store = SqlStore(path)
    assert len(store.read(0, 100)) == EVENTS
    assert [link.from_id for link in store.links_to(["u1"])] == ["a:a1", "a:a2"]
    store.close()
    assert n_kills > 60
    assert set(found) <= {"0001", HEAD}
    assert schema_of(path) == (HEAD, EVENTS)
    assert not [p.name for p in tmp_path.iterdir() if "rehearsal" in p.name or p.name.endswith(".part")]


def killed_after(n_steps: int, url: str, folder: Path) -> bool:
    """Migrate in a child that kills itself after so many steps; return whether it came to that."""
    child = os.fork()
    if child == 0:
        left = n_steps

        def step(*_about: object) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        def audited(name: str, arguments: tuple[object, ...]) -> None:
            if name in STEPS and any(str(one).startswith(str(folder)) for one in arguments):
                step()

        event.listen(Engine, "before_cursor_execute", step)
        event.listen(Engine, "commit", step)
        sys.addaudithook(audited)
        try:
            migrate(url)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "shutil.copyfile", "shutil.rmtree", "sqlite3.connect"}


def schema_of(path: Path) -> tuple[str, int]:
    """Return the revision of a file that must be sound, and how many events it holds."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        n_events = connection.execute("SELECT count(*) FROM event").fetchone()[0]
    assert ("person_activity" in tables) == ("consent" in tables) == (revision != "0001")
    return revision, n_events


def test_the_release_that_would_not_notice_must_be_stopped_first(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    url = released_file(path)
    old_release = SqlStore(path)
    old_release.last_seq()

    with pytest.raises(StoreUnavailableError, match="stop the service"):
        migrate(url)
    assert schema_of(path) == ("0001", EVENTS)
    old_release.close()
    migrate(url)

    assert schema_of(path) == (HEAD, EVENTS)


def test_a_newer_schema_is_refused_in_one_line(store: SqlStore) -> None:
    store.append(a_batch(an_event("e1")))
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    place = store.place
    url = f"sqlite:///{place}" if isinstance(place, Path) else place.render_as_string(hide_password=False)

    for use in (lambda: migrate(url), store.live_state, lambda: store.append(a_batch(an_event("e2")))):
        with pytest.raises(StoreUnavailableError, match="newer version") as refused:
            use()
        assert "\n" not in str(refused.value)
        assert "9999" in str(refused.value)


def test_a_database_that_is_up_to_date_is_not_waited_for(database_file: Path) -> None:
    with lock_path(database_file).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        assert migrate(f"sqlite:///{database_file}") is None
