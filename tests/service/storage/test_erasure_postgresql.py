"""Erasing beside writers of PostgreSQL, whose events are numbered before they can be seen."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Connection

from service.storage.commit import commit_group
from service.storage.places import place_of
from service.storage.ports import IngestBatch
from service.storage.postgres import PostgresDatabase
from service.storage.records import ReceivedEvent, person_ids
from service.storage.rows import encode
from service.storage.sql import SqlStore
from tests.service.storage.facts import an_event


def counted(event: ReceivedEvent) -> IngestBatch:
    return IngestBatch(events=[event], active=[person_ids(event.event)])


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


@pytest.mark.parametrize("user_id", ["ana", None])
def test_an_event_that_is_numbered_but_not_committed_is_not_passed_over(
    store: SqlStore, place: URL, user_id: str | None
) -> None:
    numbered, go_on = threading.Event(), threading.Event()
    store.append(counted(an_event("e1", user_id="ana", anonymous_id="tablet")))

    def slow(connection: Connection) -> None:
        late = counted(an_event("e2", user_id=user_id, anonymous_id="tablet"))
        commit_group(connection, [encode(late, tenant=store.tenant)], store.writer)
        numbered.set()
        go_on.wait()

    other = PostgresDatabase(place)
    writer = threading.Thread(target=other.write, args=(slow,))
    writer.start()
    numbered.wait()
    store.append(counted(an_event("e3", user_id="bob", anonymous_id=None)))
    eraser = threading.Thread(
        target=store.delete_person, args=(["u:ana"],), kwargs={"user_ids": [], "anonymous_ids": []}
    )
    eraser.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while eraser.is_alive():
        with store.reading() as connection:
            if connection.exec_driver_sql(waiting).scalar_one():
                break
    go_on.set()
    for thread in (writer, eraser):
        thread.join()
    other.close()

    left = [row.received.event for row in store.read(0, 10)]
    assert [event.event_id for event in left] == (["e3"] if user_id else ["e2", "e3"])
    assert [one.n for one in store.activity("a:tablet")] == ([] if user_id else [1])
