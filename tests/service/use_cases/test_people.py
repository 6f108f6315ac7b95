"""Erasing a person: store and lake, under every id that is theirs alone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.lake import export_all, read_interactions, read_persons
from service.settings import Settings, load
from service.storage.migrate import migrate
from service.storage.records import IdentityLink
from service.storage.sql import SqlStore, open_store
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import CLIENT, SERVER, Terms, take_in
from service.use_cases.people import erase_person

SHOPPING = ("Order Completed", "Order Refunded", "Product Added", "Product Viewed")

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"OPPORTUNE_HOME": str(tmp_path)})


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def view(event_id: str, **ids: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": "Product Viewed",
        "occurred_at": NOW.isoformat(),
        "properties": {"item_id": "tea"},
        **ids,
    }


def test_a_person_is_erased_from_store_and_lake_with_the_visits_before_signing_in(
    store: SqlStore, settings: Settings
) -> None:
    events = [
        view("e1", anonymous_id="phone"),
        view("e2", anonymous_id="phone", user_id="maria"),
        view("e3", anonymous_id="family-tablet", user_id="maria"),
        view("e4", anonymous_id="family-tablet", user_id="ana"),
        view("e5", anonymous_id="family-tablet"),
        view("e6", user_id="ana"),
        {"event_id": "bad", "user_id": "maria"},
    ]
    take_in(store, ExposureBook(), events, terms=Terms(trust=SERVER, source="test", now=NOW))
    export_all(store, settings.home / "lake")

    erased = erase_person(store, settings, user_ids=["maria"], anonymous_ids=[])

    assert erased["event"] == 3
    assert erased["quarantine"] == 1
    assert erased["lake"] > 0
    assert [row.received.event.event_id for row in store.read(0, 99)] == ["e4", "e5", "e6"]
    kept = set(read_interactions(settings.lake)["event_id"].to_pylist())
    assert kept == {"e4", "e5", "e6"}
    assert [i.item_id for i in store.recent_of_types("a:family-tablet", SHOPPING, 9)] == ["tea", "tea"]


def test_merged_accounts_go_and_devices_that_were_only_linked_go_if_they_are_nobody_elses(
    store: SqlStore, settings: Settings
) -> None:
    events = [
        view("e1", user_id="maria-old"),
        view("e2", anonymous_id="watch"),
        view("e3", anonymous_id="kiosk"),
        view("e4", user_id="ana"),
    ]
    take_in(store, ExposureBook(), events, terms=Terms(trust=SERVER, source="test", now=NOW))
    store.put_links(
        [
            IdentityLink(from_id=from_id, user_id=user_id, linked_at=NOW, trust="server")
            for from_id, user_id in (
                ("u:maria-old", "maria"),
                ("a:watch", "maria"),
                ("a:kiosk", "maria"),
                ("a:kiosk", "ana"),
            )
        ]
    )

    erased = erase_person(store, settings, user_ids=["maria"], anonymous_ids=[])

    assert erased["event"] == 2
    assert [row.received.event.event_id for row in store.read(0, 99)] == ["e3", "e4"]
    assert [link.from_id for link in store.links_to(["maria", "ana"])] == ["a:kiosk"]


SECRET_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_SECRET = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def an_alias(event_id: str, previous: str, user_id: str) -> dict[str, Any]:
    return {
        **view(event_id, user_id=user_id),
        "type": "User Aliased",
        "properties": {"previous_id": previous},
    }


def take(store: SqlStore, *events: dict[str, Any], trust: str = SERVER) -> None:
    take_in(store, ExposureBook(), events, terms=Terms(trust=trust, source="test", now=NOW))


def left(store: SqlStore) -> list[str]:
    return [row.received.event.event_id for row in store.read(0, 99)]


def test_the_public_key_has_no_stranger_erased(store: SqlStore, settings: Settings) -> None:
    take(store, view("e1", anonymous_id="101"), view("e2", anonymous_id="101", user_id="carla"))
    take(store, view("e3", anonymous_id="102"), view("e4", user_id="103"))
    for place, guess in enumerate(("101", "102")):
        take(store, view(f"m{place}", anonymous_id=guess, user_id="mallory"), trust=CLIENT)
    take(store, an_alias("m3", "102", "mallory"), an_alias("m4", "103", "mallory"), trust=CLIENT)

    erased = erase_person(store, settings, user_ids=["mallory"], anonymous_ids=[])

    assert erased["event"] == 4
    assert left(store) == ["e1", "e2", "e3", "e4"]
    assert [link.user_id for link in store.links_from(["a:101"])] == ["carla"]


def test_the_public_key_keeps_nobody_from_being_erased(store: SqlStore, settings: Settings) -> None:
    take(store, view("e1", anonymous_id="55"), view("e2", anonymous_id="55", user_id="carla"))
    take(store, view("e3", anonymous_id="55", user_id="nobody"), trust=CLIENT)

    erase_person(store, settings, user_ids=["carla"], anonymous_ids=[])

    assert left(store) == []


def test_a_device_that_only_its_owner_can_know_goes_with_the_user(
    store: SqlStore, settings: Settings
) -> None:
    take(store, view("e1", anonymous_id=SECRET_ID), view("e2", anonymous_id=OTHER_SECRET), trust=CLIENT)
    take(store, view("e3", anonymous_id=SECRET_ID, user_id="ana"), trust=CLIENT)
    take(store, an_alias("e4", OTHER_SECRET, "ana"), trust=CLIENT)

    erase_person(store, settings, user_ids=["ana"], anonymous_ids=[])

    assert left(store) == []


def test_the_id_that_an_alias_replaced_is_found_wherever_it_stands(
    store: SqlStore, settings: Settings
) -> None:
    take(store, an_alias("e1", "0042", "ana"), view("e2", user_id="ana"), an_alias("e3", "other", "ana"))
    take(store, {**an_alias("", "0042", "ana"), "event_id": None})
    export_all(store, settings.home / "lake")

    erased = erase_person(store, settings, user_ids=[], anonymous_ids=["0042"])

    assert left(store) == ["e2", "e3"]
    assert set(read_persons(settings.lake)["event_id"].to_pylist()) == {"e2", "e3"}
    assert (erased["quarantine"], erased["identity_link"]) == (1, 2)
    assert [one.n for one in store.activity("u:ana")] == [1, 1]


def test_a_person_can_be_erased_before_there_is_a_lake(store: SqlStore, settings: Settings) -> None:
    take_in(
        store, ExposureBook(), [view("e1", anonymous_id="x")], terms=Terms(trust=SERVER, source="t", now=NOW)
    )

    erased = erase_person(store, settings, user_ids=[], anonymous_ids=["x"])

    assert {table: n for table, n in erased.items() if n} == {
        "event": 1,
        "interaction": 1,
        "person_activity": 1,
    }
    assert not (settings.home / "lake").exists()
