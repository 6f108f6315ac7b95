"""What each call of Segment's libraries becomes: our event, its id, its time, its person; no more of it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.catalog.loader import load
from service.use_cases.arrivals import Arrival
from service.use_cases.exposures import Refusal, read_claim
from service.use_cases.segment import CALLS, SegmentReader
from tests.server import CATALOG

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXPERIMENTS = load(CATALOG).catalog.experiments
ORDER = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "ajs-next-1",
    "userId": "maria",
    "anonymousId": "v-1",
    "properties": {"order_id": "o-1"},
    "timestamp": "2026-11-22T11:59:58.500Z",
    "context": {"ip": "192.0.2.7", "userAgent": "Mozilla/5.0", "library": {"name": "analytics.js"}},
    "integrations": {"All": True},
}
EVENT = {
    "event_id": "ajs-next-1",
    "type": "Order Completed",
    "user_id": "maria",
    "anonymous_id": "v-1",
    "occurred_at": "2026-11-22T11:59:58.500Z",
    "properties": {"order_id": "o-1"},
}


def a_reader(**changes: Any) -> SegmentReader:
    return SegmentReader(
        **{
            "experiment_at": lambda key, _: EXPERIMENTS.get(key),
            "received_at": NOW,
            "key_id": "key",
            **changes,
        }
    )


def canonical(value: Mapping[str, Any], *, call: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return the event that one call becomes."""
    arrival = a_reader(**changes).read(value, call=call)
    assert arrival.problem is None
    assert isinstance(arrival.canonical, dict)
    return arrival.canonical


def said(call: str, **members: Any) -> dict[str, Any]:
    """Return a call with an id, a person and a time."""
    return {
        "type": call,
        "messageId": "m1",
        "userId": "maria",
        "timestamp": "2026-11-22T11:59:58Z",
        **members,
    }


def test_a_track_call_is_the_event_it_names_and_nothing_else_of_it_is_kept() -> None:
    assert canonical(ORDER) == EVENT


@pytest.mark.parametrize(
    ("value", "type_", "properties"),
    [
        (said("identify", traits={"plan": "gold"}), "User Identified", {"traits": {"plan": "gold"}}),
        (said("identify", traits=None), "User Identified", {"traits": {}}),
        (
            said("page", name="Tea", category="Shop", properties={"url": "/tea"}),
            "Page Viewed",
            {"url": "/tea", "name": "Tea", "category": "Shop"},
        ),
        (said("page", name=None, category=None), "Page Viewed", {}),
        (said("screen", name="Basket"), "Screen Viewed", {"name": "Basket"}),
        (said("group", groupId=7, traits={"n": 3}), "Group Joined", {"group_id": "7", "traits": {"n": 3}}),
        (said("alias", previousId="v-9"), "User Aliased", {"previous_id": "v-9"}),
    ],
    ids=["identify", "identify-without-traits", "page", "page-without-a-name", "screen", "group", "alias"],
)
def test_every_call_has_its_event(value: dict[str, Any], type_: str, properties: dict[str, Any]) -> None:
    event = canonical(value)

    assert (event["type"], event["properties"], event["user_id"]) == (type_, properties, "maria")


def test_a_path_says_what_the_call_is_where_the_body_does_not() -> None:
    without = {name: value for name, value in ORDER.items() if name != "type"}

    assert canonical(without, call="track") == EVENT


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (said("purchase"), "type: expected one of identify, track"),
        (said("track"), "event: it is missing"),
        (said("alias", previousId=""), "previousId: expected the id"),
        (said("track", type=["track"]), "type: expected one of"),
    ],
)
def test_a_call_that_says_nothing_is_kept_with_the_reason(value: dict[str, Any], why: str) -> None:
    arrival = a_reader().read(value, lambda: orjson.dumps(value))

    assert arrival.problem is not None
    assert arrival.problem.reason == "invalid_event"
    assert why in arrival.problem.detail
    assert arrival.canonical == {
        "event_id": "m1",
        "user_id": "maria",
        "occurred_at": "2026-11-22T11:59:58Z",
        "properties": {},
    }
    assert arrival.bytes_sent() == orjson.dumps(value)


@pytest.mark.parametrize("value", [None, 7, "track", ["track"]])
def test_what_is_no_object_is_left_for_the_judge(value: object) -> None:
    assert a_reader().read(value) == Arrival(canonical=value)


def test_ids_that_are_numbers_are_their_digits_and_empty_ones_are_absent() -> None:
    event = canonical({**ORDER, "userId": 42, "anonymousId": ""})

    assert event["user_id"] == "42"
    assert "anonymous_id" not in event


# --- ids


def test_a_call_without_an_id_has_one_that_follows_from_its_content_and_key() -> None:
    bare = {name: value for name, value in ORDER.items() if name != "messageId"}

    first, again = canonical(bare), canonical({**bare, "sentAt": "2026-11-22T11:59:59Z", "context": {}})
    other = canonical({**bare, "properties": {"order_id": "o-2"}})
    of_another_key = canonical(bare, key_id="another")

    assert first["event_id"] == again["event_id"]
    assert first["event_id"].startswith("seg-")
    assert len({first["event_id"], other["event_id"], of_another_key["event_id"]}) == 3


def test_of_calls_without_id_and_time_those_of_another_second_or_place_are_others() -> None:
    bare = {name: value for name, value in ORDER.items() if name not in ("messageId", "timestamp")}
    reader = a_reader()

    events = [reader.read(bare).canonical, reader.read(bare).canonical]
    later = canonical(bare, received_at=NOW + timedelta(seconds=1))

    assert len({str(event["event_id"]) for event in [*events, later] if isinstance(event, dict)}) == 3
    assert later["occurred_at"] == "2026-11-22T12:00:01.000000+00:00"


def test_nobody_chooses_an_id_that_the_service_makes() -> None:
    assert canonical({**ORDER, "messageId": "seg-1"})["event_id"] not in ("seg-1", "ajs-next-1")


# --- time


@pytest.mark.parametrize(
    ("sent_at", "timestamp", "occurred_at"),
    [
        ("2026-11-22T11:59:30Z", "2026-11-22T11:59:00Z", "2026-11-22T11:59:00Z"),
        ("2026-11-22T13:00:00Z", "2026-11-22T12:59:50Z", "2026-11-22T11:59:50.000000+00:00"),
        ("1970-01-01T00:10:00Z", "1970-01-01T00:00:00Z", "2026-11-22T11:50:00.000000+00:00"),
        ("yesterday", "2026-11-22T11:59:00Z", "2026-11-22T11:59:00Z"),
        (None, "2026-11-22T11:59:00Z", "2026-11-22T11:59:00Z"),
        ("2026-11-22T13:00:00Z", None, "2026-11-22T12:00:00.000000+00:00"),
        ("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T00:00:00Z"),
    ],
    ids=[
        "right",
        "an-hour-ahead",
        "in-1970",
        "unreadable-sent-at",
        "no-sent-at",
        "no-time",
        "beyond",
    ],
)
def test_a_wrong_clock_is_corrected_by_when_it_says_the_batch_was_sent(
    sent_at: str | None, timestamp: str | None, occurred_at: str
) -> None:
    assert canonical({**ORDER, "timestamp": timestamp}, sent_at=sent_at)["occurred_at"] == occurred_at
    assert canonical({**ORDER, "timestamp": timestamp, "sentAt": sent_at})["occurred_at"] == occurred_at


@pytest.mark.parametrize("name", ["timestamp", "originalTimestamp"])
def test_a_time_that_cannot_be_read_is_told_under_the_name_its_sender_knows(name: str) -> None:
    value = {**ORDER, "timestamp": None, name: "half past nine"}

    arrival = a_reader().read(value)

    assert arrival.problem is not None
    assert arrival.problem.detail.startswith(f"{name}: expected a time with an offset such as ")
    assert arrival.canonical == {**EVENT, "occurred_at": "half past nine"}


# --- exposures


@pytest.mark.parametrize(
    "properties",
    [
        {"experiment_id": "button", "variation_id": "loud"},
        {"experimentId": "button", "variationId": 1, "experiment_name": "The button"},
        {"experiment_key": "button", "variant_key": "loud", "unit_type": "anonymous_id", "unit_id": "v-1"},
    ],
    ids=["segment", "growthbook", "ours"],
)
def test_an_exposure_in_the_words_of_others_is_ours(properties: dict[str, Any]) -> None:
    event = canonical({**ORDER, "event": "Experiment Viewed", "properties": properties})

    claim = {
        "experiment_key": "button",
        "variant_key": "loud",
        "unit_type": "anonymous_id",
        "unit_id": "v-1",
        "phase": 1,
    }
    assert event["properties"] == {**properties, **claim}


def test_the_unit_of_an_exposure_is_the_experiments_own() -> None:
    properties = {"experiment_id": "members", "variation_id": "gold"}

    event = canonical({**ORDER, "event": "Experiment Viewed", "properties": properties})

    assert (event["properties"]["unit_type"], event["properties"]["unit_id"]) == ("user_id", "maria")


def test_an_exposure_without_the_experiments_id_says_which_one_is_missing() -> None:
    properties = {"experiment_id": "button", "variation_id": "loud"}
    value = said("track", event="Experiment Viewed", properties=properties)

    claim = read_claim(canonical(value)["properties"])

    assert isinstance(claim, Refusal)
    assert (
        claim.detail
        == "properties.unit_id: the experiment splits by anonymous_id (unit_type), and there is none here"
    )


# --- what must not be kept


def test_the_key_and_the_address_do_not_get_into_quarantine() -> None:
    value = {**ORDER, "event": "", "writeKey": "sk_secret"}

    arrival = a_reader().read(value, lambda: orjson.dumps(value))

    sent = arrival.bytes_sent() or b""
    kept = orjson.dumps(arrival.canonical) + sent
    assert b"sk_secret" not in kept
    assert b"192.0.2.7" not in kept
    assert b"ajs-next-1" in sent


def test_a_call_without_secrets_is_kept_byte_for_byte() -> None:
    original = b'{ "type": "track" }'

    assert a_reader().read(orjson.loads(original), lambda: original).bytes_sent() == original


def test_the_browser_that_a_server_speaks_for_is_told_to_the_rule_about_bots() -> None:
    assert a_reader().read(ORDER).user_agent == "Mozilla/5.0"
    assert a_reader().read({**ORDER, "context": None}).user_agent == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "type",
        "event",
        "messageId",
        "userId",
        "anonymousId",
        "properties",
        "traits",
        "timestamp",
        "sentAt",
        "context",
        "groupId",
        "previousId",
        "name",
        "category",
        "writeKey",
        "originalTimestamp",
    ]
)
WORDS = st.sampled_from(["Experiment Viewed", "2026-11-22T09:30:00Z", "9999-12-31T23:59:59-23:59", *CALLS])


@given(value=st.dictionaries(MEMBERS, JSON | WORDS), call=st.none() | st.sampled_from(CALLS))
def test_any_json_becomes_an_arrival_that_can_be_stored(value: dict[str, Any], call: str | None) -> None:
    arrival = a_reader(sent_at=value.get("sentAt")).read(value, call=call)

    assert orjson.dumps(arrival.canonical)
    assert arrival == a_reader(sent_at=value.get("sentAt")).read(value, call=call)
