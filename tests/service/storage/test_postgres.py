"""What is particular to PostgreSQL: writers side by side, a network, a server that ends and begins again."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.synchronize import Event as ProcessEvent

import pytest
from sqlalchemy import Connection, exc

from service.settings import load as load_settings
from service.storage import postgres
from service.storage.commit import commit_group
from service.storage.migrate import migrate
from service.storage.places import place_of
from service.storage.ports import StoreUnavailableError
from service.storage.postgres import PatientConnection, PostgresDatabase
from service.storage.postgres_writer import PostgresWriter
from service.storage.records import AppendStatus
from service.storage.rows import encode
from service.storage.sql import SqlStore, open_store
from tests.postgres import PASSWORD, Cluster, running_cluster
from tests.proxy import in_front_of
from tests.service.storage.facts import a_batch, an_event

ACCEPTED, DUPLICATE = AppendStatus.ACCEPTED, AppendStatus.DUPLICATE


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    opened = SqlStore(place_of(postgres_url))
    yield opened
    opened.close()


@contextmanager
def database(url: str) -> Iterator[PostgresDatabase]:
    place = place_of(url)
    assert not hasattr(place, "exists")
    opened = PostgresDatabase(place)
    try:
        yield opened
    finally:
        opened.close()


def ids(store: SqlStore) -> list[str]:
    return [row.received.event.event_id for row in store.read(0, 100_000)]


def insert(connection: Connection, *event_ids: str) -> None:
    batch = encode(a_batch(*(an_event(event_id) for event_id in event_ids)), tenant="default")
    commit_group(connection, [batch], PostgresWriter())


def test_a_reader_never_passes_an_event_that_is_numbered_but_not_committed(
    store: SqlStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        insert(connection, "first")
        numbered.set()
        go_on.wait()

    with database(postgres_url) as other:
        writer = threading.Thread(target=other.write, args=(slow,))
        writer.start()
        numbered.wait()
        store.append(a_batch(an_event("second")))
        with monkeypatch.context() as hurried:
            hurried.setattr(postgres, "HORIZON_PATIENCE_S", 0.05)
            for look in (store.last_seq, partial(store.read, 0, 10)):
                with pytest.raises(StoreUnavailableError, match="lock timeout"):
                    look()
        go_on.set()
        writer.join()

    assert ids(store) == ["first", "second"]
    assert store.last_seq() == store.read(0, 10)[-1].seq


def append_until(url: str, prefix: str, enough: ProcessEvent) -> None:
    store = SqlStore(place_of(url))
    n = 0
    while not enough.is_set():
        store.append(a_batch(*(an_event(f"{prefix}-{n}-{k}") for k in range(n % 7 + 1))))
        n += 1
    store.close()


def test_whoever_follows_the_log_of_several_processes_sees_every_event_once(
    store: SqlStore, postgres_url: str
) -> None:
    enough = multiprocessing.get_context("spawn").Event()
    writers = [
        multiprocessing.get_context("spawn").Process(target=append_until, args=(postgres_url, name, enough))
        for name in "ab"
    ]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    while len(seen) < 1_000:
        seen += [row.seq for row in store.read(seen[-1] if seen else 0, 50)]
    enough.set()
    for writer in writers:
        writer.join()
    seen += [row.seq for row in store.read(seen[-1], 100_000)]

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen == [row.seq for row in store.read(0, 100_000)]


def test_writers_that_wait_for_each_other_in_a_circle_are_both_written(
    store: SqlStore, postgres_url: str
) -> None:
    meeting = threading.Barrier(2)
    attempts: list[str] = []

    def crosswise(first: str, second: str, connection: Connection) -> None:
        attempts.append(first)
        insert(connection, first)
        if len(attempts) <= 2:
            meeting.wait()
        insert(connection, second)

    with database(postgres_url) as other:
        threads = [
            threading.Thread(target=other.write, args=(partial(crosswise, *pair),))
            for pair in (("e1", "e2"), ("e2", "e1"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # On a busy machine the one that was given up may get in the way a second time.
    assert len(attempts) > 2
    assert sorted(ids(store)) == ["e1", "e2"]


def test_a_server_that_falls_silent_is_unavailable_and_then_there_again(
    cluster: Cluster, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientConnection, "patience_s", 0.2)
    with in_front_of(cluster.port) as proxy:
        store = SqlStore(place_of(cluster.url(postgres_url.rpartition("/")[2], port=proxy.port)))
        store.append(a_batch(an_event("e1")))
        store.live_state()
        proxy.silent = True
        for use in (store.live_state, store.last_seq, lambda: store.append(a_batch(an_event("e2")))):
            with pytest.raises(
                StoreUnavailableError, match=r"no answer within 0\.2 s|connection timeout expired"
            ):
                use()
        proxy.silent = False

        assert store.append(a_batch(an_event("e3"))) == [ACCEPTED]
        assert {"e1", "e3"} <= set(ids(store))
        store.ping()
        store.close()


def test_a_restart_of_the_server_while_nobody_asks_is_not_noticed() -> None:
    with running_cluster() as own:
        store = SqlStore(place_of(own.new_database()))
        store.append(a_batch(an_event("e1")))
        store.live_state()

        own.stop()
        own.start()

        assert store.live_state().version == 0
        assert store.append(a_batch(an_event("e2"))) == [ACCEPTED]
        assert ids(store) == ["e1", "e2"]
        store.close()


class Senders:
    """Threads that send one event after the other, each until it is acknowledged."""

    def __init__(self, store: SqlStore) -> None:
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self._store = store
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def go_on(self) -> None:
        """Return when 50 more events were acknowledged."""
        reached = len(self.acknowledged) + 50
        while len(self.acknowledged) < reached:
            self._enough.wait(0.01)

    def stop(self) -> None:
        """Let each finish its event."""
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _send(self, name: int) -> None:
        n = 0
        while not self._enough.is_set():
            try:
                self._store.append(a_batch(an_event(f"{name}-{n}")))
            except StoreUnavailableError as error:
                self.failures.append(str(error))
            else:
                self.acknowledged.append(f"{name}-{n}")
                n += 1


def test_what_was_acknowledged_survives_kill_9_of_the_server_and_nothing_is_there_twice() -> None:
    with running_cluster() as own:
        store = SqlStore(place_of(own.new_database()))
        senders = Senders(store)
        for _ in range(2):
            senders.go_on()
            own.kill()
            own.start()
        senders.go_on()
        senders.stop()
        stored = ids(store)
        store.ping()
        store.close()

    assert set(senders.acknowledged) == set(stored)
    assert len(stored) == len(set(stored))
    assert senders.failures
    assert not [words for words in senders.failures if PASSWORD in words or "\n" in words]


def test_a_password_is_told_to_nobody(cluster: Cluster, postgres_url: str) -> None:
    settings = load_settings({"OPPORTUNE_DATABASE_URL": postgres_url})
    elsewhere = [
        cluster.url("no_such_database"),
        postgres_url.replace(PASSWORD, "another-secret-password"),
        postgres_url.replace(f":{cluster.port}/", ":1/"),
    ]
    told = [repr(settings), repr(open_store(settings)), repr(open_store(settings).place)]
    for url in elsewhere:
        store = SqlStore(place_of(url))
        for use in (store.live_state, partial(migrate, url), lambda s=store: s.append(a_batch())):
            with pytest.raises(StoreUnavailableError) as refused:
                use()
            told += [str(refused.value), repr(refused.value.__cause__), str(refused.value.__cause__)]

    assert not [words for words in told if "secret-password" in words]


def test_an_error_of_the_driver_repeats_nothing_that_is_personal(store: SqlStore) -> None:
    insert_session = "INSERT INTO session (tenant, sha256, key_class, expires_us) VALUES (%s, %s, %s, %s)"
    row = ("default", "very-secret-person", "ck", 1)

    with pytest.raises(exc.IntegrityError, match="session_pkey") as refused, store.writing() as connection:
        connection.exec_driver_sql(insert_session, [row, row])

    assert "very-secret-person" not in str(refused.value)


def test_what_is_acknowledged_is_on_disk_whatever_the_database_is_told(
    cluster: Cluster, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    cluster.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = SqlStore(place_of(postgres_url))

    with store.writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    store.close()


def test_an_empty_database_is_told_what_it_lacks(cluster: Cluster) -> None:
    url = cluster.new_database(migrated=False)
    store = SqlStore(place_of(url))

    for use in (store.live_state, lambda: store.append(a_batch(an_event("e1")))):
        with pytest.raises(StoreUnavailableError, match=r"not migrated .*; run: opportune migrate"):
            use()
    migrate(url)
    assert store.append(a_batch(an_event("e1"))) == [ACCEPTED]

    store.close()
    cluster.drop(url)


def test_text_is_compared_byte_by_byte_in_every_column(store: SqlStore) -> None:
    with store.reading() as connection:
        others = connection.exec_driver_sql(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name <> 'alembic_version' "
            "AND data_type IN ('text', 'character varying') AND collation_name IS DISTINCT FROM 'C'"
        ).all()

    assert others == []


def test_a_failed_write_is_told_by_ping_until_the_server_is_back() -> None:
    with running_cluster() as own:
        store = SqlStore(place_of(own.new_database()))
        store.append(a_batch(an_event("e1")))
        own.stop()
        with pytest.raises(StoreUnavailableError):
            store.append(a_batch(an_event("e2")))
        with pytest.raises(StoreUnavailableError):
            store.ping()
        own.start()

        store.append(a_batch(an_event("e3")))
        store.ping()
        store.close()


def test_of_several_hosts_one_that_answers_is_taken(cluster: Cluster, postgres_url: str) -> None:
    user, _, rest = postgres_url.partition("@")
    name = rest.rpartition("/")[2]
    hosts = f"host=127.0.0.1:1&host=127.0.0.1:{cluster.port}"
    store = SqlStore(place_of(f"{user}@/{name}?{hosts}&target_session_attrs=read-write"))

    assert store.append(a_batch(an_event("e1"))) == [ACCEPTED]
    store.close()
