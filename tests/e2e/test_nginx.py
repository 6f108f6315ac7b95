"""deploy/nginx.conf, run by a real nginx before a real server: what it holds off, what it lets through."""

import os
import signal
import socket
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from service.storage.sql import open_store
from tests.nginx import behind_nginx
from tests.raw import exchange, post_head
from tests.server import Server, free_port, running_server, until, write_catalog

BULK = "/ofrep/v1/evaluate/flags"
VISITOR = {"context": {"targetingKey": "3f0c1c6e-6a0e-4a57-9d5f-2d0f4f0a7f11"}}

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("nginx")
    with running_server(home / "home", write_catalog(home / "catalog")) as running:
        yield running


@pytest.fixture(scope="module")
def proxied(direct: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with behind_nginx(direct, tmp_path_factory.mktemp("proxy") / "nginx") as server:
        yield server


def connections_of(server: Server) -> int:
    """Count the connections that the server's workers hold."""
    port = f":{server.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)


def test_an_answer_is_the_same_with_and_without_the_proxy(direct: Server, proxied: Server) -> None:
    with_it, without = proxied.post(BULK, VISITOR), direct.post(BULK, VISITOR)

    assert with_it.status_code == 200
    assert with_it.content == without.content
    assert with_it.headers["ETag"] == without.headers["ETag"]
    again = proxied.post(BULK, VISITOR, headers={"If-None-Match": with_it.headers["ETag"]})
    assert again.status_code == 304


def test_slow_headers_and_half_sent_bodies_do_not_reach_the_server(direct: Server, proxied: Server) -> None:
    with ExitStack() as opened:
        for n in range(100):
            half = opened.enter_context(socket.create_connection(("127.0.0.1", proxied.port)))
            head = post_head(proxied, BULK, "Content-Length: 1000")
            half.sendall(head[:60] if n % 2 else head + b'{"context"')

        assert proxied.post(BULK, VISITOR).status_code == 200
        # Of the hundred none: only connections that nginx keeps for requests that were whole.
        assert connections_of(direct) <= 8


def test_a_client_that_never_ends_its_headers_is_sent_away(direct: Server, tmp_path: Path) -> None:
    quick = {"client_header_timeout 10s": "client_header_timeout 1s"}
    with (
        behind_nginx(direct, tmp_path / "nginx", **quick) as proxied,
        socket.create_connection(("127.0.0.1", proxied.port), timeout=60) as slow,
    ):
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")

        with suppress(ConnectionResetError):
            assert slow.recv(100) == b""


def test_a_body_above_the_limit_is_refused_in_our_words_before_it_is_read(proxied: Server) -> None:
    status, answer = exchange(proxied, post_head(proxied, "/v1/events", f"Content-Length: {(1 << 20) + 1}"))

    assert status == 413
    assert b'"code":"too_large"' in answer
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "//metrics", "/metrics/", "/metrics//", "/%6detrics"),
        *("/readyz", "//readyz", "/readyz/", "/x/../readyz"),
    ],
)
def test_the_inside_stays_inside(direct: Server, proxied: Server, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n".encode()

    assert exchange(proxied, request)[0] == 404
    assert direct.get("/metrics").status_code == direct.get("/readyz").status_code == 200


def test_event_streams_flow_through_at_once(direct: Server, proxied: Server) -> None:
    advertised = proxied.post(BULK, VISITOR).json()["eventStreams"][0]
    address = proxied.base_url + advertised["endpoint"]["requestUri"]
    with requests.get(address, stream=True, timeout=60) as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines(chunk_size=1)
        assert next(lines).startswith(b"retry:")
        direct.post("/v1/flags/dark-mode/kill", {}, key=direct.admin_key).raise_for_status()

        assert any(b"refetchEvaluation" in line for line in lines)


def test_too_many_requests_of_one_address_get_a_429_that_a_page_can_read(
    direct: Server, tmp_path: Path
) -> None:
    few = {"rate=100r/s": "rate=1r/s", "burst=200": "burst=3"}
    with behind_nginx(direct, tmp_path / "nginx", **few) as proxied:
        answers = [proxied.post(BULK, VISITOR, headers={"Origin": "http://localhost"}) for _ in range(8)]
        elsewhere = proxied.post("/v1/events", {"events": []})

    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Access-Control-Allow-Origin"] == "http://localhost"
    assert refused.json()["errorCode"] == "GENERAL"
    assert "Retry-After" in refused.json()["errorDetails"]
    assert elsewhere.status_code == 429
    assert elsewhere.json()["code"] == "too_many_requests"
    assert answers[0].status_code == 200


def test_the_log_has_neither_keys_nor_tokens(direct: Server, tmp_path: Path) -> None:
    with behind_nginx(direct, tmp_path / "nginx") as logged:
        requests.post(f"{logged.base_url}/v1/events?client_key={logged.client_key}", json={}, timeout=30)
        until(lambda: "/v1/events" in (tmp_path / "nginx" / "access.log").read_text())

    assert direct.client_key not in (tmp_path / "nginx" / "access.log").read_text()


def test_a_server_that_is_away_is_a_503_that_a_page_can_read(direct: Server, tmp_path: Path) -> None:
    away = {f"server 127.0.0.1:{direct.port};": f"server 127.0.0.1:{free_port()};"}
    with behind_nginx(direct, tmp_path / "nginx", **away) as proxied:
        evaluated = proxied.post(BULK, VISITOR, headers={"Origin": "http://localhost"})
        sent = proxied.post("/v1/events", {"events": []}, headers={"Origin": "http://localhost"})

    for answer in (evaluated, sent):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost"
    assert sent.json()["code"] == "busy"
    assert evaluated.json()["errorCode"] == "GENERAL"
    assert evaluated.headers["Content-Type"] == "application/json"


class Breaker:
    """A server that breaks every connection as soon as a request has come, and remembers the requests."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.seen: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    self.seen.append(connection.recv(65_536).decode("latin-1").split(" HTTP/")[0])


@pytest.fixture(scope="module")
def broken(
    direct: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Breaker, Path]]:
    breaker = Breaker()
    folder = tmp_path_factory.mktemp("broken") / "nginx"
    to_it = {f"server 127.0.0.1:{direct.port};": f"server 127.0.0.1:{breaker.port};"}
    with breaker.listener, behind_nginx(direct, folder, **to_it) as proxied:
        yield proxied, breaker, folder


@pytest.mark.parametrize(
    ("method", "path", "times"),
    [
        ("POST", BULK, 2),
        ("POST", "/api/eval/ck_1", 2),
        ("POST", "/v1/events", 2),
        ("POST", "/v1/events/", 2),
        ("GET", "/v1/experiments", 2),
        ("GET", "/api/features/ck_1", 2),
        ("POST", "/track", 1),
        ("POST", "/v1/catalog", 1),
        ("POST", "/v1/recommendations", 1),
        ("POST", "/v1/flags/dark-mode/kill", 1),
        ("DELETE", "/v1/people", 1),
    ],
)
def test_only_what_may_be_done_twice_is_sent_twice(
    broken: tuple[Server, Breaker, Path], method: str, path: str, times: int
) -> None:
    proxied, breaker, _ = broken
    breaker.seen.clear()

    answer = requests.request(method, proxied.base_url + path, json=[], timeout=30)

    assert breaker.seen == [f"{method} {path}"] * times
    assert answer.status_code == (503 if times == 2 else 502)
    assert times == 2 or answer.json()["code"] == "no_answer"


def test_no_log_holds_a_key_or_a_token_when_the_server_breaks(broken: tuple[Server, Breaker, Path]) -> None:
    proxied, _, folder = broken
    secret = "ck_" + "5" * 32
    paths = (f"/sub/{secret}", f"/api/features/{secret}", f"//api//eval/{secret}/", f"/v1/x?token={secret}")
    for path in paths:
        requests.get(proxied.base_url + path, timeout=30)
    until(lambda: "GET /v1/x" in (folder / "access.log").read_text())

    logs = [log.read_text() for log in folder.glob("*.log")]
    assert "GET /sub/-" in "".join(logs)
    assert not any(secret in log for log in logs)


def workers_of(server: Server) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(server.process.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


class Customers:
    """Threads that evaluate and send events on kept connections until they are told to stop."""

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.statuses: Counter[str] = Counter()
        self.events: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._shop) for _ in range(number)]

    def __enter__(self) -> "Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _shop(self) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self.server.client_key}"
            while not self._over.wait(0.05):
                self._send(session, BULK, VISITOR, 200)
                event = an_event()
                self._send(session, "/v1/events", {"events": [event]}, 202)
                self.events.append(event["event_id"])

    def _send(self, session: requests.Session, path: str, body: Any, wanted: int) -> None:
        try:
            answer = session.post(self.server.base_url + path, json=body, timeout=60)
        except requests.RequestException as error:
            self.statuses[f"{path}: {error}"] += 1
        else:
            self.statuses["ok" if answer.status_code == wanted else f"{path}: {answer.status_code}"] += 1


def an_event() -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "type": "Product Viewed",
        "anonymous_id": "3f0c1c6e-6a0e-4a57-9d5f-2d0f4f0a7f11",
        "occurred_at": datetime.now(UTC).isoformat(),
        "properties": {},
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_no_client_sees_an_error_while_workers_come_and_go(
    direct: Server, tmp_path: Path, number: signal.Signals
) -> None:
    unlimited = {"rate=100r/s": "rate=10000r/s"}
    with behind_nginx(direct, tmp_path / "nginx", **unlimited) as proxied, Customers(proxied, 6) as customers:
        for _ in range(3):
            sent = customers.statuses.total()
            until(lambda sent=sent: customers.statuses.total() > sent + 100)  # type: ignore[misc]
            before = workers_of(direct)
            os.kill(before[0], number)
            until(lambda before=before: len(set(workers_of(direct)) - set(before)) == 1)  # type: ignore[misc]
    store = open_store(direct.settings)
    stored = Counter(logged.received.event.event_id for logged in store.read(0, 100_000))
    store.close()

    assert set(customers.statuses) == {"ok"}, customers.statuses
    assert all(stored[event_id] == 1 for event_id in customers.events)
