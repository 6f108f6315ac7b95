"""The quarantine over HTTP, for administrators alone; and what /metrics says of the room that is left."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service.app import build_services, create_app, shut_down
from service.clock import utc_now
from service.storage.ports import IngestBatch, Store
from service.storage.records import QuarantinedEvent
from service.use_cases.growth import note_growth
from tests.service.use_cases.shops import START, a_store, launched, settings_in

ADMIN, ANALYST, SERVER, CLIENT = (f"{kind}_{'0123456789abcdef' * 2}" for kind in ("ak", "rk", "sk", "ck"))
N = 5


@dataclass(frozen=True, slots=True)
class Door:
    """The service without a socket."""

    store: Store
    client: FlaskClient
    home: Path

    def ask(self, method: str, path: str = "", *, key: str = ADMIN, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        return self.client.open(f"/v1/quarantine{path}", method=method, headers=headers, **more)

    def names(self, **query: Any) -> list[str]:
        return [one["event"] for one in self.ask("GET", query_string=query).json["events"]]


def bad(number: int, reason: str = "too_old") -> QuarantinedEvent:
    return QuarantinedEvent(
        event_id=f"o{number}",
        reason=reason,
        detail="why",
        body=f'{{"event_id":"o{number}","type":"Order Completed","user_id":"maria",'
        '"occurred_at":"2026-03-02T09:00:00Z"}',
        received_at=START + timedelta(seconds=number),
        source="events",
        trust="server",
        context={"user_agent": "Firefox"},
    )


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with a_store(tmp_path) as store:
        launched(store)
        held = [bad(number) for number in range(N)]
        garbled = replace(bad(9, "malformed"), body="/w==", encoding="base64", event_id="")
        store.append(IngestBatch(quarantined=[*held, garbled]))
    settings = replace(
        settings_in(tmp_path), admin_key=ADMIN, analyst_key=ANALYST, server_key=SERVER, client_key=CLIENT
    )
    services = build_services(settings)
    yield Door(services.store, create_app(services).test_client(), tmp_path)
    shut_down(services)


def test_only_an_administrator_comes_in(door: Door) -> None:
    name = door.names()[0]
    for key in (ANALYST, SERVER, CLIENT, "ak_guess"):
        for method, path, body in (
            ("GET", "", None),
            ("GET", f"/{name}", None),
            ("POST", "/replay", {}),
            ("DELETE", "", {"events": [name]}),
        ):
            answer = door.ask(method, path, key=key, json=body)

            assert answer.status_code in (401, 403)
            assert "o1" not in answer.text
    assert sum(door.store.quarantine_counts().values()) == N + 1


def test_pages_of_the_list_hold_every_event_once_newest_first(door: Door) -> None:
    first = door.ask("GET", query_string={"limit": 4}).json
    second = door.ask("GET", query_string={"limit": 4, "after": first["next"]}).json

    events = [*first["events"], *second["events"]]
    assert second["next"] is None
    assert [event["event_id"] for event in events] == ["", "o4", "o3", "o2", "o1", "o0"]
    assert "body" not in events[0]
    assert [(one["reason"], one["n"]) for one in first["reasons"]] == [("malformed", 1), ("too_old", N)]
    assert first["reasons"][1]["last_at"] == "2026-03-02T09:00:04+00:00"
    assert "400 days" in first["reasons"][1]["help"]
    assert len(door.names(reason="malformed")) == 1


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": "many"}, "/limit"),
        ({"after": "yesterday"}, "/after"),
        ({"after": "99999999999999999999-" + "a" * 64}, "/after"),
        ({"reason": "\0"}, "/reason"),
        ({"reason": "too_odl"}, "/reason"),
        ({"sort": "asc"}, "/sort"),
    ],
)
def test_a_query_of_another_form_is_refused_with_its_place(
    door: Door, query: dict[str, Any], pointer: str
) -> None:
    answer = door.ask("GET", query_string=query)

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_query")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_one_event_is_shown_whole_by_the_beginning_of_its_name(door: Door) -> None:
    (name,) = door.names(reason="malformed")

    shown = door.ask("GET", f"/{name[:6].upper()}")

    assert shown.status_code == 200
    assert shown.json == {
        "event": name,
        "event_id": "",
        "reason": "malformed",
        "detail": "why",
        "received_at": "2026-03-02T09:00:09+00:00",
        "source": "events",
        "trust": "server",
        "body": "/w==",
        "encoding": "base64",
        "canonical": "",
        "context": {"user_agent": "Firefox"},
    }


@pytest.mark.parametrize("name", ["000000", "abc", "%00%00%00%00%00%00", "zzzzzz", "a" * 65])
def test_a_name_of_nobody_is_404(door: Door, name: str) -> None:
    answer = door.ask("GET", f"/{name}")

    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_replay_is_done_in_pages_and_harmless_to_repeat(door: Door) -> None:
    first = door.ask("POST", "/replay", json={"limit": 4}).json
    rest = door.ask("POST", "/replay", json={"limit": 4, "after": first["next"]}).json
    again = door.ask("POST", "/replay", json={}).json

    assert (first["accepted"], rest["accepted"], rest["next"]) == (4, 1, None)
    assert rest["outcomes"][0] == {"was": "malformed", "now": "malformed", "n": 1, "why": "why"}
    assert (again["judged"], again["quarantined"]) == (1, 1)
    assert len(door.store.read(0, 99)) == N


def test_a_dry_run_writes_nothing_and_what_was_done_is_logged(door: Door) -> None:
    with capture_logs() as dry:
        told = door.ask("POST", "/replay", json={"reason": "too_old", "dry_run": True}).json
    assert (told["dry_run"], told["accepted"]) == (True, N)
    assert [line["event"] for line in dry] == []
    assert sum(door.store.quarantine_counts().values()) == N + 1

    with capture_logs() as lines:
        door.ask("POST", "/replay", json={"events": door.names(reason="too_old")[:2]})

    (line,) = [line for line in lines if line["event"] == "quarantine_replayed"]
    assert line["events"] == 2
    assert line["too_old>accepted"] == 2
    assert line["by"].startswith("ak:")


def test_what_would_be_unclear_to_replay_or_drop_is_refused(door: Door) -> None:
    name = door.names()[0]
    for method, path, body in (
        ("POST", "/replay", {"events": [name], "reason": "bot"}),
        ("POST", "/replay", {"events": [name[:12]]}),
        ("POST", "/replay", {"limit": 5_000}),
        ("POST", "/replay", {"dry_run": "yes"}),
        ("DELETE", "", {}),
        ("DELETE", "", {"events": [name], "reason": "bot"}),
        ("DELETE", "", {"events": [7]}),
    ):
        answer = door.ask(method, path, json=body)

        assert (answer.status_code, answer.json["code"]) == (422, "invalid_body")
    assert sum(door.store.quarantine_counts().values()) == N + 1


def test_a_misspelt_reason_is_told_and_one_of_another_release_is_not(door: Door) -> None:
    door.store.append(IngestBatch(quarantined=[bad(7, "too_blue")]))

    for method, path in (("POST", "/replay"), ("DELETE", "")):
        answer = door.ask(method, path, json={"reason": "too_odl"})
        assert answer.status_code == 422
        why = "there is no reason 'too_odl'; did you mean 'too_old'?"
        assert answer.json["errors"] == [{"pointer": "/reason", "reason": why}]

    assert len(door.names(reason="too_blue")) == 1
    assert door.ask("DELETE", json={"reason": "too_blue"}).json["dropped"] == 1


def test_dropping_says_how_many_went_and_how_many_are_left(door: Door) -> None:
    names = door.names(reason="too_old")

    some = door.ask("DELETE", json={"events": names[:2]})
    again = door.ask("DELETE", json={"events": names[:2]})
    rest = door.ask("DELETE", json={"reason": "too_old"})

    assert [answer.json["dropped"] for answer in (some, again, rest)] == [2, 0, N - 2]
    assert rest.json["left"] == 0
    assert dict(door.store.quarantine_counts()) == {"malformed": 1}


def gauges(door: Door) -> dict[str, float]:
    families = text_string_to_metric_families(door.client.get("/metrics").text)
    return {s.name + "".join(s.labels.values()): s.value for f in families for s in f.samples}


def test_metrics_tell_the_size_of_the_data_and_for_how_long_the_disk_will_do(door: Door) -> None:
    before = gauges(door)
    assert before["opportune_quarantinetoo_old"] == N
    assert before["opportune_data_bytesdatabase"] > 0
    assert before["opportune_data_byteslake"] == 0
    assert before["opportune_free_bytes"] > 0
    assert "opportune_days_until_full" not in before

    now = utc_now() - timedelta(hours=10)
    for hour in range(10):
        parts = {"database": 0, "lake": hour * 10**6}
        note_growth(settings_in(door.home), parts, now=now + timedelta(hours=hour))

    after = gauges(door)
    assert after["opportune_growth_bytes_per_day"] == pytest.approx(24 * 10**6)
    assert after["opportune_days_until_full"] == pytest.approx(after["opportune_free_bytes"] / 24e6)
