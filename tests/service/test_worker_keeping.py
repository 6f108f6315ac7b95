"""The worker forgets what the catalog says need not be kept, and notes how fast the data grows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.lake import read_manifest
from service.lake.manifest import EVENTS
from service.storage.ports import IngestBatch, Store
from service.use_cases.growth import daily_growth
from service.worker import Worker
from tests.service.storage.facts import a_bad_event
from tests.service.use_cases.shops import FILES, a_store, exposure, launched, put, settings_in

NOW = datetime(2026, 3, 20, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as opened:
        yield opened


def a_worker(home: Path, store: Store, *, now: datetime = NOW) -> Worker:
    return Worker(settings_in(home), store, clock=lambda: now)


def event_ids(store: Store) -> list[str]:
    return [logged.received.event.event_id for logged in store.read(0, 99)]


def test_old_events_leave_the_store_and_the_lake_together(home: Path, store: Store) -> None:
    launched(store)
    old, new = NOW - 401 * DAY, NOW - DAY
    put(store, exposure("v1", "control", old), at=old)
    put(store, exposure("v2", "control", new), at=new)
    store.append(
        IngestBatch(
            quarantined=[
                replace(a_bad_event("old"), received_at=NOW - 91 * DAY),
                replace(a_bad_event("new"), received_at=NOW - 89 * DAY),
            ]
        )
    )

    a_worker(home, store).step()

    assert event_ids(store) == ["x-v2"]
    assert [file.day for file in read_manifest(home / "lake").of(EVENTS)] == [str(new.date())]
    assert [one.held.body for one in store.quarantined()] == ["new"]


def test_the_live_catalog_says_for_how_long(home: Path, store: Store) -> None:
    keep = "data: {keep: {events: 30d, interactions: 30d, quarantine: 7d, slates: 7d}}\n"
    put(store, exposure("v1", "control", NOW - 31 * DAY), at=NOW - 31 * DAY)
    put(store, exposure("v2", "control", NOW - 29 * DAY), at=NOW - 29 * DAY)
    store.append(IngestBatch(quarantined=[replace(a_bad_event("old"), received_at=NOW - 8 * DAY)]))
    a_worker(home, store).step()
    assert event_ids(store) == ["x-v1", "x-v2"]

    launched(store, {**FILES, "data.yaml": keep})
    a_worker(home, store).step()

    assert event_ids(store) == ["x-v2"]
    assert store.quarantined() == []


def test_without_a_catalog_that_can_be_read_nothing_is_forgotten(home: Path, store: Store) -> None:
    launched(store, FILES)
    with closing(sqlite3.connect(home / "opportune.db")) as database:
        database.execute('UPDATE catalog_revision SET files = \'{"metrics.yaml": "metrics: ["}\'')
        database.commit()
    put(store, exposure("v1", "control", NOW - 401 * DAY), at=NOW - 401 * DAY)
    put(store, exposure("v2", "control", NOW), at=NOW)

    a_worker(home, store).step()

    assert event_ids(store) == ["x-v1", "x-v2"]


def test_the_growth_of_the_data_is_noted_by_the_hour(home: Path, store: Store) -> None:
    put(store, exposure("v1", "control", NOW), at=NOW)

    for hour in range(8):
        a_worker(home, store, now=NOW + timedelta(hours=hour)).step()

    assert daily_growth(settings_in(home)) is not None
