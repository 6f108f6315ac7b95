"""What people do decides what they get, through a real gunicorn and a real worker."""

import http.client
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_main_loop import connection_to_each_worker, post_on, wait_until
from tests.server import Server, running_server, write_catalog
from tests.worker import worker_of

CATALOG = {
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 1d}\n",
    "audiences.yaml": """\
audiences:
  tea_fans: {behaviour: {event: Product Viewed, where: {category: tea}, count: {gte: 3}, within: 30d}}
  newcomers: {behaviour: {event: Order Completed, count: {lt: 1}}}
  here_now: {behaviour: {event: Page Viewed, last: {within: 30m}}}
""",
    **{
        f"experiments/{key}.yaml": f"""\
experiment: {key}
audience: {{audience: {audience}}}
variants: {{control: "", treatment: "x"}}
metrics: {{primary: purchase}}
"""
        for key, audience in {"tea": "tea_fans", "welcome": "newcomers", "chat": "here_now"}.items()
    },
}

WINDOW = timedelta(minutes=30)

pytestmark = pytest.mark.e2e

Connections = Sequence[http.client.HTTPConnection]


def test_three_teas_let_a_visitor_in_within_seconds_and_exposure_keeps_people_in(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog", CATALOG)
    with (
        running_server(tmp_path / "home", catalog) as server,
        connection_to_each_worker(server) as connections,
    ):
        fan = str(uuid.uuid4())
        assert server.get("/readyz").json()["degraded"] == ["audiences"]
        assert states(server, connections, "welcome", fan) == {False}
        with worker_of(server) as worker:
            wait_until(partial(are_in, server, connections, "welcome", fan), "nothing bought: a newcomer")
            assert states(server, connections, "tea", fan) == {False}

            send(server, *(did(fan, "Product Viewed", category="tea") for _ in range(3)))
            started = time.monotonic()
            wait_until(partial(are_in, server, connections, "tea", fan), "three teas: a fan")
            print(f"let in {time.monotonic() - started:.1f} s after the third tea")
            worker.kill()
        with worker_of(server):
            who_was_exposed_stays(server, connections, "welcome", "Order Completed")
        wait_until(lambda: not server.get("/readyz").json()["degraded"], "all is well")


def test_a_window_that_passes_takes_out_who_was_not_exposed(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog", CATALOG)
    with (
        running_server(tmp_path / "home", catalog) as server,
        connection_to_each_worker(server) as connections,
        worker_of(server),
    ):
        exposed, other = str(uuid.uuid4()), str(uuid.uuid4())

        def exposed_is_in() -> bool:
            # Nearly too long ago: the window of the last one passes while we wait.
            ago = WINDOW - timedelta(seconds=20)
            send(server, *(did(person, "Page Viewed", ago=ago) for person in (exposed, other)))
            return are_in(server, connections, "chat", exposed)

        wait_until(exposed_is_in, "just here")
        expose(server, "chat", exposed)

        def other_is_out() -> bool:
            # Windows slide by the minute; news of anybody is looked at within seconds.
            send(server, did(str(uuid.uuid4()), "Page Viewed"))
            return are_out(server, connections, "chat", other)

        wait_until(other_is_out, "the window has passed")
        assert states(server, connections, "chat", exposed) == {True}


def who_was_exposed_stays(server: Server, connections: Connections, key: str, event: str) -> None:
    exposed, other = str(uuid.uuid4()), str(uuid.uuid4())
    wait_until(partial(are_in, server, connections, key, exposed), "a newcomer")
    expose(server, key, exposed)
    send(server, *(did(person, event, revenue=10) for person in (exposed, other)))
    wait_until(partial(are_out, server, connections, key, other), "a buyer is no newcomer")
    assert states(server, connections, key, exposed) == {True}


def expose(server: Server, key: str, person: str) -> None:
    body = {"context": {"targetingKey": person}, "expose": True}
    answer = server.post(f"/ofrep/v1/evaluate/flags/{key}", body).json()
    assert answer["metadata"]["exposure"] == "accepted"


def states(server: Server, connections: Connections, key: str, person: str) -> set[bool]:
    """Return whether the person is enrolled, by each of the web workers."""
    path, body = f"/ofrep/v1/evaluate/flags/{key}", {"context": {"targetingKey": person}}
    return {post_on(server, one, path, body)["metadata"]["enrolled"] for one in connections}


def are_in(server: Server, connections: Connections, key: str, person: str) -> bool:
    return states(server, connections, key, person) == {True}


def are_out(server: Server, connections: Connections, key: str, person: str) -> bool:
    return states(server, connections, key, person) == {False}


def did(person: str, event: str, *, ago: timedelta = timedelta(0), **properties: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "type": event,
        "occurred_at": (datetime.now(UTC) - ago).isoformat(),
        "anonymous_id": person,
        "properties": properties,
    }


def send(server: Server, *events: dict[str, Any]) -> None:
    answer = server.post("/v1/events", {"events": list(events)}, key=server.server_key)
    assert [result["status"] for result in answer.json()["results"]] == ["accepted"] * len(events)
