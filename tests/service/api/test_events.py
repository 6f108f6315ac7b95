"""Events over a real server: refused, quarantined or stored, never lost and never a 500."""

import gzip
import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from tests.raw import chunked, exchange, post_head
from tests.server import Server, until

MIB = 1 << 20
VISITOR = str(uuid.uuid4())


def an_event(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "type": "Product Viewed",
        "anonymous_id": VISITOR,
        "occurred_at": datetime.now(UTC).isoformat(),
        "properties": {"item_id": "tea-1"},
        **changes,
    }


def test_a_batch_is_answered_event_by_event(server: Server) -> None:
    good, bad = an_event(), an_event(occurred_at="yesterday")

    answer = server.post("/v1/events", {"events": [good, bad, good, None]})

    assert answer.status_code == 202
    results = answer.json()["results"]
    assert [r["index"] for r in results] == [0, 1, 2, 3]
    assert [r["status"] for r in results] == ["accepted", "quarantined", "duplicate", "quarantined"]
    assert results[1]["reason"]


def test_a_poisonous_event_spoils_no_other(server: Server) -> None:
    good = [an_event() for _ in range(99)]
    body = b'{"events": [%s]}' % b",".join(
        [
            *(json.dumps(one).encode() for one in good[:50]),
            b'{"a": "\\ud800"}',
            *(json.dumps(one).encode() for one in good[50:]),
        ]
    )

    answer = server.post("/v1/events", data=body, headers={"Content-Type": "application/json"})

    told = [result["status"] for result in answer.json()["results"]]
    assert told == ["accepted"] * 50 + ["quarantined"] + ["accepted"] * 49
    assert answer.json()["results"][50]["reason"] == "malformed"


def test_a_beacon_carries_its_key_in_the_query_or_the_body(server: Server) -> None:
    text = {"Content-Type": "text/plain;charset=UTF-8", "Origin": "http://localhost:3000"}
    url = server.base_url + "/v1/events"
    batch = {"events": [an_event()]}

    in_query = requests.post(
        f"{url}?client_key={server.client_key}", data=json.dumps(batch), headers=text, timeout=30
    )
    in_body = requests.post(
        url, data=json.dumps({**batch, "writeKey": server.client_key}), headers=text, timeout=30
    )

    assert in_query.json()["results"][0]["status"] == "accepted"
    assert in_body.json()["results"][0]["status"] == "duplicate"


def test_a_zipped_body_is_not_opened_for_a_key_inside_it(server: Server) -> None:
    body = gzip.compress(json.dumps({"events": [an_event()], "writeKey": server.client_key}).encode())
    zipped = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    url = server.base_url + "/v1/events"

    assert requests.post(url, data=body, headers=zipped, timeout=30).status_code == 401
    in_query = requests.post(f"{url}?client_key={server.client_key}", data=body, headers=zipped, timeout=30)
    assert in_query.status_code == 202


def test_too_many_events_are_told_so_also_where_one_of_them_hides_the_key(server: Server) -> None:
    body = b'{"events": [' + b",".join([b"NaN"] * 501) + b"]}"

    assert requests.post(server.base_url + "/v1/events", data=body, timeout=30).status_code == 413


def test_a_secret_key_in_the_body_is_refused(server: Server) -> None:
    body = {"events": [an_event()], "writeKey": server.admin_key}

    answer = requests.post(server.base_url + "/v1/events", json=body, timeout=30)

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"events": [{}], "sent": NaN}', 400, "malformed_json"),
        (b'{"events": [], "events": []}', 400, "malformed_json"),
        (b'{"events": [{}], "sent": "\\ud800"}', 400, "malformed_json"),
        ('{"events": []}'.encode("utf-16"), 400, "malformed_json"),
        (b'{"events": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed_json"),
        (b'{"events": ' + b'{"a":' * 90_000 + b"1" + b"}" * 90_000 + b"}", 400, "malformed_json"),
        (b"[]", 422, "invalid_body"),
        (b"null", 422, "invalid_body"),
        (b"{}", 422, "invalid_body"),
        (b'{"events": {}}', 422, "invalid_body"),
        (b'{"events": []}', 422, "invalid_body"),
        (b'{"events": [{}], "extra": 1}', 422, "invalid_body"),
    ],
)
def test_a_bad_body_is_refused_with_a_reason_and_no_leak(
    server: Server, sent: bytes, status: int, code: str
) -> None:
    answer = server.post("/v1/events", data=sent, headers={"Content-Type": "application/json"})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["status"] == status
    assert not re.search(r"Traceback|File \"|/work/|site-packages|SELECT|sqlite", answer.text)


def test_a_refused_body_is_pointed_into(server: Server) -> None:
    answer = server.post("/v1/events", {"events": [1], "extra/part": 1})

    assert answer.json()["errors"] == [{"pointer": "/extra~1part", "reason": "Unknown field."}]


def test_other_content_types_are_refused(server: Server) -> None:
    form = server.post(
        "/v1/events", data=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    packed = server.post(
        "/v1/events",
        data=b"{}",
        headers={"Content-Type": "application/json", "Content-Encoding": "br"},
    )

    assert form.status_code == packed.status_code == 415


def test_a_body_above_a_mebibyte_is_refused_however_it_is_sent(server: Server) -> None:
    padded = b'{"events": []' + b" " * MIB + b"}"
    headers = {"Content-Type": "application/json"}

    stated = server.post("/v1/events", data=padded, headers=headers)
    status, answer = exchange(
        server,
        post_head(server, "/v1/events", "Transfer-Encoding: chunked"),
        chunked(*[padded[i : i + 60_000] for i in range(0, len(padded), 60_000)]),
    )

    assert stated.status_code == status == 413
    assert b"too_large" in answer


def test_a_chunked_batch_is_read_whole(server: Server) -> None:
    body = json.dumps({"events": [an_event()]}).encode()

    status, answer = exchange(
        server, post_head(server, "/v1/events", "Transfer-Encoding: chunked"), chunked(body[:9], body[9:])
    )

    assert status == 202
    assert b'"accepted"' in answer


@pytest.mark.parametrize("size", [b"0x5", b"-5", b"zz", b"5 5"])
def test_a_broken_chunk_is_a_400(server: Server, size: bytes) -> None:
    head = post_head(server, "/v1/events", "Transfer-Encoding: chunked")

    status, _ = exchange(server, head, size + b"\r\nhello\r\n0\r\n\r\n")

    assert status == 400


def test_two_lengths_or_a_length_and_chunks_are_a_400(server: Server) -> None:
    two = post_head(server, "/v1/events", "Content-Length: 5", "Content-Length: 6")
    both = post_head(server, "/v1/events", "Content-Length: 5", "Transfer-Encoding: chunked")

    assert exchange(server, two, b"hello")[0] == 400
    assert exchange(server, both, b"5\r\nhello\r\n0\r\n\r\n")[0] == 400


def test_events_are_counted_by_what_became_of_them(server: Server) -> None:
    server.post("/v1/events", {"events": [an_event()]})

    # The other worker may have taken it, and publishes twice a second.
    until(lambda: 'opportune_events_total{status="accepted"}' in server.get("/metrics").text)
