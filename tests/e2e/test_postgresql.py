"""The whole server on PostgreSQL: what it does all day, and what it does while the database is away."""

from pathlib import Path
from typing import Any

import pytest
import requests

from service.clock import utc_now
from tests.postgres import PASSWORD, Cluster, running_cluster
from tests.server import Server, running_server, until, write_catalog

pytestmark = pytest.mark.e2e

UNIT = "3f2a9c1e-7d44-4b8e-9b61-0a4f5d2c7e10"


def an_event(event_id: str, **members: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": "Product Viewed",
        "occurred_at": utc_now().isoformat(),
        "anonymous_id": UNIT,
        "properties": {"item_id": "tea"},
        **members,
    }


def send(server: Server, *events: dict[str, Any]) -> list[str]:
    answer = server.post("/v1/events", {"events": list(events)}, key=server.server_key)
    assert answer.status_code == 202, answer.text
    return [result["status"] for result in answer.json()["results"]]


def evaluate(server: Server) -> requests.Response:
    return server.post("/ofrep/v1/evaluate/flags", {"context": {"targetingKey": UNIT}})


def store_is_well(server: Server) -> bool:
    answer = server.get("/readyz")
    assert answer.status_code == 200, answer.text
    return "store" not in answer.json()["degraded"]


def test_events_quarantine_and_erasure_and_a_database_that_goes_and_comes(tmp_path: Path) -> None:
    with running_cluster() as cluster:
        url = cluster.new_database()
        catalog = write_catalog(tmp_path / "catalog")
        with running_server(tmp_path / "home", catalog, OPPORTUNE_DATABASE_URL=url) as server:
            all_day(server)
            while_it_is_away(server, cluster)
            types = cluster.sql("SELECT type FROM event ORDER BY seq", database=url.rpartition("/")[2])
            erased = server.delete("/v1/people", {"anonymous_id": UNIT}, key=server.admin_key)
            assert erased.status_code == 200, erased.text
            stored = cluster.sql("SELECT event_id FROM event", database=url.rpartition("/")[2])
            said = server.log.read_text("utf-8", "replace")

    viewed = ("Product Viewed",)
    assert types == [("Experiment Viewed",), viewed, viewed, viewed]
    assert stored == [("other",)]
    assert PASSWORD not in said


def all_day(server: Server) -> None:
    """Evaluate, expose, store, de-duplicate, put aside."""
    assert evaluate(server).status_code == 200
    exposing = {"context": {"targetingKey": UNIT}, "expose": True}
    exposed = server.post("/ofrep/v1/evaluate/flags/button", exposing, key=server.server_key)
    assert exposed.json()["variant"] in ("control", "loud"), exposed.text
    assert send(server, an_event("e1"), an_event("e1"), an_event("e2", occurred_at="yesterday")) == [
        "accepted",
        "duplicate",
        "quarantined",
    ]
    assert send(server, an_event("other", anonymous_id="somebody-else")) == ["accepted"]
    assert store_is_well(server)


def while_it_is_away(server: Server, cluster: Cluster) -> None:
    """Evaluations go on, events are refused and can be sent again, and nobody has to restart anything."""
    cluster.stop()
    refused = server.post("/v1/events", {"events": [an_event("e3")]}, key=server.server_key)
    assert refused.status_code == 503, refused.text
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert PASSWORD not in refused.text
    assert evaluate(server).status_code == 200
    until(lambda: not store_is_well(server))

    cluster.start()

    assert send(server, an_event("e3")) == ["accepted"]
    until(lambda: store_is_well(server))
