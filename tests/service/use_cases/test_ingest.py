"""What happens to one event: accepted, duplicate or quarantined with a reason; a bad one spoils no other."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from experiments.assignment import variant_of
from experiments.definitions import Experiment
from service.catalog.loader import load as load_catalog
from service.errors import ProblemError
from service.settings import load
from service.storage.migrate import migrate
from service.storage.records import KeyClass
from service.storage.sql import SqlStore, open_store
from service.use_cases.access import Caller
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import CLIENT, MAX_EVENTS, SERVER, Terms, ingest, take_in
from service.use_cases.launch import apply
from service.use_cases.models import ModelHolder
from service.use_cases.services import Services
from service.use_cases.snapshot import SnapshotHolder

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
METRICS = "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n"
HERO = """\
experiment: hero
phase: {phase}
unit: {unit}
allocation: {allocation}%
variants: {{control: "", banner: "Hello"}}
overrides: {{banner: [qa-maria]}}
metrics: {{primary: purchase}}
"""


def files(*, phase: int = 1, unit: str = "anonymous_id", allocation: int = 50) -> dict[str, str]:
    hero = HERO.format(phase=phase, unit=unit, allocation=allocation)
    return {"metrics.yaml": METRICS, "experiments/hero.yaml": hero}


def hero(catalog: dict[str, str]) -> Experiment:
    return load_catalog(catalog).catalog.experiments["hero"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def send(store: SqlStore, *events: Any, trust: str = CLIENT, now: datetime = NOW) -> list[dict[str, Any]]:
    return take_in(store, ExposureBook(), events, terms=Terms(trust=trust, source="test", now=now))


def an_event(**changes: Any) -> dict[str, Any]:
    event = {
        "event_id": "e1",
        "type": "Product Viewed",
        "anonymous_id": "a1",
        "occurred_at": "2026-11-22T11:59:59Z",
        "properties": {"item_id": "tea"},
        **changes,
    }
    return {name: value for name, value in event.items() if value is not ...}


def unit_of(experiment: Experiment, variant: str | None) -> str:
    return next(f"v{n}" for n in range(10_000) if variant_of(experiment, f"v{n}") == variant)


def an_exposure(unit_id: str, variant: str, **changes: Any) -> dict[str, Any]:
    properties = {
        "experiment_key": "hero",
        "variant_key": variant,
        "unit_type": "anonymous_id",
        "unit_id": unit_id,
        "phase": 1,
        "revision": 1,
        **changes,
    }
    properties = {name: value for name, value in properties.items() if value is not ...}
    return an_event(type="Experiment Viewed", anonymous_id=unit_id, properties=properties)


def test_an_event_is_accepted_once_and_then_a_duplicate(store: SqlStore) -> None:
    assert send(store, an_event()) == [{"index": 0, "event_id": "e1", "status": "accepted"}]

    assert send(store, an_event(), an_event(event_id="e2")) == [
        {"index": 0, "event_id": "e1", "status": "duplicate"},
        {"index": 1, "event_id": "e2", "status": "accepted"},
    ]


def test_a_bad_event_spoils_no_other_and_is_kept_whole(store: SqlStore) -> None:
    results = send(store, an_event(), {"event_id": "bad", "type": 7}, an_event(event_id="e3"))

    assert [r["status"] for r in results] == ["accepted", "quarantined", "accepted"]
    assert results[1]["reason"] == "invalid_event"
    assert "type: expected a string" in results[1]["detail"]
    assert [row.received.event.event_id for row in store.read(0, 9)] == ["e1", "e3"]
    with store.reading() as connection:
        kept = connection.exec_driver_sql("SELECT event_id, body, source, trust FROM quarantine").one()
    assert tuple(kept) == ("bad", '{"event_id":"bad","type":7}', "test", "client")


def test_the_same_bad_event_sent_again_is_one_row(store: SqlStore) -> None:
    for _ in range(3):
        send(store, an_event(type=""))

    assert store.quarantine_counts() == {"invalid_event": 1}


INVALID: dict[str, tuple[Any, str]] = {
    "no id": (an_event(event_id=...), "give each event an id of its own"),
    "an empty id": (an_event(event_id=""), "event_id"),
    "a number as id": (an_event(event_id=7), "event_id: expected a string"),
    "no type": (an_event(type=...), "type: it is missing"),
    "no person": (an_event(anonymous_id=...), "give user_id or anonymous_id"),
    "no person but null": (an_event(anonymous_id=None, user_id=None), "give user_id or anonymous_id"),
    "no time": (an_event(occurred_at=...), "occurred_at: it is missing"),
    "a time without offset": (an_event(occurred_at="2026-11-22T11:59:59"), "occurred_at: expected a time"),
    "an epoch": (an_event(occurred_at=1_700_000_000), "occurred_at: expected a time"),
    "a year too far": (an_event(occurred_at="9999-12-31T23:59:59-14:00"), "occurred_at"),
    "properties that are a list": (an_event(properties=[]), "properties: expected an object"),
    "a member nobody knows": (an_event(usr_id="u"), "usr_id: Unknown field"),
    "a control character": (an_event(user_id="u\n1"), "user_id"),
    "a direction mark": (an_event(user_id="\u202eu1"), "user_id"),
    "an id too long": (an_event(user_id="u" * 129), "user_id"),
    "a list": ([1], "expected an object"),
    "a string": ("event", "expected an object"),
    "null": (None, "expected an object"),
}


@pytest.mark.parametrize(("event", "detail"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_event_is_quarantined_with_what_to_do(store: SqlStore, event: Any, detail: str) -> None:
    (result,) = send(store, event)

    assert (result["status"], result["reason"]) == ("quarantined", "invalid_event")
    assert detail in result["detail"]
    assert store.last_seq() == 0


@pytest.mark.parametrize(
    ("trust", "occurred", "reason"),
    [
        (CLIENT, NOW - timedelta(days=7), None),
        (CLIENT, NOW - timedelta(days=7, seconds=1), "too_old"),
        (SERVER, NOW - timedelta(days=400), None),
        (SERVER, NOW - timedelta(days=400, seconds=1), "too_old"),
        (CLIENT, NOW + timedelta(minutes=5), None),
        (CLIENT, NOW + timedelta(minutes=5, seconds=1), "in_future"),
        (SERVER, NOW + timedelta(minutes=5, seconds=1), "in_future"),
    ],
)
def test_how_far_an_event_may_be_dated_depends_on_the_key(
    store: SqlStore, trust: str, occurred: datetime, reason: str | None
) -> None:
    (result,) = send(store, an_event(occurred_at=occurred.isoformat()), trust=trust)

    assert result.get("reason") == reason


def test_an_event_above_32_kib_is_too_large_and_kept_whole(store: SqlStore) -> None:
    (result,) = send(store, an_event(properties={"text": "x" * 33_000}))

    assert result["reason"] == "too_large"
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT length(body) FROM quarantine").scalar_one() > 33_000


def test_a_batch_above_500_events_is_refused_whole(store: SqlStore) -> None:
    with pytest.raises(ProblemError) as refused:
        send(store, *(an_event(event_id=f"e{n}") for n in range(MAX_EVENTS + 1)))

    assert refused.value.status == 413
    assert store.last_seq() == 0
    assert send(store) == []


def test_events_become_interactions_of_each_known_id(store: SqlStore) -> None:
    products = [
        {"item_id": "tea", "quantity": 2},
        {"product_id": 7},
        {"item_id": "tea"},
        "odd",
        {"quantity": 1},
    ]
    send(store, an_event(type="Order Completed", user_id="u1", properties={"products": products}))

    for person in ("u:u1", "a:a1"):
        found = {i.item_id: i.quantity for i in store.recent_interactions(person, 9)}
        assert found == {"tea": 3.0, "7": 1.0}


@pytest.mark.parametrize(("key_class", "trust"), [(KeyClass.CLIENT, "client"), (KeyClass.SERVER, "server")])
def test_trust_comes_from_the_class_of_the_key(
    store: SqlStore, tmp_path: Path, key_class: KeyClass, trust: str
) -> None:
    services = Services(
        settings=load({"OPPORTUNE_HOME": str(tmp_path)}),
        store=store,
        clock=lambda: NOW,
        snapshots=SnapshotHolder(store),
        models=ModelHolder(tmp_path / "models"),
    )

    ingest(services, [an_event()], caller=Caller(key_class, "k", ""), source="events")

    received = store.read(0, 1)[0].received
    assert (received.trust, received.source, received.received_at) == (trust, "events", NOW)


def test_an_exposure_of_the_assigned_variant_is_accepted(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW)

    for variant in ("control", "banner"):
        unit = unit_of(hero(files()), variant)
        (result,) = send(store, an_exposure(unit, variant) | {"event_id": unit})
        assert result["status"] == "accepted"


ENROLLED = unit_of(hero(files()), "banner")
OUTSIDE = unit_of(hero(files()), None)

MISMATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "another experiment": (an_exposure(ENROLLED, "banner", experiment_key="other"), "unknown_experiment"),
    "another experiment, any revision": (
        an_exposure(ENROLLED, "banner", experiment_key="other", revision=...),
        "unknown_experiment",
    ),
    "a revision to come": (an_exposure(ENROLLED, "banner", revision=2), "unknown_revision"),
    "another phase": (an_exposure(ENROLLED, "banner", phase=2), "phase_mismatch"),
    "another phase, any revision": (
        an_exposure(ENROLLED, "banner", phase=2, revision=...),
        "phase_mismatch",
    ),
    "the other variant": (an_exposure(ENROLLED, "control"), "variant_mismatch"),
    "a variant that is not there": (an_exposure(ENROLLED, "treatment"), "variant_mismatch"),
    "the default": (an_exposure(ENROLLED, "default"), "not_enrolled"),
    "a unit outside the allocation": (an_exposure(OUTSIDE, "banner"), "not_enrolled"),
    "a unit forced for QA": (an_exposure("qa-maria", "banner"), "override"),
    "another unit type": (
        an_exposure(ENROLLED, "banner", unit_type="user_id") | {"user_id": ENROLLED},
        "unit_mismatch",
    ),
    "somebody else's unit": (an_exposure(ENROLLED, "banner") | {"anonymous_id": "a1"}, "unit_mismatch"),
    "no experiment": (an_exposure(ENROLLED, "banner", experiment_key=...), "invalid_event"),
    "a phase as text": (an_exposure(ENROLLED, "banner", phase="1"), "invalid_event"),
    "a revision as text": (an_exposure(ENROLLED, "banner", revision="1"), "invalid_event"),
}


@pytest.mark.parametrize(("event", "reason"), MISMATCHES.values(), ids=MISMATCHES.keys())
def test_an_exposure_that_the_service_would_not_have_given_is_quarantined(
    store: SqlStore, event: dict[str, Any], reason: str
) -> None:
    apply(store, files(), by="test", now=NOW)

    (result,) = send(store, event)

    assert (result["status"], result["reason"]) == ("quarantined", reason)
    assert store.last_seq() == 0
    named = event["properties"].get("experiment_key")
    assert store.quarantined_exposures(str(named)) == ({reason: 1} if named else {})


def test_an_exposure_is_judged_by_the_revision_it_names_even_when_another_is_live(store: SqlStore) -> None:
    apply(store, files(allocation=50), by="test", now=NOW - timedelta(days=3))
    apply(store, files(allocation=100), by="test", now=NOW - timedelta(days=2))
    wide = hero(files(allocation=100))
    newcomer = next(
        f"v{n}" for n in range(10_000)
        if variant_of(wide, f"v{n}") == "banner" and variant_of(hero(files()), f"v{n}") is None
    )  # fmt: skip

    assert send(store, an_exposure(newcomer, "banner", revision=2))[0]["status"] == "accepted"
    assert send(store, an_exposure(newcomer, "banner", revision=1))[0]["reason"] == "not_enrolled"
    either = an_exposure(newcomer, "banner", revision=...) | {"event_id": "e9"}
    assert send(store, either)[0]["status"] == "accepted"


def test_a_revision_replaced_more_than_30_days_ago_is_unknown(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW - timedelta(days=60))
    apply(store, files(phase=2), by="test", now=NOW - timedelta(days=31))
    late = an_exposure(ENROLLED, "banner")

    (named,) = send(store, late, now=NOW)
    (unnamed,) = send(store, an_exposure(ENROLLED, "banner", revision=...), now=NOW)
    (in_time,) = send(
        store, late | {"occurred_at": (NOW - timedelta(days=2)).isoformat()}, now=NOW - timedelta(days=2)
    )

    assert named["reason"] == "unknown_revision"
    assert unnamed["reason"] == "phase_mismatch"
    assert in_time["status"] == "accepted"


def test_a_book_that_knows_old_revisions_sees_a_new_one_at_once(store: SqlStore) -> None:
    book = ExposureBook()
    terms = Terms(trust=CLIENT, source="test", now=NOW)
    apply(store, files(), by="test", now=NOW)
    take_in(store, book, [an_exposure(ENROLLED, "banner")], terms=terms)
    apply(store, files(phase=2), by="test", now=NOW)
    second = hero(files(phase=2))
    variant = variant_of(second, ENROLLED) or "default"

    event = an_exposure(ENROLLED, variant, phase=2, revision=2) | {"event_id": "e2"}
    (result,) = take_in(store, book, [event], terms=terms)

    assert result.get("reason") == (None if variant != "default" else "not_enrolled")


def test_an_exposure_before_any_catalog_is_unknown(store: SqlStore) -> None:
    assert send(store, an_exposure(ENROLLED, "banner"))[0]["reason"] == "unknown_revision"
    assert send(store, an_exposure(ENROLLED, "banner", revision=...))[0]["reason"] == "unknown_experiment"


def test_a_unit_of_another_kind_is_checked_when_the_event_says_it(store: SqlStore) -> None:
    catalog = files(unit="store_id")
    apply(store, catalog, by="test", now=NOW)
    unit = unit_of(hero(catalog), "banner")
    said = an_exposure(unit, "banner", unit_type="store_id") | {"anonymous_id": "a1"}
    contradicted = an_exposure(unit, "banner", unit_type="store_id", store_id="another") | {
        "anonymous_id": "a1"
    }

    assert send(store, said)[0]["status"] == "accepted"
    assert send(store, contradicted)[0]["reason"] == "unit_mismatch"


def status_of(status: str, **changes: Any) -> dict[str, str]:
    catalog = files(**changes)
    hero_file = catalog["experiments/hero.yaml"].replace("phase:", f"status: {status}\nphase:")
    return catalog | {"experiments/hero.yaml": hero_file}


def dated(event: dict[str, Any], moment: datetime, event_id: str = "e1") -> dict[str, Any]:
    return event | {"occurred_at": moment.isoformat(), "event_id": event_id}


@pytest.mark.parametrize("trust", [CLIENT, SERVER])
@pytest.mark.parametrize("revision", [1, ...])
def test_an_exposure_of_a_draft_is_quarantined(store: SqlStore, trust: str, revision: Any) -> None:
    apply(store, status_of("draft"), by="test", now=NOW - timedelta(days=2))

    (result,) = send(store, an_exposure(ENROLLED, "banner", revision=revision), trust=trust)

    assert (result["status"], result["reason"]) == ("quarantined", "not_running")


@pytest.mark.parametrize("revision", [2, ...])
def test_a_client_cannot_date_an_exposure_before_the_launch_but_a_backfill_can(
    store: SqlStore, revision: Any
) -> None:
    launch = NOW - timedelta(days=1)
    apply(store, status_of("draft"), by="test", now=NOW - timedelta(days=6))
    apply(store, files(), by="test", now=launch)
    apply(store, files(allocation=60), by="test", now=NOW)
    shown = an_exposure(ENROLLED, "banner", revision=revision)

    (early,) = send(store, dated(shown, launch - timedelta(minutes=6)))
    (skewed,) = send(store, dated(shown, launch - timedelta(minutes=5), "e2"))
    (fresh,) = send(store, dated(shown, NOW, "e3"))
    (backfilled,) = send(store, dated(shown, launch - timedelta(days=3), "e4"), trust=SERVER)

    assert (early["status"], early["reason"]) == ("quarantined", "not_running")
    assert [skewed["status"], fresh["status"], backfilled["status"]] == ["accepted"] * 3


def test_a_new_phase_has_a_launch_of_its_own(store: SqlStore) -> None:
    apply(store, files(), by="test", now=NOW - timedelta(days=3))
    apply(store, files(phase=2), by="test", now=NOW - timedelta(hours=1))
    unit = unit_of(hero(files(phase=2)), "banner")
    second = an_exposure(unit, "banner", phase=2, revision=2)

    assert send(store, dated(second, NOW - timedelta(days=1)))[0]["reason"] == "not_running"
    assert send(store, dated(second, NOW))[0]["status"] == "accepted"
    late = an_exposure(ENROLLED, "banner", revision=...)
    assert send(store, dated(late, NOW, "e2"))[0]["status"] == "accepted"


def test_an_exposure_before_the_schedule_opens_is_quarantined(store: SqlStore) -> None:
    opens = NOW - timedelta(hours=2)
    catalog = files()
    hero_file = catalog["experiments/hero.yaml"]
    catalog["experiments/hero.yaml"] = f"{hero_file}schedule: {{start: {opens.isoformat()}}}\n"
    apply(store, catalog, by="test", now=NOW - timedelta(days=3))
    shown = an_exposure(ENROLLED, "banner")

    assert send(store, dated(shown, opens - timedelta(hours=1)))[0]["reason"] == "not_running"
    assert send(store, dated(shown, opens, "e2"))[0]["status"] == "accepted"


def test_ids_of_the_service_itself_are_refused_on_the_wire(store: SqlStore) -> None:
    for trust in (CLIENT, SERVER):
        (result,) = send(store, an_event(event_id="viewed-0123"), trust=trust)
        assert (result["reason"], "viewed-" in result["detail"]) == ("invalid_event", True)


ORDER = an_event(event_id="order-900001", type="Order Completed", user_id="c1", properties={"revenue": 99})
CONFLICTS = {
    "another type": an_event(event_id="order-900001", anonymous_id="attacker"),
    "another person": ORDER | {"user_id": ..., "anonymous_id": "attacker"},
    "another user on the same device": ORDER | {"user_id": "c2"},
}


@pytest.mark.parametrize("first", CONFLICTS.values(), ids=CONFLICTS.keys())
def test_an_event_whose_id_was_taken_by_another_is_kept_and_said_to_be(
    store: SqlStore, first: dict[str, Any]
) -> None:
    squatted = {name: value for name, value in first.items() if value is not ...}
    send(store, squatted)

    results = send(store, an_event(event_id="before"), ORDER, ORDER, trust=SERVER)

    assert [r["status"] for r in results] == ["accepted", "quarantined", "quarantined"]
    assert results[1]["reason"] == "event_id_conflict"
    with store.reading() as connection:
        kept = connection.exec_driver_sql("SELECT body FROM quarantine").scalars().all()
    assert [orjson.loads(body) for body in kept] == [ORDER]
    assert send(store, squatted)[0]["status"] == "duplicate"


def test_a_retry_after_login_is_a_duplicate(store: SqlStore) -> None:
    send(store, an_event())

    assert send(store, an_event(user_id="maria"))[0]["status"] == "duplicate"


def test_an_order_of_too_many_products_is_kept_with_a_hint(store: SqlStore) -> None:
    lines = [{"item_id": n} for n in range(201)]
    fits = an_event(type="Order Completed", properties={"products": lines[:200]})
    (accepted,) = send(store, fits)
    (refused,) = send(store, an_event(event_id="e2", type="Order Completed", properties={"products": lines}))

    assert accepted["status"] == "accepted"
    assert (refused["reason"], "split it" in refused["detail"]) == ("invalid_event", True)
