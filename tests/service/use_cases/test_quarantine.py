"""A quarantined event is judged again as of when it came: in once, or still out with a reason, never lost."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from experiments.assignment import variant_of
from service.catalog import load
from service.lake import export_all
from service.storage.ports import IngestBatch, Store
from service.storage.records import Consent, Event, HeldEvent, Purpose, QuarantinedEvent
from service.use_cases.exposures import ExposureBook, ExposureDesk
from service.use_cases.ingest import CLIENT, SERVER, Terms, take_in
from service.use_cases.judge import refresh_verdicts
from service.use_cases.launch import apply, live_catalog
from service.use_cases.quarantine import PAGE, Asked, Replay, Report, drop_reason
from service.use_cases.quarantine_reasons import REASONS, words_of
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, exposure, order

METRICS = {"metrics.yaml": FILES["metrics.yaml"]}
NOW = START + timedelta(days=8)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        apply(opened, METRICS, by="test", now=START - HOUR)
        yield opened


def wire(event: Event) -> dict[str, Any]:
    """What a client without our revision numbers would send."""
    said = {name: value for name, value in event.properties.items() if name != "revision"}
    return {
        "event_id": event.event_id,
        "type": event.type,
        "anonymous_id": event.anonymous_id,
        "occurred_at": event.occurred_at.isoformat(),
        "properties": said,
    }


EXPERIMENT = load(FILES).catalog.experiments[KEY]


def right(event: Event) -> Event:
    """Name the variant that the unit does have."""
    if event.type != "Experiment Viewed" or event.anonymous_id is None:
        return event
    variant = variant_of(EXPERIMENT, event.anonymous_id)
    return replace(event, properties={**event.properties, "variant_key": variant})


def send(store: Store, *events: Event, trust: str = SERVER) -> None:
    """Send each on its own, as of its own time."""
    book = ExposureBook()
    for event in events:
        terms = Terms(trust=trust, source="events", now=event.occurred_at + timedelta(seconds=2))
        take_in(store, book, [wire(event)], terms=terms)


def launch(store: Store, *, late: bool = False, files: dict[str, str] = FILES) -> None:
    apply(store, files, by="test", now=NOW if late else START - HOUR / 2)


def replayed(store: Store, **asked: Any) -> Report:
    loaded = live_catalog(store)
    assert loaded is not None
    whole = Report()
    for report in Replay(store, ExposureBook(), loaded, Asked(**asked)).pages():
        whole.add(report)
    return whole


def hold(store: Store, body: object, *, reason: str = "unknown_experiment", **more: Any) -> HeldEvent:
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    held = QuarantinedEvent(
        event_id="",
        reason=reason,
        detail="why",
        body=text,
        **{"received_at": START, "source": "events", "trust": CLIENT, **more},
    )
    store.append(IngestBatch(quarantined=[held]))
    return HeldEvent(digest=held.digest, held=held)


def held_exposures(store: Store, n: int) -> None:
    """Hold the exposures of many units, seven in each second."""
    bad = []
    for number in range(n):
        at = START + timedelta(seconds=number // 7)
        body = orjson.dumps(wire(exposure(f"v{number}", "control", at))).decode()
        bad.append(
            QuarantinedEvent(
                event_id=f"x-v{number}",
                reason="unknown_experiment",
                detail="why",
                body=body,
                received_at=at,
                source="events",
                trust=SERVER,
            )
        )
    store.append(IngestBatch(quarantined=bad))


def everything(store: Store) -> object:
    """All there is to see: the log and the quarantine."""
    return store.read(0, 10_000), store.quarantined(limit=10_000)


def verdict(store: Store, home: Path) -> str:
    export_all(store, home / "lake")
    refresh_verdicts(store, home / "lake", now=NOW)
    found = store.latest_verdict(KEY)
    assert found is not None
    return found.body


@pytest.mark.parametrize(("trust", "before_launch"), [(SERVER, False), (CLIENT, True)])
def test_after_the_late_catalog_a_replay_gives_the_verdict_of_a_catalog_in_time(
    store: Store, tmp_path: Path, trust: str, *, before_launch: bool
) -> None:
    events = [right(event) for event in a_week(per_day=20)]
    if trust == CLIENT:
        events = [event for event in events if event.type == "Experiment Viewed"]
    with a_store(tmp_path / "in-time") as good:
        apply(good, METRICS, by="test", now=START - HOUR)
        launch(good)
        send(good, *events, trust=trust)
        expected = verdict(good, tmp_path / "in-time")
    send(store, *events, trust=trust)
    assert dict(store.quarantine_counts()) == {"unknown_experiment": 140}
    launch(store, late=True)

    report = replayed(store, reason="unknown_experiment", before_launch=before_launch)

    assert report.members()["accepted"] == 140
    assert dict(store.quarantine_counts()) == {}
    assert verdict(store, tmp_path / "home") == expected


def test_an_event_keeps_its_id_time_door_and_trust(store: Store) -> None:
    event = right(exposure("v1", "", START))
    send(store, event)
    launch(store, late=True)

    replayed(store)

    (logged,) = store.read(0, 9)
    assert logged.received.event.event_id == event.event_id
    assert logged.received.received_at == START + timedelta(seconds=2)
    assert (logged.received.source, logged.received.trust) == ("events", SERVER)


def test_replaying_again_changes_nothing(store: Store) -> None:
    send(store, *(right(exposure(f"v{n}", "", START)) for n in range(2)), trust=CLIENT)
    launch(store, late=True)
    first = replayed(store)
    before = everything(store)

    second = replayed(store)

    assert first.members()["quarantined"] == 2
    assert {now for _, now in second.outcomes} == {"not_running"}
    assert everything(store) == before


def test_a_dry_run_tells_what_would_happen_and_writes_nothing(store: Store) -> None:
    send(store, *(exposure(f"v{n}", "control", START) for n in range(20)))
    launch(store, late=True)
    before = everything(store)

    told = replayed(store, dry_run=True)

    assert everything(store) == before
    assert 0 < told.became("accepted") < 20
    assert told.became("variant_mismatch") == 20 - told.became("accepted")
    assert replayed(store).members() == told.members()


def test_what_is_bad_for_another_reason_now_takes_its_own_place(store: Store) -> None:
    held = hold(store, "gA==", encoding="base64", canonical=orjson.dumps(wire(order("v1", NOW))).decode())

    report = replayed(store)

    assert report.outcomes == {("unknown_experiment", "in_future"): 1}
    (now,) = store.quarantined()
    assert now.held == replace(held.held, reason="in_future", detail=now.held.detail)
    assert "5 minutes" in now.held.detail
    assert store.last_seq() == 0


def test_of_one_id_the_event_that_came_first_is_stored(store: Store) -> None:
    for n, unit in enumerate(("v1", "v2", "v1")):
        at = START + n * HOUR
        event = wire(replace(order(unit, START), event_id="o1"))
        hold(store, event, received_at=at, trust=SERVER)
        # Another reason makes another row of the same body.
        hold(store, event, reason=f"r{n}", received_at=at, trust=SERVER)

    report = replayed(store)

    (logged,) = store.read(0, 9)
    assert logged.received.event.anonymous_id == "v1"
    assert report.became("accepted") == 1
    assert report.became("event_id_conflict") == 2
    assert dict(store.quarantine_counts()) == {"event_id_conflict": 1}
    assert replayed(store).outcomes == {("event_id_conflict", "event_id_conflict"): 1}


def test_an_event_that_was_sent_again_and_stored_is_a_duplicate(store: Store) -> None:
    event = order("v1", START)
    hold(store, wire(event), trust=SERVER)
    send(store, event)

    assert replayed(store).outcomes == {("unknown_experiment", "duplicate"): 1}
    assert store.last_seq() == 1
    assert store.quarantined() == []


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ('{"event_id":"e1","revenue":NaN}', {}),
        ('{"a":1,"a":2}', {}),
        ("/w==", {"encoding": "base64"}),
        ("", {}),
    ],
)
def test_what_is_no_json_stays_as_it_is(store: Store, body: str, more: dict[str, str]) -> None:
    hold(store, body, reason="malformed", **more)
    before = everything(store)

    assert replayed(store).outcomes == {("malformed", "malformed"): 1}
    assert everything(store) == before


def test_another_persons_event_is_judged_only_for_whoever_names_it(store: Store) -> None:
    first = hold(store, wire(order("v1", START)), reason="other_person")
    hold(store, wire(order("v2", START)), reason="other_person")
    other = hold(store, wire(order("v3", START)), reason="other_person")

    assert replayed(store).outcomes == {("other_person", "other_person"): 3}
    assert replayed(store, digests=[first.digest]).judged == 1
    assert ("other_person", "other_person") not in replayed(store, reason="other_person").outcomes
    assert store.quarantined_event(other.digest) == []


def test_another_persons_event_needs_somebodys_word_whatever_else_was_wrong_with_it(store: Store) -> None:
    early, own, other = (wire(order(unit, START)) for unit in ("v3", "v1", "v2"))
    early["occurred_at"] = (START + HOUR).isoformat()
    terms = Terms(trust=CLIENT, source="events", now=START)
    other["properties"] = {"revenue": 1}
    own["properties"] = {}
    told = take_in(store, ExposureBook(), [early, other, own], terms=terms)
    assert [one.get("reason") for one in told] == ["in_future", "revenue_not_allowed", None]
    apply(store, {**METRICS, "data.yaml": "data: {client_revenue: allow}\n"}, by="test", now=START)

    report = replayed(store, reason="revenue_not_allowed")

    assert report.outcomes == {("revenue_not_allowed", "other_person"): 1}
    assert store.last_seq() == 1
    assert replayed(store, reason="other_person").outcomes == {("other_person", "accepted"): 1}


@pytest.mark.parametrize(
    "purposes", [(Purpose.EXPERIMENTATION,), (Purpose.EXPERIMENTATION, Purpose.PERSONALIZATION)]
)
def test_what_the_person_refused_since_then_is_neither_stored_nor_kept(
    store: Store, purposes: tuple[Purpose, ...]
) -> None:
    hold(store, wire(right(exposure("v1", "", START))), trust=SERVER)
    hold(store, wire(order("v1", START)), trust=SERVER)
    launch(store)
    store.put_consents(
        [
            Consent(
                consent_id="c1",
                person_id="a:v1",
                purpose=purpose,
                status="denied",
                decided_at=NOW,
                received_at=NOW,
                text_version="1",
                source="consent",
                trust=CLIENT,
                proof="",
            )
            for purpose in purposes
        ]
    )

    report = replayed(store)

    assert report.became("refused") == len(purposes)
    assert [logged.received.event.type for logged in store.read(0, 9)] == ["Order Completed"][
        : 2 - len(purposes)
    ]
    assert store.quarantined() == []


def test_the_wishes_of_the_request_are_remembered(store: Store) -> None:
    hold(store, wire(order("v1", START)), trust=SERVER, context={"signals": "gpc"})

    replayed(store)

    (logged,) = store.read(0, 9)
    assert logged.received.privacy == "gpc no_personalization"
    assert store.activity("a:v1") == []


def test_many_pages_are_worked_off_once_each(store: Store) -> None:
    n = 2 * PAGE + 50
    held_exposures(store, n)
    launch(store)

    report = replayed(store, reason="unknown_experiment")

    assert report.judged == n
    assert store.last_seq() == report.became("accepted")
    assert dict(store.quarantine_counts()) == {"variant_mismatch": report.became("variant_mismatch")}


def test_two_replays_at_once_store_each_event_once_and_lose_none(store: Store) -> None:
    n = 3 * PAGE
    held_exposures(store, n)
    launch(store)
    reports: list[Report] = []

    threads = [threading.Thread(target=lambda: reports.append(replayed(store))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(reports) == 3
    accepted = sum(report.became("accepted") for report in reports)
    assert accepted == len(store.read(0, n))
    assert accepted + sum(store.quarantine_counts().values()) == n
    assert set(store.quarantine_counts()) == {"variant_mismatch"}


def test_dropping_takes_one_reason_or_so_many_of_it(store: Store) -> None:
    for i in range(PAGE + 20):
        hold(store, f'{{"n":{i}}}', reason="bot")
    hold(store, "{}", reason="too_old")

    assert drop_reason(store, "bot", limit=PAGE) == PAGE
    assert drop_reason(store, "bot") == 20
    assert dict(store.quarantine_counts()) == {"too_old": 1}


def test_every_reason_has_words_and_a_row_in_the_docs() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "quarantine.md").read_text("utf-8")

    assert [reason for reason in REASONS if f"| `{reason}` |" not in page] == []
    assert words_of("made_up_later").meaning == "made up later"


@pytest.mark.parametrize("sent", ["good", "bad"])
def test_what_is_erased_while_it_is_replayed_does_not_come_back(store: Store, sent: str) -> None:
    event = order("v1", START if sent == "good" else NOW)
    hold(store, wire(event), trust=SERVER)
    (found,) = store.quarantined()

    class Erased(ExposureBook):
        """Erases the person when the replay has read its page and begins to judge."""

        def open(self, store: Store, *, now: datetime, backfill: bool) -> ExposureDesk:
            assert store.delete_person([], user_ids=[], anonymous_ids=["v1"])["quarantine"] == 1
            return super().open(store, now=now, backfill=backfill)

    loaded = live_catalog(store)
    assert loaded is not None
    report, _ = Replay(store, Erased(), loaded, Asked(digests=[found.digest])).page()

    assert report.outcomes == {("unknown_experiment", "gone"): 1}
    assert report.members()["quarantined"] == 0
    assert store.last_seq() == 0
    assert store.quarantined() == []
