"""Whose events a key may bring, which of them are no visitor's, and what people's wishes leave of them."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.definitions import Metric, MetricKind
from service.batches import parts_of
from service.catalog.rules import DataRules
from service.settings import load
from service.storage.migrate import migrate
from service.storage.records import Consent, Event, Mark, Purpose
from service.storage.sql import SqlStore, open_store
from service.use_cases.arrivals import Arrival
from service.use_cases.event_form import obvious_event, read_by_schema
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import CLIENT, GROWTHBOOK, SERVER, Terms, take_in
from service.use_cases.wishes import Wishes
from tests.service.use_cases.deliveries import NOW, an_event, send

BOT = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def reasons(results: list[dict[str, Any]]) -> list[str | None]:
    return [result.get("reason") for result in results]


# --- one request, one person


def named(event_id: str, **ids: str) -> dict[str, Any]:
    return an_event(**{"event_id": event_id, "anonymous_id": ..., **ids})


def test_a_client_key_speaks_for_one_person_at_a_time(store: SqlStore) -> None:
    told = send(
        store,
        named("e1", anonymous_id="a1"),
        named("e2", anonymous_id="a2"),
        named("e3", user_id="maria"),
        named("e4", user_id="maria", anonymous_id="a1"),
        named("e5", user_id="joan"),
    )

    assert reasons(told) == [None, "other_person", None, None, "other_person"]
    assert store.quarantine_counts() == {"other_person": 2}


def test_a_bad_event_does_not_say_whose_request_it_is(store: SqlStore) -> None:
    told = send(store, named("e1", anonymous_id="a1") | {"type": ""}, named("e2", anonymous_id="a2"))

    assert reasons(told) == ["invalid_event", None]


@pytest.mark.parametrize(("trust", "source"), [(SERVER, "events"), (CLIENT, GROWTHBOOK)])
def test_servers_and_their_plugins_speak_for_many(store: SqlStore, trust: str, source: str) -> None:
    told = send(
        store, named("e1", anonymous_id="a1"), named("e2", anonymous_id="a2"), trust=trust, source=source
    )

    assert reasons(told) == [None, None]


# --- visitors and money


@pytest.mark.parametrize(("agent", "reason"), [(BOT, "bot"), (BROWSER, None), ("", None), ("curl/8", None)])
def test_a_crawler_is_no_visitor(store: SqlStore, agent: str, reason: str | None) -> None:
    assert reasons(send(store, an_event(), user_agent=agent)) == [reason]


def test_what_an_event_says_of_its_browser_counts_and_is_kept_for_a_replay(store: SqlStore) -> None:
    terms = Terms(trust=SERVER, source="segment", now=NOW)
    (told,) = take_in(store, ExposureBook(), [Arrival(an_event(), user_agent=BOT)], terms=terms)

    assert told["reason"] == "bot"
    assert store.quarantined()[0].held.context == {"user_agent": BOT}


REVENUE = Metric(
    key="margin",
    kind=MetricKind.MEAN,
    event="Order Completed",
    window_s=60,
    value="profit",
    currency="EUR",
)
BOUNCES = Metric(key="pages", kind=MetricKind.MEAN, event="Order Completed", window_s=60, value="pages")
PER_VISIT = Metric(
    key="per-visit",
    kind=MetricKind.RATIO,
    event="Order Completed",
    window_s=60,
    per="Visit",
    per_value="spent",
    currency="EUR",
)
SURVEY = Metric(key="nps", kind=MetricKind.NPS, event="Survey Answered", window_s=60, value="score")


@pytest.mark.parametrize(
    ("kind", "properties", "refused"),
    [
        ("Order Completed", {"revenue": 9.5}, True),
        ("Order Completed", {"total": 9}, True),
        ("Order Completed", {"profit": 1}, True),
        ("Anything", {"revenue": 0}, True),
        ("Visit", {"spent": 1}, True),
        ("Order Completed", {"spent": 1}, False),
        ("Survey Answered", {"score": 9}, False),
        ("Product Viewed", {"profit": 1}, False),
        ("Order Completed", {"pages": 3}, False),
        ("Order Completed", {"total": True, "profit": None}, False),
        ("Order Completed", {"products": [{"item_id": "tea", "price": 3}]}, False),
    ],
)
def test_a_client_key_sends_money_only_if_the_catalog_lets_it(
    store: SqlStore, kind: str, properties: dict[str, Any], refused: bool
) -> None:
    metrics = {m.key: m for m in (REVENUE, BOUNCES, PER_VISIT, SURVEY)}
    event = an_event(type=kind, properties=properties)

    (client,) = send(store, event, metrics=metrics)
    (allowed,) = send(
        store, event | {"event_id": "e2"}, metrics=metrics, rules=DataRules(client_revenue=True)
    )
    (server,) = send(store, event | {"event_id": "e3"}, metrics=metrics, trust=SERVER)

    assert client.get("reason") == ("revenue_not_allowed" if refused else None)
    assert [allowed["status"], server["status"]] == ["accepted", "accepted"]


@pytest.mark.parametrize("trust", [CLIENT, SERVER])
@pytest.mark.parametrize("name", ["revenue", "total", "profit", "pages"])
def test_an_amount_that_is_text_is_set_aside_since_it_would_count_as_nothing(
    store: SqlStore, name: str, trust: str
) -> None:
    (told,) = send(
        store,
        an_event(type="Order Completed", properties={name: "34,50"}),
        metrics={"margin": REVENUE, "pages": BOUNCES},
        trust=trust,
    )

    assert [told["status"], told["reason"]] == ["quarantined", "invalid_event"]
    assert told["detail"].startswith(f"properties.{name}: expected a number such as 34.5")


@pytest.mark.parametrize(("kind", "name"), [("Survey Answered", "score"), ("Visit", "spent")])
def test_a_score_or_a_denominator_that_is_text_is_set_aside(store: SqlStore, kind: str, name: str) -> None:
    metrics = {m.key: m for m in (PER_VISIT, SURVEY)}

    (told,) = send(store, an_event(type=kind, properties={name: "9"}), metrics=metrics)

    assert told["detail"].startswith(f"properties.{name}: expected a number")


@pytest.mark.parametrize(("kind", "name"), [("Survey Answered", "total"), ("Order Completed", "coupon")])
def test_text_that_nobody_sums_is_fine(store: SqlStore, kind: str, name: str) -> None:
    (told,) = send(store, an_event(type=kind, properties={name: "many"}), metrics={"margin": REVENUE})

    assert told["status"] == "accepted"


# --- consent and signals


def decide(store: SqlStore, person_id: str, **purposes: str) -> None:
    store.put_consents(
        [
            Consent(
                consent_id="c",
                person_id=person_id,
                purpose=Purpose(purpose),
                status=status,
                decided_at=NOW - timedelta(days=1),
                received_at=NOW,
                text_version="1",
                source="events",
                trust=CLIENT,
                proof="",
            )
            for purpose, status in purposes.items()
        ]
    )


def asked(store: SqlStore, *events: Any, **terms: Any) -> list[dict[str, Any]]:
    on = Terms(**{"trust": SERVER, "source": "events", "now": NOW, **terms})
    return take_in(store, ExposureBook(), events, terms=on, wishes=Wishes())


def test_of_who_denied_both_nothing_is_kept_not_even_what_is_bad(store: SqlStore) -> None:
    decide(store, "a:a1", experimentation="denied", personalization="denied")

    told = asked(
        store, an_event(), an_event(event_id="e2", type=7), an_event(event_id="e3", anonymous_id="a2")
    )

    assert [result["status"] for result in told] == ["refused", "refused", "accepted"]
    assert reasons(told) == ["no_consent", "no_consent", None]
    assert (store.last_seq(), store.quarantine_counts()) == (1, {})


def test_of_who_denied_experiments_only_exposures_are_refused(store: SqlStore) -> None:
    decide(store, "a:a1", experimentation="denied")
    viewed = an_event(event_id="e2", type="Experiment Viewed", properties={})

    told = asked(store, an_event(), viewed)

    assert [result["status"] for result in told] == ["accepted", "refused"]
    assert store.quarantine_counts() == {}


def test_of_who_denied_personalization_only_nothing_personal_is_made(store: SqlStore) -> None:
    decide(store, "a:a1", personalization="denied")

    asked(store, an_event())

    (logged,) = store.read(0, 9)
    assert logged.received.privacy == "no_personalization no_training"
    assert store.activity("a:a1") == []
    assert store.recent_of_types("a:a1", ["Product Viewed"], 9) == []


@pytest.mark.parametrize("respected", [True, False])
def test_signals_of_the_browser_are_marked_and_respected_if_the_catalog_says_so(
    store: SqlStore, respected: bool
) -> None:
    rules = DataRules(respect_signals=respected)

    asked(store, an_event(), signals=frozenset({Mark.DNT, Mark.GPC}), rules=rules)

    (logged,) = store.read(0, 9)
    assert logged.received.privacy == ("gpc dnt no_personalization" if respected else "gpc dnt")
    assert len(store.activity("a:a1")) == (0 if respected else 1)


def test_who_was_never_asked_counts_as_the_catalog_says(store: SqlStore) -> None:
    told = asked(store, an_event(), {"event_id": "bad"}, rules=DataRules(unknown_consent=False))

    assert reasons(told) == ["no_consent", "invalid_event"]


def test_an_event_with_both_ids_links_them_and_counts_for_each(store: SqlStore) -> None:
    for n in range(2):
        send(store, an_event(event_id=f"e{n}", user_id="maria"))
        send(store, an_event(event_id=f"e{n}", user_id="maria"))

    (link,) = store.links_from(["a:a1"])
    assert (link.user_id, link.trust) == ("maria", CLIENT)
    assert [one.n for person in ("a:a1", "u:maria") for one in store.activity(person)] == [2, 2]


# --- what cannot be judged


def test_a_poisonous_event_keeps_its_bytes_and_its_person(store: SqlStore) -> None:
    bodies = [
        b'{"events": [{"user_id": "maria", "n": NaN}]}',
        b'{"events": [{"user_id": "maria", "n": "\xff"}]}',
    ]
    for body in bodies:
        _, parts = parts_of(body, "events", limit=1 << 20)
        arrivals = [Arrival(part.value, part.original, part.problem) for part in parts]
        (told,) = take_in(store, ExposureBook(), arrivals, terms=Terms(trust=CLIENT, source="t", now=NOW))
        assert (told["status"], told["reason"]) == ("quarantined", "malformed")

    held = {one.held.encoding: one.held.body for one in store.quarantined()}
    assert held["utf-8"] == '{"user_id": "maria", "n": NaN}'
    assert set(held) == {"utf-8", "base64"}
    erased = store.delete_person(["u:maria"], user_ids=["maria"], anonymous_ids=[])
    assert erased["quarantine"] == 2


def test_the_exact_bytes_are_kept_and_judged_again_the_same(store: SqlStore) -> None:
    body = b'{"events": [ {"event_id" :"e1",  "type": 7} ]}'
    _, parts = parts_of(body, "events", limit=1 << 20)
    arrivals = [Arrival(part.value, part.original, part.problem) for part in parts]

    take_in(store, ExposureBook(), arrivals, terms=Terms(trust=CLIENT, source="t", now=NOW))

    held = store.quarantined()[0].held
    assert (held.body, held.canonical) == ('{"event_id" :"e1",  "type": 7}',) * 2


# --- plain code and the schema


IDS = st.none() | st.text(max_size=3) | st.sampled_from(["a1", "u\n1", "x" * 129, "\u202eu"]) | st.integers()
TIMES = st.sampled_from(
    ["2026-11-22T11:59:59Z", "2026-11-22T11:59:59.5+02:00", "2026-11-22", "2026-02-30T00:00:00Z", 5, None]
)
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "event_id": IDS,
    "type": IDS,
    "user_id": IDS,
    "anonymous_id": IDS,
    "occurred_at": TIMES,
    "properties": st.just({}) | st.just({"a": 1}) | st.none() | st.just([]),
    "usr_id": st.just("u"),
}


@given(
    changed=st.fixed_dictionaries({}, optional=MEMBERS),
    absent=st.sets(st.sampled_from([*MEMBERS]), max_size=2),
)
def test_plain_code_and_the_schema_read_the_same_event(changed: dict[str, Any], absent: set[str]) -> None:
    raw = {name: value for name, value in {**an_event(), **changed}.items() if name not in absent}

    obvious, loaded = obvious_event(raw), read_by_schema(raw)

    assert obvious == (loaded if isinstance(loaded, Event) else None)
