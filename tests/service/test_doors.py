"""One application behind three doors, which must not differ, and the ugly clients at them."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.raw import exchange, post_head, read_answer
from tests.server import AS_USUAL, Server, Start, new_keys, running_server, write_catalog
from tests.service.test_server import BULK, an_event

pytestmark = pytest.mark.e2e

GTHREAD = Start(command=("-k", "gthread", "--threads", "8", "service.wsgi:application"))
OWN_TO_EACH = {"date", "server", "connection", "keep-alive"}


# --- one application, three doors


PORT_80 = {"Host": "shop.test:80", "Origin": "http://shop.test"}
REQUESTS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("POST", BULK, b'{"context": {"targetingKey": "u-1", "country": "ES", "user_id": "m"}}', {}),
    ("POST", BULK, b'{"context": {}}', {"Origin": "http://localhost:1"}),
    ("POST", BULK, b'{"context": {}}', {"Origin": "http://evil.example"}),
    ("POST", BULK, b"{", {}),
    ("POST", BULK, b"{}", {"Authorization": "Bearer ck_wrong"}),
    ("POST", f"/{BULK}/", b"{}", {}),
    ("POST", f"{BULK}/button", b'{"context": {"targetingKey": "u-1"}}', {}),
    ("POST", f"{BULK}/button", b"{}", {}),
    ("POST", f"{BULK}/a/b", b"{}", {}),
    ("POST", f"{BULK}/caf%C3%A9", b"{}", {}),
    ("POST", f"{BULK}/%ff", b"{}", {}),
    ("POST", BULK, b'{"context": {"a": "' + b"x" * 70_000 + b'"}}', {}),
    ("POST", f"{BULK}?flagConfigEtag=0.0", b'{"context": {}}', {}),
    ("POST", f"{BULK}?flagConfigLastModified=99999999999", b'{"context": {}}', {"If-None-Match": "*"}),
    ("POST", f"{BULK}?flagConfigLastModified=1", b'{"context": {}}', {"If-None-Match": "*"}),
    ("POST", f"{BULK}/button?flagConfigEtag=9999999.0", b'{"context": {"targetingKey": "u-1"}}', {}),
    ("POST", f"{BULK}/dark-mode", b'{"context": {"targetingKey": "\xc3\xa9\xf0\x9f\x8d\xb5"}}', {}),
    ("POST", f"{BULK}/price", b'{"context": {"targetingKey": "qa-maria"}}', {}),
    ("POST", BULK, b'{"context": {"preview": "forged.token"}}', {}),
    ("POST", f"{BULK}/dark-mode", b"{}", {"Cookie": "opportune_preview=forged.token"}),
    ("POST", BULK, b"{}", {"X-Opportune-Preview": "forged.token", "User-Agent": "curl/8.5"}),
    ("GET", "/ofrep/v1/streams?token=forged", b"", {}),
    ("GET", "/api/features/CLIENT_KEY", b"", {"Origin": "http://localhost:1"}),
    ("GET", "//api/features/CLIENT_KEY/", b"", {"If-None-Match": "*"}),
    ("GET", "/api/features/ck_wrong", b"", {}),
    ("HEAD", "/api/features/CLIENT_KEY", b"", {}),
    ("POST", "/api/eval/CLIENT_KEY", b'{"attributes": {"anonymous_id": "u-1", "country": "ES"}}', {}),
    ("POST", "/api/eval/CLIENT_KEY", b'{"attributes": 3}', {}),
    ("POST", "/api/eval/CLIENT_KEY", b"{", {}),
    ("GET", "/sub/ck_wrong", b"", {}),
    ("POST", "/ofrep/v1/streams", b"", {}),
    ("GET", BULK, b"", {}),
    ("OPTIONS", BULK, b"", {"Origin": "http://localhost:1", "Access-Control-Request-Method": "POST"}),
    ("OPTIONS", "/v1/events", b"", {"Origin": "http://localhost:1", "Access-Control-Request-Method": "POST"}),
    ("OPTIONS", BULK, b"", {}),
    ("OPTIONS", BULK, b"", {"Origin": "http://localhost:1", "Access-Control-Request-Method": "DELETE"}),
    ("OPTIONS", BULK, b"", {"Origin": "http://localhost:1", "Access-Control-Request-Method": "GET"}),
    ("OPTIONS", BULK, b"", {"Origin": "http://localhost:1", "Access-Control-Request-Method": ""}),
    ("OPTIONS", BULK, b"", {**PORT_80, "Access-Control-Request-Method": "POST"}),
    ("POST", BULK, b'{"context": {}}', PORT_80),
    ("POST", "/track", b"[]", PORT_80),
    ("POST", BULK, b'{"context": {}}', {"Content-Encoding": "gzip"}),
    ("POST", BULK, b'{"context": {}}', {"Content-Encoding": "IDENTITY"}),
    ("POST", "/api/eval/CLIENT_KEY", b"{}", {"Content-Encoding": "gzip"}),
    ("POST", f"{BULK}/dark-mode%0a", b"{}", {}),
    ("POST", f"{BULK}/dark%0amode", b"{}", {}),
    ("GET", "//ofrep/v1//streams/?token=forged", b"", {}),
    ("GET", "/sub/a/b", b"", {}),
    ("GET", "//healthz/", b"", {}),
    ("POST", "/v1/events", b"[", {}),
    ("POST", "/v1/events", b'{"events": [NaN, {"event_id": "e"}, "\\ud800"]}', {}),
    ("POST", "/v1/events", b'{"events": [{"event_id": "e", "type": 7}]}', PORT_80),
    ("POST", "/v1/events", b'{"events": [{}]}', {"Origin": "http://evil.example"}),
    ("POST", "/v1/events", b'{"events": [{}]}', {"Authorization": "Bearer ck_wrong"}),
    ("POST", "/v1/events", b'{"events": [{}], "sent": 1}', {}),
    ("POST", "/v1/events", b'{"events": []}', {"Content-Encoding": "gzip"}),
    ("POST", "/v1/events", b'{"events": []}', {"Content-Encoding": "br"}),
    ("POST", "/v1/events", b'{"events": []}', {"Content-Type": "text/html"}),
    ("POST", "//v1/events/", b'{"events": [{}]}', {"Content-Type": "text/plain"}),
    (
        "POST",
        "/track?client_key=CLIENT_KEY",
        b'[{"event_name": "Feature Evaluated"}, NaN]',
        {"Authorization": ""},
    ),
    ("POST", "/v1/track", b'{"event": 7, "messageId": "m"}', {}),
    ("POST", "/v1/batch", b'{"batch": [{"type": "odd"}, NaN]}', {}),
    ("GET", "/v1/events", b"", {}),
    ("POST", "/v1/events", b'{"events": [' + b" " * (1 << 20) + b"]}", {}),
    ("GET", "/healthz", b"", {}),
    ("HEAD", "/healthz", b"", {}),
    ("GET", "/openapi.json", b"", {}),
    ("GET", "/docs", b"", {}),
    ("GET", "/nothing", b"", {}),
]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Give the same service behind the hot lane, behind the dispatcher alone, and behind gthread."""
    root = tmp_path_factory.mktemp("doors")
    catalog = write_catalog(root / "catalog")
    keys = new_keys()
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(running_server(root / name, catalog, how, **keys, **env))
            for name, how, env in (
                ("hot", AS_USUAL, {}),
                ("flask", AS_USUAL, {"OPPORTUNE_HOT_LANE": "0"}),
                ("wsgi", GTHREAD, {}),
            )
        }


@pytest.mark.parametrize(("method", "path", "body", "headers"), REQUESTS)
def test_every_door_gives_the_same_bytes(
    doors: dict[str, Server], method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    seen = {}
    for name, server in doors.items():
        sent = {
            "Authorization": f"Bearer {server.client_key}",
            "Content-Type": "application/json",
            "X-Request-Id": "the-same-id",
            **headers,
        }
        url = server.base_url + path.replace("CLIENT_KEY", server.client_key)
        answer = requests.request(method, url, data=body, headers=sent, timeout=30)
        told = {k.lower(): v for k, v in answer.headers.items() if k.lower() not in OWN_TO_EACH}
        seen[name] = (answer.status_code, answer.content, told)

    assert seen["hot"] == seen["flask"]
    assert seen["flask"] == seen["wsgi"]


@pytest.mark.parametrize("path", ["/api/features/ck_wrong", "/sub/ck_wrong", "/ofrep/v1/streams", "/nothing"])
def test_every_problem_names_its_request(doors: dict[str, Server], path: str) -> None:
    for server in doors.values():
        answer = server.get(path)

        assert answer.json()["instance"] == f"urn:opportune:request:{answer.headers['X-Request-Id']}"


def test_a_body_that_is_too_large_is_not_asked_for(doors: dict[str, Server]) -> None:
    for path, size in ((BULK, 70_000), ("/v1/events", 2_000_000)):
        head = post_head(doors["hot"], path, f"Content-Length: {size}", "Expect: 100-continue")
        status, answer = exchange(doors["hot"], head)

        assert status == 413
        assert b"connection: close" in answer.lower()


def test_every_door_stores_an_exposure_and_an_event(doors: dict[str, Server]) -> None:
    for server in doors.values():
        exposed = server.post(f"{BULK}/button", {"context": {"targetingKey": "u-9"}, "expose": True})
        stored = server.post("/v1/events", {"events": [an_event()]})

        assert exposed.json()["metadata"]["exposure"] == "accepted"
        assert stored.status_code == 202


# --- ugly clients


def test_half_open_requests_stop_nobody_and_are_ended_by_the_deadline(doors: dict[str, Server]) -> None:
    server = doors["hot"]
    heads = [post_head(server, path, "Content-Length: 1000") + b"{" for path in (BULK, "/v1/events")]
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            for _ in range(60)
        ]
        for i, connection in enumerate(silent):
            connection.sendall(heads[i % 2])

        for _ in range(20):
            assert server.post(BULK, {"context": {}}).status_code == 200
            assert server.post("/v1/events", {"events": [an_event()]}).status_code == 202

        assert {read_answer(connection)[0] for connection in silent} == {408}


def test_pipelined_requests_are_all_answered(doors: dict[str, Server]) -> None:
    server = doors["hot"]
    body = b'{"context": {}}'
    one = post_head(server, f"{BULK}/dark-mode", f"Content-Length: {len(body)}") + body
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(one * 4)
        data = b""
        while data.count(b'"key":"dark-mode"') < 4:
            received = connection.recv(65_536)
            assert received
            data += received

    assert data.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 150 + b"\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_and_never_a_500(
    doors: dict[str, Server], request_bytes: bytes
) -> None:
    server = doors["hot"]
    status, _ = exchange(server, request_bytes)

    assert status == 0 or 400 <= status < 500
    assert server.get("/healthz").status_code == 200
