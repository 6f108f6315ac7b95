"""The dispatcher alone, driven as a server would, over small real WSGI applications."""

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from service import asgi
from service.asgi import Application, ClientGoneError, path_of, read_all
from service.bridge import run_wsgi
from service.errors import ProblemError
from service.settings import SettingsError


def a_scope(
    path: str = "/x", method: str = "GET", headers: Iterable[tuple[bytes, bytes]] = ()
) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": list(headers),
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }


class Wire:
    """Both ends of one request: what the client sends, what it gets."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}]
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> Any:
        if not self.messages:
            await asyncio.sleep(3_600)
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def started(app: Any) -> Application:
    """Return a dispatcher in front of `app`, without services behind it."""
    dispatcher = Application()
    dispatcher._flask = app
    dispatcher._pool = ThreadPoolExecutor(asgi.THREADS)
    return dispatcher


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Length", environ["CONTENT_LENGTH"]), ("X-Path", environ["PATH_INFO"])])
    return [body]


def test_a_body_in_parts_is_put_together() -> None:
    wire = Wire(part(b"ab"), part(b""), part(b"cd", more=False))

    assert asyncio.run(read_all(wire.receive, 4)) == b"abcd"


def test_one_byte_too_many_is_refused_before_the_rest_is_read() -> None:
    wire = Wire(part(b"abc"), part(b"de"), part(b"f" * 100, more=False))

    with pytest.raises(ProblemError) as refused:
        asyncio.run(read_all(wire.receive, 4))

    assert refused.value.status == 413
    assert len(wire.messages) == 1


def test_a_client_that_leaves_is_not_the_end_of_a_body() -> None:
    wire = Wire(part(b"half"), {"type": "http.disconnect"})

    with pytest.raises(ClientGoneError):
        asyncio.run(read_all(wire.receive, 100))


@pytest.mark.parametrize("messages", [[], [part(b"half")]])
def test_a_body_that_does_not_come_is_a_408(
    monkeypatch: pytest.MonkeyPatch, messages: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    wire = Wire(part(b""))
    wire.messages = messages

    asyncio.run(started(echo)(a_scope(method="POST"), wire.receive, wire.send))

    assert wire.status == 408


@pytest.mark.parametrize(("rest", "closes"), [(part(b"d"), True), (part(b"d", more=False), False)])
def test_a_refusal_says_that_it_closes_when_the_body_is_left_unread(
    monkeypatch: pytest.MonkeyPatch, rest: dict[str, Any], *, closes: bool
) -> None:
    monkeypatch.setattr(asgi, "BODY_LIMIT", 3)
    wire = Wire(part(b"abc"), rest)

    asyncio.run(started(echo)(a_scope(method="POST"), wire.receive, wire.send))

    assert wire.status == 413
    assert ((b"connection", b"close") in wire.sent[0]["headers"]) is closes


def test_a_refusal_of_head_has_a_length_and_no_body() -> None:
    wire, dispatcher = Wire(), Application()

    asyncio.run(dispatcher(a_scope(method="HEAD"), wire.receive, wire.send))

    assert wire.status == 503
    assert int(dict(wire.sent[0]["headers"])[b"content-length"]) > 0
    assert wire.sent[1]["body"] == b""


def test_nobody_is_answered_when_the_client_left() -> None:
    wire = Wire({"type": "http.disconnect"})

    asyncio.run(started(echo)(a_scope(), wire.receive, wire.send))

    assert wire.sent == []


def test_flask_gets_the_whole_body_with_its_length_and_a_plain_path() -> None:
    wire = Wire(part(b"ab"), part(b"c", more=False))
    scope = a_scope("http://other.example/a/b", "POST", [(b"transfer-encoding", b"chunked")])

    asyncio.run(started(echo)(scope, wire.receive, wire.send))

    assert wire.status == 200
    assert dict(wire.sent[0]["headers"]) == {b"x-length": b"3", b"x-path": b"/a/b"}
    assert wire.sent[1]["body"] == b"abc"


def test_an_application_that_breaks_is_a_500_without_a_leak() -> None:
    def broken(*_: object) -> Iterable[bytes]:
        raise RuntimeError("the secret plan")

    wire = Wire()
    asyncio.run(started(broken)(a_scope(), wire.receive, wire.send))

    assert wire.status == 500
    assert b"secret" not in wire.sent[1]["body"]


def test_a_full_waiting_room_is_a_503_and_empties_again() -> None:
    release = threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        release.wait(60)
        return echo(environ, start_response)

    async def crowd() -> tuple[list[Wire], Wire, Wire]:
        dispatcher = started(slow)
        wires = [Wire() for _ in range(asgi.THREADS + asgi.WAITING)]
        waiting = [asyncio.create_task(dispatcher(a_scope(), w.receive, w.send)) for w in wires]
        await asyncio.sleep(0)
        refused, later = Wire(), Wire()
        await dispatcher(a_scope("/ofrep/v1/evaluate/flags/x"), refused.receive, refused.send)
        release.set()
        await asyncio.gather(*waiting)
        await dispatcher(a_scope(), later.receive, later.send)
        return wires, refused, later

    wires, refused, later = asyncio.run(crowd())

    assert refused.status == 503
    assert (b"retry-after", b"1") in refused.sent[0]["headers"]
    assert b"errorDetails" in refused.sent[1]["body"]
    assert {wire.status for wire in wires} == {200}
    assert later.status == 200


def test_a_client_that_loses_patience_keeps_its_place_until_the_work_is_done() -> None:
    release = threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        release.wait(60)
        return echo(environ, start_response)

    async def impatient() -> tuple[int, int]:
        dispatcher = started(slow)
        wire = Wire()
        task = asyncio.create_task(dispatcher(a_scope(), wire.receive, wire.send))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        held = dispatcher._room._value
        release.set()
        assert dispatcher._pool is not None
        dispatcher._pool.shutdown(wait=True)
        return held, dispatcher._room._value

    held, free = asyncio.run(impatient())

    assert free == asgi.THREADS + asgi.WAITING
    assert held == free - 1


def test_other_protocols_are_closed() -> None:
    wire = Wire()

    asyncio.run(Application()({"type": "websocket", "path": "/"}, wire.receive, wire.send))

    assert wire.sent == [{"type": "websocket.close"}]


def test_a_start_that_fails_says_why_in_one_line() -> None:
    def refuse() -> Any:
        raise SettingsError("PORT='x': expected a number")

    wire = Wire({"type": "lifespan.startup"})
    asyncio.run(Application(refuse)({"type": "lifespan"}, wire.receive, wire.send))

    assert wire.sent == [
        {"type": "lifespan.startup.failed", "message": "SettingsError: PORT='x': expected a number"}
    ]


@pytest.mark.parametrize(
    ("target", "path"),
    [("/a", "/a"), ("http://h/a", "/a"), ("http://h", "/"), ("*", "*"), ("http://[/", "/"), ("//a", "//a")],
)
def test_the_path_of_a_target(target: str, path: str) -> None:
    assert path_of(target) == path


def test_the_body_of_a_wsgi_answer_is_closed() -> None:
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("201 Created", [("A", "b")])
        write(b"1")
        return Body([b"2", b"3"])

    assert run_wsgi(app, {}) == (201, [(b"a", b"b")], b"123")
    assert closed == [True]
