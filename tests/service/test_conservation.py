"""Under load, what the clients were told and what the service counted are the same; nothing is left over."""

import gzip
import random
import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import requests

from service.use_cases.conservation import Tally, imbalance, last_full_minute
from service.use_cases.meters import Meters
from tests.server import Server, running_server, until, write_catalog

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
CLIENTS, ROUNDS = 8, 30
SAMPLE = re.compile(r'^opportune_events(_received)?_total(?:\{status="(\w+)"\})? (\S+)$', re.MULTILINE)


@pytest.fixture(scope="module", params=["1", "0"], ids=["event-lane", "flask"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("conservation")
    with running_server(
        root / "home", write_catalog(root / "catalog"), OPPORTUNE_HOT_LANE=request.param
    ) as running:
        yield running


def an_event(dice: random.Random) -> bytes:
    event: dict[str, Any] = {
        "event_id": f"e-{dice.randrange(200)}"
        if dice.random() < 0.3
        else str(uuid.UUID(int=dice.getrandbits(128))),
        "type": "Product Viewed",
        "user_id": f"u-{dice.randrange(3)}",
        "occurred_at": datetime.now(UTC).isoformat(),
        "properties": {"item_id": "tea"},
    }
    kind = dice.random()
    if kind < 0.1:
        event["type"] = dice.choice([7, "", None])
    elif kind < 0.15:
        event["occurred_at"] = (datetime.now(UTC) - timedelta(days=500)).isoformat()
    elif kind < 0.2:
        return dice.choice([b'{"a": NaN}', b'"\\ud800"', b'"\xff"', b'{"a": 1, "a": 2}'])
    return orjson.dumps(event)


def a_body(dice: random.Random) -> tuple[bytes, int]:
    """Return a body and how many events it is, one that cannot be read being one."""
    n = dice.choice([1, 1, 3, 20])
    body = b'{"events": [' + b",".join(an_event(dice) for _ in range(n)) + b"]}"
    if dice.random() < 0.1:
        return dice.choice([body[:-2], b"", b"[]", b"{" * 50_000, b'{"events": []}']), 1
    return body, n


def told_by(answer: requests.Response, n: int) -> Counter[str]:
    if answer.status_code != 202:
        assert answer.status_code in (400, 401, 413, 422, 503), answer.text
        return Counter(refused=n)
    results = answer.json()["results"]
    assert len(results) == n
    return Counter(result["status"] for result in results)


def shop(server: Server, seed: int, told: list[Counter[str]]) -> None:
    dice = random.Random(seed)
    session = requests.Session()
    counted: Counter[str] = Counter()
    for _ in range(ROUNDS):
        body, n = a_body(dice)
        headers = {"Authorization": f"Bearer {server.server_key}", "Content-Type": "application/json"}
        if dice.random() < 0.3:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        if dice.random() < 0.05:
            headers["Authorization"], n = "Bearer nobody", 1
        answer = session.post(server.base_url + "/v1/events", data=body, headers=headers, timeout=60)
        counted += told_by(answer, n)
    told.append(counted)


def metrics_of(server: Server) -> Counter[str]:
    found = SAMPLE.findall(server.get("/metrics").text)
    return Counter({status or "received": int(float(n)) for _, status, n in found})


def test_what_came_in_is_what_came_out(server: Server) -> None:
    told: list[Counter[str]] = []
    clients = [threading.Thread(target=shop, args=(server, seed, told)) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    assert len(told) == CLIENTS
    expected = sum(told, Counter())
    assert all(expected[status] for status in ("accepted", "duplicate", "quarantined", "refused"))
    expected["received"] = expected.total()
    # The other worker publishes what it counted twice a second.
    until(lambda: metrics_of(server)["received"] >= expected["received"])
    assert metrics_of(server) == expected
    page = server.get("/metrics").text
    (left,) = re.findall(r"^opportune_events_imbalance (\S+)$", page, re.MULTILINE)
    assert float(left) == 0
    assert 'opportune_events_minute{status="received"}' in page


def test_every_status_of_the_last_minute_is_told_and_the_rest_is_in_flight() -> None:
    meters = Meters()
    done, open_, late = (Tally(meters, at) for at in (NOW, NOW, NOW + timedelta(minutes=1)))
    done.receive(3)
    done.settle(["accepted", "accepted", "refused"])
    open_.receive(2)
    late.receive(7)
    unreadable = Tally(meters, NOW)
    unreadable.refuse()
    unreadable.refuse()

    counts = last_full_minute(meters.totals(), NOW + timedelta(minutes=1))

    assert counts == {
        "received": 6, "accepted": 2, "duplicate": 0, "quarantined": 0, "refused": 2, "counted": 0
    }  # fmt: skip
    assert imbalance(counts) == 2
    open_.refuse()
    assert imbalance(last_full_minute(meters.totals(), NOW + timedelta(minutes=1))) == 0


def test_what_an_evaluation_exposes_is_counted_too(server: Server) -> None:
    before = metrics_of(server)
    body = {"context": {"targetingKey": "u-1"}, "expose": True}
    exposed: Any = server.post("/ofrep/v1/evaluate/flags/button", body).json()

    assert exposed["metadata"]["exposure"] in ("accepted", "duplicate")
    until(lambda: metrics_of(server)["received"] == before["received"] + 1)
    until(lambda: metrics_of(server).total() == before.total() + 2)
