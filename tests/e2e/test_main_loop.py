"""The whole loop through a real gunicorn and a real worker, from an empty folder: nothing here is faked."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from service.settings import REPOSITORY
from service.storage.sql import open_store
from tests.server import Server, running_server, write_catalog
from tests.worker import environment_of, worker_of

FIRST = {"metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 1d}\n"}
CATALOG = {
    **FIRST,
    "experiments/button.yaml": """\
experiment: button
variants: {control: "Buy", loud: "BUY NOW"}
metrics: {primary: purchase}
analysis: {mde: 50% relative}
decide: {min_runtime: 7d}
""",
    "recommenders.yaml": """\
recommenders:
  discovery: {rank_by: model, hide: [Order Completed]}
  buy-again: {rank_by: model, only: [Order Completed]}
""",
    "placements.yaml": """\
placements:
  home: {recommender: discovery, slots: 6}
  reorder: {recommender: buy-again, slots: 6}
""",
}
N_UNITS, N_DAYS = 1_200, 10
N_CUSTOMERS, N_TASTES, N_ITEMS = 240, 6, 12
RATES = {"control": 0.3, "loud": 0.6}
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=N_DAYS + 3)

T = TypeVar("T")

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Give the environment that names the database."""
    if request.param == "sqlite":
        return {}
    return {"OPPORTUNE_DATABASE_URL": request.getfixturevalue("postgres_url")}


def test_catalog_variants_events_verdict_model_and_recommendations(
    tmp_path: Path, database: dict[str, str]
) -> None:
    home = tmp_path / "home"
    with running_server(home, write_catalog(tmp_path / "catalog", FIRST), **database) as server:
        apply_over_http(server)
        with worker_of(server) as worker:
            put_items(server)
            send(server, past_baskets())
            units = [str(uuid.UUID(int=random.Random(i).getrandbits(128), version=4)) for i in range(N_UNITS)]
            tickets = [ask_variant(server, unit) for unit in units]
            events = shopping(units, tickets)

            stored_while_killing(server, worker, events)
        with worker_of(server):
            verdict = wait_for_verdict(server, n_first=N_UNITS)

        check_verdict(verdict, tickets)
        train(server)
        with connection_to_each_worker(server) as connections:
            check_recommendations(server, connections)


def apply_over_http(server: Server) -> None:
    """The catalog goes live over HTTP, and both workers serve it without a restart."""
    refused = server.post("/v1/catalog", {"files": {"x.yaml": "experiment: [}"}}, key=server.admin_key)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_catalog")
    applied = server.post("/v1/catalog", {"files": CATALOG}, key=server.admin_key)
    assert applied.json() == {"revision": 2, "changed": True}
    with connection_to_each_worker(server) as connections:
        for connection in connections:
            wait_until(partial(serves_button, server, connection), "both workers serve the new catalog")


def serves_button(server: Server, connection: http.client.HTTPConnection) -> bool:
    answer = post_on(server, connection, "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "a-1"}})
    return "button" in {flag["key"] for flag in answer["flags"]}


def put_items(server: Server) -> None:
    items = [
        {
            "item_id": f"t{taste}-{n}",
            "fields": {"title": f"Thing {n} of taste {taste}"},
            "categories": [f"taste-{taste}"],
        }
        for taste in range(N_TASTES)
        for n in range(N_ITEMS)
    ]
    assert server.post("/v1/items", {"items": items}, key=server.server_key).status_code == 200


def past_baskets() -> list[dict[str, Any]]:
    """Give customers with one taste each: what a model can learn and bestsellers cannot."""
    rng = random.Random(7)
    return [
        an_order(
            f"past-{customer}-{basket}",
            at=START - timedelta(days=40 - 7 * basket, minutes=customer),
            items=[f"t{customer % N_TASTES}-{n}" for n in rng.sample(range(N_ITEMS), 3)],
            user_id=f"customer-{customer}",
        )
        for basket in range(5)
        for customer in range(N_CUSTOMERS)
    ]


def an_order(event_id: str, *, at: datetime, items: Sequence[str], **person: str) -> dict[str, Any]:
    products = [{"product_id": item, "quantity": 1, "price": 2.5} for item in items]
    properties = {"revenue": 2.5 * len(items), "currency": "GBP", "products": products}
    return {
        "event_id": event_id,
        "type": "Order Completed",
        "occurred_at": at.isoformat(),
        "properties": properties,
        **person,
    }


def ask_variant(server: Server, unit: str) -> dict[str, Any]:
    body = {"context": {"targetingKey": unit}}
    answer: dict[str, Any] = server.post("/ofrep/v1/evaluate/flags/button", body).json()
    assert answer["metadata"]["enrolled"] is True
    return answer


def shopping(units: Sequence[str], tickets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Expose everybody in event time; the loud button sells twice as often."""
    rng = random.Random(11)
    events = []
    for place, (unit, ticket) in enumerate(zip(units, tickets, strict=True)):
        at = START + timedelta(days=N_DAYS) * place / len(units)
        seen = {
            "experiment_key": "button",
            "variant_key": ticket["variant"],
            "unit_type": "anonymous_id",
            "unit_id": unit,
            "phase": ticket["metadata"]["phase"],
            "revision": ticket["metadata"]["revision"],
        }
        events.append(
            {
                "event_id": f"x-{unit}",
                "type": "Experiment Viewed",
                "anonymous_id": unit,
                "occurred_at": at.isoformat(),
                "properties": seen,
            }
        )
        if rng.random() < RATES[ticket["variant"]]:
            events.append(
                an_order(f"o-{unit}", at=at + timedelta(hours=2), items=["t0-1"], anonymous_id=unit)
            )
    end = START + timedelta(days=N_DAYS + 2)
    events += [
        {"event_id": f"tail-{i}", "type": "Page Viewed", "anonymous_id": "v", "occurred_at": end.isoformat()}
        for i in range(150)
    ]
    return sorted(events, key=lambda e: str(e["occurred_at"]))


def send(server: Server, events: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(events), 400):
        answer = server.post("/v1/events", {"events": events[start : start + 400]}, key=server.server_key)
        assert answer.status_code == 202, answer.text
        assert {r["status"] for r in answer.json()["results"]} == {"accepted"}


def stored_while_killing(
    server: Server, worker: subprocess.Popen[bytes], events: list[dict[str, Any]]
) -> None:
    """Kill a web worker and the background worker in the middle of ingest: acknowledged = stored, once."""
    batches = [events[start : start + 20] for start in range(0, len(events), 20)]
    acknowledged: Counter[str] = Counter()
    third, done = threading.Event(), threading.Lock()

    def client(mine: list[list[dict[str, Any]]]) -> None:
        for batch in mine:
            results = post_until_acknowledged(server, batch)
            with done:
                acknowledged.update(r["event_id"] for r in results)
                if len(acknowledged) > len(events) // 3:
                    third.set()

    threads = [threading.Thread(target=client, args=(batches[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    while not third.wait(0.1):
        assert any(thread.is_alive() for thread in threads), "no client got through"
    victim = web_workers(server)[0]
    os.kill(victim, signal.SIGKILL)
    worker.kill()
    assert len(acknowledged) < len(events), "the kill must come in the middle"
    for thread in threads:
        thread.join()

    sent = {event["event_id"] for event in events}
    stored = Counter(stored_ids(server))
    assert set(acknowledged) == sent
    assert all(stored[event_id] == 1 for event_id in sent)
    again = post_until_acknowledged(server, events[:20])
    assert {r["status"] for r in again} == {"duplicate"}
    wait_until(lambda: len(set(web_workers(server)) - {victim}) == 2, "the killed web worker is replaced")


def post_until_acknowledged(server: Server, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Repeat a batch that nobody acknowledged, as any client does: ids make that harmless."""
    while True:
        try:
            answer = server.post("/v1/events", {"events": batch}, key=server.server_key)
        except requests.RequestException:
            time.sleep(0.05)
            continue
        if answer.status_code == 202:
            results: list[dict[str, Any]] = answer.json()["results"]
            assert {r["status"] for r in results} <= {"accepted", "duplicate"}, results
            return results
        assert answer.status_code in (429, 503), answer.text
        time.sleep(0.05)


def stored_ids(server: Server) -> Iterator[str]:
    store = open_store(server.settings)
    try:
        after = 0
        while page := store.read(after, 1_000):
            yield from (logged.received.event.event_id for logged in page)
            after = page[-1].seq
    finally:
        store.close()


def wait_for_verdict(server: Server, *, n_first: int) -> dict[str, Any]:
    """Wait until a restarted worker has judged everything that was acknowledged."""

    def judged() -> dict[str, Any] | None:
        answer = server.get("/v1/experiments/button/verdict", key=server.analyst_key)
        if answer.status_code == 404:
            return None
        verdict: dict[str, Any] = answer.json()
        return verdict if sum(verdict["exposure"]["analysed"].values()) >= n_first else None

    return wait_until(judged, "a verdict over all exposures")


def check_verdict(verdict: dict[str, Any], tickets: Sequence[dict[str, Any]]) -> None:
    exposure = verdict["exposure"]
    assert exposure["events"] == exposure["first"] + exposure["repeats"] + sum(
        exposure["quarantined"].values()
    )
    assert (exposure["events"], exposure["first"]) == (N_UNITS, N_UNITS)
    assert exposure["exposed_units"] == Counter(t["variant"] for t in tickets)
    units = sum(exposure["exposed_units"].values())
    assert units == sum(exposure["analysed"].values()) + sum(exposure["excluded"].values())
    assert {c["check"]: c["state"] for c in verdict["checks"]}["srm"] == "ok"
    row = next(m for m in verdict["metrics"] if m["role"] == "primary" and m["variant"] == "loud")
    assert row["lift"]["lower"] < RATES["loud"] / RATES["control"] - 1 < row["lift"]["upper"]
    assert (verdict["decision"], verdict["variant"]) == ("ship", "loud")


def train(server: Server) -> None:
    environment = environment_of(server)
    arguments = [sys.executable, "-m", "service.cli.main", "train"]
    done = subprocess.run(
        arguments, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check_recommendations(server: Server, connections: Sequence[http.client.HTTPConnection]) -> None:
    """A purchase changes the recommendations of both web workers, from the acknowledgement on."""
    first, second = connections
    ask = {"user_id": "customer-1", "placement": "home"}
    wait_until(partial(agreed, server, connections, ask), "both workers serve the same model")
    before = [items_of(slate(server, connection, ask)) for connection in connections]
    assert before[0] == before[1]
    assert {item.split("-")[0] for item in before[0][:3]} == {"t1"}, "the customer's own taste leads"

    bought = before[0][0]
    order = an_order(f"live-{uuid.uuid4()}", at=datetime.now(UTC), items=[bought], user_id="customer-1")
    answer = post_on(server, first, "/v1/events", {"events": [order]}, key=server.server_key)
    assert answer["results"][0]["status"] == "accepted"

    # No waiting here: whichever worker is asked next already knows.
    after = [items_of(slate(server, connection, ask)) for connection in (second, first)]
    assert after[0] == after[1] != before[0]
    assert bought not in after[0]
    again = [
        slate(server, connection, {**ask, "placement": "reorder", "k": 50}) for connection in connections
    ]
    assert bought in items_of(again[0])
    assert items_of(again[0]) == items_of(again[1])


def agreed(server: Server, connections: Sequence[http.client.HTTPConnection], ask: dict[str, Any]) -> bool:
    """Whether every worker follows the history, with one and the same model: the worker trains, too."""
    slates = [slate(server, connection, ask) for connection in connections]
    return {s["reason"] for s in slates} == {"model"} and len({s["model"] for s in slates}) == 1


def items_of(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def slate(server: Server, connection: http.client.HTTPConnection, ask: dict[str, Any]) -> dict[str, Any]:
    return post_on(server, connection, "/v1/recommendations", ask, key=server.server_key)


def post_on(
    server: Server, connection: http.client.HTTPConnection, path: str, body: dict[str, Any], *, key: str = ""
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key or server.client_key}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    assert response.status < 300, answer
    return answer


@contextmanager
def connection_to_each_worker(server: Server) -> Iterator[tuple[http.client.HTTPConnection, ...]]:
    """Hold one kept-alive connection to each of the two web workers; the kernel says whose socket it is."""
    found: dict[int, http.client.HTTPConnection] = {}
    with ExitStack() as stack:
        while len(found) < 2:
            connection = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", server.port)))
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            assert connection.sock is not None
            owner = owner_of(server, local_port=connection.sock.getsockname()[1])
            found.setdefault(owner, connection)
        yield tuple(found.values())


def owner_of(server: Server, *, local_port: int) -> int:
    """Return the web worker that holds the other end of a connection."""
    here, there = f":{server.port:04X}", f":{local_port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(here) and row[2].endswith(there))
    for pid in web_workers(server):
        if f"socket:[{inode}]" in open_files(pid):
            return pid
    raise AssertionError(f"no web worker holds the connection from port {local_port}")


def open_files(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # A file may be closed while we look.
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def web_workers(server: Server) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(found: Callable[[], T | None], what: str) -> T:
    """Ask until the answer is true; a generous end only so that a broken build does not hang for ever."""
    for _ in range(1_800):
        answer = found()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for: {what}")
