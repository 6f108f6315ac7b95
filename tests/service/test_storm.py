"""Requests without pause while the catalog changes again and again and a worker is killed.

STORM_REQUESTS=100000 STORM_RELOADS=50 pytest tests/service/test_storm.py    # the full count
"""

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.clock import utc_now
from service.storage.sql import open_store
from service.use_cases.launch import apply
from tests.server import Server, running_server, until, write_catalog

pytestmark = pytest.mark.e2e

REQUESTS = int(os.environ.get("STORM_REQUESTS", "4000"))
RELOADS = int(os.environ.get("STORM_RELOADS", "8"))
CLIENTS = 8
N_FLAGS = 12
BULK = "/ofrep/v1/evaluate/flags"


def catalog_of(number: int) -> dict[str, str]:
    """Return a catalog in which every flag says which revision it is of."""
    return {f"flags/f{i}.yaml": f'flag: f{i}\nvalue: "r{number}"\notherwise: ""\n' for i in range(N_FLAGS)}


class Client(threading.Thread):
    """One kept connection, which is made anew once when it was reset."""

    def __init__(self, server: Server, n_requests: int) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.errors: list[str] = []
        self._server = server
        self._n_requests = n_requests
        self._connection = self._connect()

    def run(self) -> None:
        for _ in range(self._n_requests):
            try:
                status, body = self._ask_with_one_retry()
            except OSError as error:
                self.errors.append(f"twice without an answer: {error!r}")
                continue
            if status != 200:
                self.errors.append(f"{status} {body[:200]!r}")
                continue
            self._check(json.loads(body))
        self._connection.close()

    def _check(self, answer: dict[str, object]) -> None:
        flags, told = answer["flags"], answer["metadata"]
        assert isinstance(flags, list)
        assert isinstance(told, dict)
        revisions = {flag["metadata"]["revision"] for flag in flags} | {told["revision"]}
        values = {flag["value"] for flag in flags}
        if len(flags) != N_FLAGS or values != {f"r{revision}" for revision in revisions}:
            self.errors.append(f"revisions {revisions} mixed with values {values}")
        self.seen.append(int(told["revision"]))

    def _ask_with_one_retry(self) -> tuple[int, bytes]:
        try:
            return self._ask()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = self._connect()
        try:
            return self._ask()
        except http.client.HTTPException as error:
            raise OSError(repr(error)) from error

    def _ask(self) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._server.client_key}", "Content-Type": "application/json"}
        self._connection.request("POST", BULK, b'{"context":{"targetingKey":"u-1"}}', headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    catalog = write_catalog(tmp_path / "catalog", catalog_of(1))
    with running_server(tmp_path / "home", catalog) as running:
        yield running


def test_no_client_notices_reloads_and_a_killed_worker(server: Server) -> None:
    clients = [Client(server, REQUESTS // CLIENTS) for _ in range(CLIENTS)]
    for client in clients:
        client.start()

    for number in range(2, RELOADS + 2):
        before = sum(len(client.seen) for client in clients)
        store = open_store(server.settings)
        apply(store, catalog_of(number), by="test", now=utc_now())
        store.close()
        if number == RELOADS // 2 + 1:
            os.kill(_worker_of(server), signal.SIGKILL)
        share = REQUESTS // (RELOADS + 1)
        until(lambda b=before, s=share: _answered(clients) >= b + s or not _running(clients))  # type: ignore[misc]
    for client in clients:
        client.join()

    assert [error for client in clients for error in client.errors] == []
    assert _answered(clients) == REQUESTS // CLIENTS * CLIENTS
    assert len({revision for client in clients for revision in client.seen}) > RELOADS // 3
    until(lambda: _revision(server) == RELOADS + 1)


def _answered(clients: list[Client]) -> int:
    return sum(len(client.seen) + len(client.errors) for client in clients)


def _running(clients: list[Client]) -> bool:
    return any(client.is_alive() for client in clients)


def _revision(server: Server) -> int:
    return int(server.post(BULK, {"context": {}}).json()["metadata"]["revision"])


def _worker_of(server: Server) -> int:
    path = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return int(path.read_text().split()[0])


def test_a_kill_switch_reaches_every_worker(server: Server) -> None:
    store = open_store(server.settings)
    store.set_killed("f0", killed=True, by="test", now=utc_now())
    store.close()

    # Fresh connections meet both workers; from some moment on nobody serves the old value any more.
    until(lambda: all(_f0(server) == "" for _ in range(30)))


def _f0(server: Server) -> object:
    return server.post(f"{BULK}/f0", {"context": {}}).json()["value"]


def test_half_open_connections_on_one_worker_stop_nobody(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog", catalog_of(1))
    with running_server(tmp_path / "home", catalog, WEB_CONCURRENCY="1") as server, ExitStack() as stack:
        for number in range(30):
            address = ("127.0.0.1", server.port)
            connection = stack.enter_context(socket.create_connection(address, timeout=60))
            connection.sendall((b"", b"POST / HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\n")[number % 3])

        for _ in range(50):
            assert server.post(BULK, {"context": {}}).status_code == 200
            assert server.get("/readyz").status_code == 200
