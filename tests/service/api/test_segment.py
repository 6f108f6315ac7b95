"""Segment's tracking API over a real server, on both lanes: keys, bodies, answers, and what is kept."""

import base64
import gzip
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
import requests

from service.clock import utc_now
from service.storage.sql import open_store
from tests.server import Server

PAGE = "http://localhost:3000"
TEXT = {"Content-Type": "text/plain", "Origin": PAGE}
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
LETTERS = {"identify": "i", "track": "t", "page": "p", "screen": "s", "group": "g", "alias": "a"}


@pytest.fixture
def person() -> str:
    return f"v-{uuid.uuid4()}"


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


def post(server: Server, path: str, body: Any, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body)
    return requests.post(server.base_url + path, data=data, headers=headers, timeout=30)


def clicked(person: str, **members: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Clicked", "anonymousId": person, **members}


def results_of(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"] is True
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def quarantined(server: Server, event_id: str) -> str:
    """Return everything that quarantine holds of one event, as text."""
    store = open_store(server.settings)
    try:
        held = [one for one in store.quarantined(limit=10_000) if one.held.event_id == event_id]
    finally:
        store.close()
    assert len(held) == 1
    return str(held[0])


@pytest.mark.parametrize("call", LETTERS)
def test_every_call_has_two_paths(server: Server, person: str, call: str) -> None:
    body = clicked(person, messageId=f"m-{person}", userId=f"u-{person}", previousId="v-1", groupId="g")

    full = post(server, f"/v1/{call}", body, **basic(server.server_key))
    short = post(server, f"/v1/{LETTERS[call]}", body, **basic(server.server_key))

    assert results_of(full) == [{"index": 0, "event_id": f"m-{person}", "status": "accepted"}]
    assert results_of(short) == [{"index": 0, "event_id": f"m-{person}", "status": "duplicate"}]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "//v1/batch/"])
def test_a_batch_holds_calls_of_any_kind_and_a_bad_one_spoils_no_other(
    server: Server, person: str, path: str
) -> None:
    calls = [clicked(person), {"type": "page", "anonymousId": person}, {"type": "purchase"}, 7]

    results = results_of(post(server, path, {"batch": calls}, **basic(server.server_key)))

    assert [one["status"] for one in results] == ["accepted", "accepted", "quarantined", "quarantined"]
    assert {one["reason"] for one in results[2:]} == {"invalid_event"}
    assert "type: expected one of identify, track" in results[2]["detail"]


def test_a_poisonous_call_spoils_no_other(server: Server, person: str) -> None:
    good = json.dumps(clicked(person)).encode()
    body = b'{"batch":[' + good + b',{"type":"track","messageId":"\\u0000"},' + good + b"]}"

    results = results_of(post(server, "/v1/batch", body, **basic(server.server_key)))

    assert [one["status"] for one in results] == ["accepted", "quarantined", "accepted"]
    assert results[1]["reason"] == "malformed"


def test_an_empty_batch_is_a_success(server: Server) -> None:
    assert results_of(post(server, "/v1/batch", {"batch": []}, **basic(server.client_key))) == []


def test_a_body_may_be_zipped(server: Server, person: str) -> None:
    body = gzip.compress(json.dumps({"batch": [clicked(person)]}).encode())

    answer = post(server, "/v1/batch", body, **basic(server.server_key), **{"Content-Encoding": "gzip"})

    assert [one["status"] for one in results_of(answer)] == ["accepted"]


def test_the_clock_of_the_sender_is_corrected(server: Server, person: str) -> None:
    ahead = utc_now() + timedelta(days=3)
    call = clicked(person, messageId=f"m-{person}", timestamp=(ahead - timedelta(minutes=5)).isoformat())

    results_of(
        post(server, "/v1/batch", {"batch": [call], "sentAt": ahead.isoformat()}, **basic(server.client_key))
    )

    store = open_store(server.settings)
    try:
        (stored,) = store.stored_events({f"m-{person}"})
    finally:
        store.close()
    late_by = stored.received.received_at - stored.received.event.occurred_at
    assert abs(late_by - timedelta(minutes=5)) < timedelta(minutes=1)


# --- keys


def test_a_client_key_may_ride_in_the_body_and_a_page_may_read_the_answer(
    server: Server, person: str
) -> None:
    answer = post(server, "/v1/t", {**clicked(person), "writeKey": server.client_key}, **TEXT)

    assert [one["status"] for one in results_of(answer)] == ["accepted"]
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/track", clicked("v-1")), ("/v1/batch", {"batch": [clicked("v-1")]})]
)
def test_a_wrong_key_is_told_what_is_wrong(server: Server, path: str, body: dict[str, Any]) -> None:
    none = post(server, path, body)
    unknown = post(server, path, {**body, "writeKey": "ck_unknown"})
    secret = post(server, path, {**body, "writeKey": server.server_key})
    analyst = post(server, path, body, **basic(server.analyst_key))

    assert [one.status_code for one in (none, unknown, secret, analyst)] == [401, 401, 403, 403]
    assert {one.headers["Content-Type"] for one in (none, secret)} == {"application/problem+json"}


def test_a_secret_key_in_header_and_body_opens_and_is_not_kept(server: Server, person: str) -> None:
    body = clicked(
        person, event="", messageId=f"m-{person}", writeKey=server.server_key, context={"ip": "192.0.2.7"}
    )

    (result,) = results_of(post(server, "/v1/track", body, **basic(server.server_key)))

    assert result["reason"] == "invalid_event"
    kept = quarantined(server, f"m-{person}")
    assert person in kept
    assert server.server_key not in kept
    assert "192.0.2.7" not in kept


# --- what a client key may not say


def test_a_crawler_is_told_by_the_header_and_by_the_context(server: Server, person: str) -> None:
    key = basic(server.client_key)

    (by_header,) = results_of(post(server, "/v1/track", clicked(person), **key, **{"User-Agent": CRAWLER}))
    told = clicked(person, context={"userAgent": CRAWLER})
    (by_context,) = results_of(post(server, "/v1/track", told, **basic(server.server_key)))

    assert (by_header["reason"], by_context["reason"]) == ("bot", "bot")


def test_with_a_client_key_one_request_is_about_one_person(server: Server, person: str) -> None:
    calls = [clicked(person), clicked(person, userId=f"u-{person}"), clicked("somebody-else")]

    results = results_of(post(server, "/v1/batch", {"batch": calls}, **basic(server.client_key)))

    assert [one.get("reason", one["status"]) for one in results] == ["accepted", "accepted", "other_person"]


def test_a_call_without_a_person_is_set_aside(server: Server) -> None:
    (result,) = results_of(post(server, "/v1/track", {"event": "Clicked"}, **basic(server.client_key)))

    assert result["reason"] == "invalid_event"
    assert "give user_id or anonymous_id" in result["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"batch": 7}', 422),
        (b"{}", 422),
        (b"[]", 422),
        (json.dumps({"batch": [{}] * 501}).encode(), 413),
        (b" " * (1 << 20) + b"{}", 413),
    ],
)
def test_a_body_that_is_no_batch_is_refused(server: Server, body: bytes, status: int) -> None:
    answer = post(server, "/v1/batch", body, **basic(server.client_key))

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


# --- what the browser's library loads


def test_the_settings_name_this_server_and_nobody_else(server: Server) -> None:
    answer = server.get(f"/v1/projects/{server.client_key}/settings", headers={"Origin": PAGE})

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    own = answer.json()["integrations"]["Segment.io"]
    assert own["apiKey"] == server.client_key
    assert f"{own['protocol']}://{own['apiHost']}" == f"{server.base_url}/v1"
    assert answer.json()["metrics"] == {"sampleRate": 0}
    assert "segment.io/" not in answer.text


def test_the_settings_are_on_https_behind_a_proxy_that_says_so(server: Server) -> None:
    path = f"/v1/projects/{server.client_key}/settings"

    answer = server.get(path, headers={"Host": "flags.shop.example", "X-Forwarded-Proto": "https"})

    own = answer.json()["integrations"]["Segment.io"]
    assert (own["protocol"], own["apiHost"]) == ("https", "flags.shop.example/v1")


def test_the_settings_need_a_client_key(server: Server) -> None:
    unknown = server.get("/v1/projects/ck_unknown/settings")
    secret = server.get(f"/v1/projects/{server.server_key}/settings")

    assert (unknown.status_code, secret.status_code) == (401, 403)
    assert "no-store" in secret.headers["Cache-Control"]
