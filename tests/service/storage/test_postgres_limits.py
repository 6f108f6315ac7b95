"""What a session of PostgreSQL is told; neither its administrator nor idleness undoes that."""

import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from sqlalchemy import URL, Connection, event

from service.storage.places import place_of
from service.storage.ports import StoreUnavailableError
from service.storage.postgres import PostgresDatabase
from service.storage.records import AppendStatus
from service.storage.sql import SqlStore
from tests.postgres import running_cluster
from tests.service.storage.facts import a_batch, an_event


@pytest.fixture
def database(postgres_url: str) -> Iterator[PostgresDatabase]:
    place = place_of(postgres_url)
    assert isinstance(place, URL)
    opened = PostgresDatabase(place)
    yield opened
    opened.close()


def shown(connection: Connection, name: str) -> str:
    return str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())


def test_a_server_that_is_told_otherwise_meanwhile_changes_no_open_session() -> None:
    with running_cluster() as own:
        place = place_of(own.new_database())
        assert isinstance(place, URL)
        database = PostgresDatabase(place)
        told = []
        for level in ("off", "remote_write"):
            with database.writing() as connection:
                told.append(shown(connection, "synchronous_commit"))
            own.sql(f"ALTER SYSTEM SET synchronous_commit = {level}")
            own.sql("SELECT pg_reload_conf()")
            while own.sql("SHOW synchronous_commit") != [(level,)]:
                pass
        with database.writing() as connection:
            told.append(shown(connection, "synchronous_commit"))
        with database.reading() as connection:
            told.append(shown(connection, "synchronous_commit"))
        database.close()

    assert told == ["on", "on", "on", "remote_write"]


def test_what_takes_as_long_as_it_takes_is_ended_by_nothing_until_it_is_committed(
    database: PostgresDatabase,
) -> None:
    patience: list[object] = []

    def note(connection: Connection) -> None:
        patience.append(getattr(connection.connection.driver_connection, "patience_s", "none"))

    event.listen(database._writers, "commit", note)
    long: list[Callable[[], AbstractContextManager[Connection]]] = [
        partial(database.writing, within_s=None),
        database.snapshot,
    ]
    for opened in long:
        with opened() as connection:
            limits = [
                shown(connection, f"{name}_timeout")
                for name in ("statement", "lock", "idle_in_transaction_session")
            ]
            assert limits == ["0", "0", "0"]
    with database.writing() as connection:
        assert shown(connection, "idle_in_transaction_session_timeout") == "10s"
        assert shown(connection, "statement_timeout") == "10s"

    assert patience == [None, None, 15.0]


def test_a_transaction_that_the_server_ends_for_its_idleness_is_unavailable(postgres_url: str) -> None:
    store = SqlStore(place_of(postgres_url))

    def fall_asleep() -> None:
        with store.writing() as connection:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 1")
            driver = connection.connection.driver_connection
            assert driver is not None
            select.select([driver.fileno()], [], [])
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(StoreUnavailableError, match="idle-in-transaction"):
        fall_asleep()
    assert store.append(a_batch(an_event("e1"))) == [AppendStatus.ACCEPTED]
    store.close()
