"""The whole server from outside: ends and faults."""

import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from service.catalog.loader import read_folder
from service.clock import utc_now
from service.storage.migrate import migrate
from service.storage.sql import open_store
from service.use_cases.launch import apply
from tests.server import Server, Start, running_server, stop, until, write_catalog

pytestmark = pytest.mark.e2e

BULK = "/ofrep/v1/evaluate/flags"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    catalog = write_catalog(tmp_path / "catalog")
    with running_server(tmp_path / "home", catalog) as running:
        yield running


def an_event(event_id: str = "") -> dict[str, Any]:
    return {
        "event_id": event_id or str(uuid.uuid4()),
        "type": "Product Viewed",
        "anonymous_id": "visitor-1",
        "occurred_at": utc_now().isoformat(),
        "properties": {"item_id": "tea-1"},
    }


# --- ends


class Load:
    """Clients that evaluate and store without pause, until nobody listens any more."""

    def __init__(self, server: Server, n_clients: int) -> None:
        self.server = server
        self.acknowledged: list[str] = []
        self.errors: list[str] = []
        self.threads = [threading.Thread(target=self._client) for _ in range(n_clients)]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    def _client(self) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self.server.client_key}"
            while self._round(session):
                pass

    def _round(self, session: requests.Session) -> bool:
        event = an_event()
        for path, body in ((BULK, {"context": {"targetingKey": "u"}}), ("/v1/events", {"events": [event]})):
            answer = self._with_one_retry(session, path, body)
            if answer is None:
                return False
            if answer.status_code not in (200, 202):
                self.errors.append(f"{answer.status_code} {answer.text}")
        self.acknowledged.append(event["event_id"])
        return True

    def _with_one_retry(self, session: requests.Session, path: str, body: object) -> requests.Response | None:
        """Send, and once more if an idle connection had been reset; None when nobody listens any more."""
        for _ in range(2):
            try:
                return session.post(self.server.base_url + path, json=body, timeout=30)
            except requests.ConnectionError as error:
                if "refused" in str(error):
                    return None
        # Reset on a fresh connection: only right while the listener itself is being closed.
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.server.port)) == 0:
                self.errors.append("reset twice while somebody listens")
        return None


def test_sigterm_under_load_loses_no_accepted_request(server: Server) -> None:
    load = Load(server, n_clients=8)
    until(lambda: len(load.acknowledged) > 400)

    exit_code = stop(server.process)
    load.join()

    store = open_store(server.settings)
    stored = {logged.received.event.event_id for logged in store.read(0, 1_000_000)}
    store.close()
    assert load.errors == []
    assert exit_code == 0
    assert set(load.acknowledged) <= stored
    assert "Traceback" not in server.log.read_text("utf-8")


def test_a_killed_worker_is_replaced_and_its_counts_are_kept(server: Server) -> None:
    for _ in range(50):
        server.post(f"{BULK}/dark-mode", {"context": {}})
    time.sleep(1.5)
    os.kill(int(workers_of(server)[0]), signal.SIGKILL)
    until(lambda: (server.settings.meters / "past.json").exists() or _counted(server) >= 50)

    assert server.post(BULK, {"context": {}}).status_code == 200
    until(lambda: _counted(server) >= 50)


def _counted(server: Server) -> float:
    try:
        text = server.get("/metrics").text
    except requests.ConnectionError:
        return 0
    return sum(float(x.split()[-1]) for x in text.splitlines() if x.startswith("opportune_evaluations_total"))


# --- faults


def test_an_unreadable_revision_is_told_and_survived_also_over_a_restart(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog")
    with running_server(tmp_path / "home", catalog) as server:
        store = open_store(server.settings)
        store.add_revision({"flags/x.yaml": "flag: ["}, "bad", by="test", now=utc_now())
        store.close()

        until(lambda: server.get("/readyz").json()["catalog"]["problem"] != "")

        assert server.get("/readyz").status_code == 200
        assert server.post(f"{BULK}/dark-mode", {"context": {}}).json()["value"] is True

    with running_server(tmp_path / "home", catalog, Start(fresh=False)) as restarted:
        state = restarted.get("/readyz").json()

        assert "revision 2" in state["catalog"]["problem"]
        assert state["catalog"]["revision"] == 1
        assert restarted.post(f"{BULK}/dark-mode", {"context": {}}).json()["value"] is True


def test_a_dead_store_stops_events_but_no_assignment(server: Server) -> None:
    database = server.home / "opportune.db"
    with database.open("r+b") as file:
        file.write(b"no database any more" * 1_000)
    for path in server.home.glob("opportune.db-wal"):
        path.write_bytes(b"")

    until(lambda: "store" in server.get("/readyz").json()["degraded"])
    until(lambda: len(workers_of(server)) == 2)
    refused = server.post("/v1/events", {"events": [an_event()]})

    assert server.get("/readyz").status_code == 200
    assert server.post(BULK, {"context": {"targetingKey": "u"}}).status_code == 200
    assert refused.status_code == 503
    assert refused.json()["code"] == "store_unavailable"
    assert int(refused.headers["Retry-After"]) >= 1
    assert server.get("/metrics").status_code == 200

    for worker in workers_of(server):
        os.kill(int(worker), signal.SIGKILL)
    until(lambda: _serves(server))
    assert server.get("/readyz").json()["catalog"]["revision"] == 1


def _serves(server: Server) -> bool:
    try:
        return server.post(f"{BULK}/dark-mode", {"context": {}}).status_code == 200
    except requests.ConnectionError:
        return False


def workers_of(server: Server) -> list[str]:
    return Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()


def test_without_a_catalog_it_waits_and_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    migrate(f"sqlite:///{home / 'opportune.db'}")
    catalog = write_catalog(tmp_path / "catalog")

    with running_server(home, catalog, Start(fresh=False, expect=503)) as server:
        waiting = server.get("/readyz")
        assert waiting.json()["status"] == "starting"
        assert waiting.json()["catalog"]["problem"] == "no catalog has been applied"
        assert server.get("/healthz").status_code == 200
        assert server.post(BULK, {"context": {}}).json()["flags"] == []

        store = open_store(server.settings)
        apply(store, read_folder(catalog), by="test", now=utc_now())
        store.close()

        until(lambda: server.get("/readyz").status_code == 200)


def test_logs_are_json_lines_without_keys(server: Server) -> None:
    server.post("/v1/events", {"events": [an_event()]})
    with pytest.raises(requests.ConnectionError):
        requests.post(server.base_url.replace("http", "https"), timeout=5)

    text = server.log.read_text("utf-8")
    ours = [line for line in text.splitlines() if line.startswith("{")]
    assert all(isinstance(json.loads(line), dict) for line in ours)
    for key in (server.client_key, server.server_key, server.admin_key, server.settings.signing_secret):
        assert key not in text
