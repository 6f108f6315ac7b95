"""A replay whose event's id is taken by another event while it decides."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from service.storage.ports import IngestBatch, StoreUnavailableError
from service.storage.records import AppendStatus, Event, HeldEvent, QuarantinedEvent, ReceivedEvent
from service.storage.sql import SqlStore
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import SERVER
from service.use_cases.launch import apply, live_catalog
from service.use_cases.quarantine import Asked, Replay, Report
from tests.service.use_cases.shops import FILES, START, a_store, order

MINE = order("v1", START)


class Raced(SqlStore):
    """A store where another event takes the id once the replay has looked; then the disk may be full."""

    taken_by: Event = MINE
    writes = 0
    fails_at = 0

    def submit(self, batch: IngestBatch) -> "Future[Sequence[AppendStatus]]":
        """Write, the first time after the other one."""
        self.writes += 1
        if self.writes == 1:
            other = ReceivedEvent(event=self.taken_by, received_at=START, source="events", trust=SERVER)
            super().submit(IngestBatch(events=[other])).result()
        if self.writes == self.fails_at:
            raise StoreUnavailableError("the disk is full")
        return super().submit(batch)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Raced]:
    with a_store(tmp_path / "home") as opened:
        apply(opened, FILES, by="test", now=START - timedelta(hours=1))
        assert isinstance(opened, SqlStore)
        raced = Raced(opened.place)
        yield raced
        raced.close()


def hold(store: Raced) -> HeldEvent:
    body = {
        "event_id": MINE.event_id,
        "type": MINE.type,
        "anonymous_id": MINE.anonymous_id,
        "occurred_at": MINE.occurred_at.isoformat(),
        "properties": MINE.properties,
    }
    held = QuarantinedEvent(
        event_id=MINE.event_id,
        reason="unknown_experiment",
        detail="why",
        body=orjson.dumps(body).decode(),
        received_at=START,
        source="events",
        trust=SERVER,
    )
    store.append(IngestBatch(quarantined=[held]))
    return HeldEvent(digest=held.digest, held=held)


def replay(store: Raced) -> Report:
    loaded = live_catalog(store)
    assert loaded is not None
    return Replay(store, ExposureBook(), loaded, Asked()).page()[0]


def test_an_event_whose_id_another_one_took_is_kept_when_the_second_write_fails(store: Raced) -> None:
    held = hold(store)
    store.taken_by, store.fails_at = replace(MINE, anonymous_id="thief"), 2

    with pytest.raises(StoreUnavailableError):
        replay(store)
    assert [one.digest for one in store.quarantined()] == [held.digest]
    report = replay(store)

    assert report.outcomes == {("unknown_experiment", "event_id_conflict"): 1}
    assert [(one.held.reason, one.held.body) for one in store.quarantined()] == [
        ("event_id_conflict", held.held.body)
    ]


def test_an_event_that_was_sent_again_meanwhile_is_taken_out_as_a_duplicate(store: Raced) -> None:
    hold(store)

    report = replay(store)

    assert report.outcomes == {("unknown_experiment", "duplicate"): 1}
    assert store.quarantined() == []
    assert store.last_seq() == 1
