"""ASGI entry point: hot routes on the event loop, everything else in Flask, in a small pool of threads.

The rules come from measurements (docs/decisions/0005-server.md): nothing here may block the loop, every body
is bounded and has a deadline, and the waiting room in front of the pool is bounded too.
"""

import asyncio
import functools
import sys
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import BytesIO
from threading import Semaphore
from typing import Any, TypeVar
from urllib.parse import urlsplit
from wsgiref.types import WSGIApplication

import orjson
from a2wsgi.wsgi import build_environ

from service.api.exchange import COUNTED
from service.app import build_services, create_app, shut_down
from service.bridge import RawHeaders, run_wsgi
from service.errors import ProblemError, too_large
from service.eventlane import EventLane
from service.hotpath import HotPath, Scope, text_headers
from service.log import logger, request_id
from service.settings import Settings, load
from service.sse import Hub, Message, Receive, Send, stream_call
from service.use_cases import cors, ofrep, request_facts
from service.use_cases.conservation import count_refused
from service.use_cases.doors_by_path import DOORS
from service.use_cases.exchange import JSON_TYPE, PRIVATE, Headers, Reply, tidy_path
from service.use_cases.fragments import error_members
from service.use_cases.services import Services

T = TypeVar("T")

THREADS = 8
WAITING = 64
HOT_LIMIT = ofrep.BODY_LIMIT
BODY_LIMIT = 1 << 20
BODY_SECONDS = 10.0

MOST_ENCODED = 1_000

# Of a body that is left unread the server cannot find the end: it closes, and says so.
CLOSE = {"Connection": "close"}
TOO_SLOW = ProblemError(
    408, "request_timeout", f"the whole body must arrive within {BODY_SECONDS:g} s", headers=CLOSE
)
BUSY = ProblemError(503, "busy", "too many requests are waiting", headers={"Retry-After": "1"})
BROKEN = ProblemError(500, "internal", "the request id names the line in our log")


class ClientGoneError(Exception):
    """The client left before its request was complete: there is nobody to answer."""


class Application:
    """The dispatcher. Wiring happens at lifespan start-up: once in each worker, after the fork."""

    def __init__(self, settings: Callable[[], Settings] = load) -> None:
        self._load_settings = settings
        self._services: Services | None = None
        self._hot: HotPath | None = None
        self._events: EventLane | None = None
        self._hub: Hub | None = None
        self._flask: WSGIApplication | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._room = Semaphore(THREADS + WAITING)
        self._ending = False
        self.is_stopping: Callable[[], bool] = lambda: False
        """Tells whether the server has been asked to end: gunicorn says so only after all streams have."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.to_thread(self._start)
        except Exception as error:  # noqa: BLE001 - told to the server, which stops with this one line
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        if self._services is not None:
            self._hub = Hub(self._services, is_stopping=self._stops)
            self._hub.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # A client that did not let go of its connection may still ask: what needs a thread is refused.
        self._ending = True
        if self._hub is not None:
            self._hub.stop()
        if self._events is not None:
            await self._events.drain()
        await asyncio.to_thread(self._stop)
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        services = build_services(self._load_settings())
        self._flask = create_app(services)
        self._pool = ThreadPoolExecutor(THREADS, "flask")
        if services.settings.hot_lane:
            self._hot = HotPath(services)
            self._events = EventLane(services, self.hire)
            # The first event would wait half a second for it.
            self._pool.submit(request_facts.parser)
        self._services = services
        services.snapshots.start()

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        if self._services is not None:
            shut_down(self._services)

    def _stops(self) -> bool:
        return self.is_stopping()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = tidy_path(path_of(scope["path"]))
        headers = text_headers(scope)
        hot = self._hot is not None and self._hot.is_mine(scope["method"], path, headers)
        limit = HOT_LIMIT if hot else BODY_LIMIT
        try:
            check_expected(headers, limit)
            body = await read_all(receive, limit)
        except ClientGoneError:
            return
        except TimeoutError:
            await self._refuse(scope, path, send, TOO_SLOW)
            return
        except ProblemError as refused:
            await self._refuse(scope, path, send, refused)
            return
        if hot and self._hot is not None:
            name = request_id(headers.get(b"x-request-id", ""))
            reply = self._hot.answer(scope, headers, path, body, name)
            if reply is not None:
                self._count(reply.status)
                await respond(send, reply, name)
                return
        if self._events is not None and scope["method"] == "POST" and path in DOORS:
            name = request_id(headers.get(b"x-request-id", ""))
            reply = await self._events.answer(path, scope, headers, body, name)
            self._count(reply.status)
            await respond(send, reply, name)
            return
        if (
            scope["method"] == "GET"
            and self._hub is not None
            and await self._stream(scope, path, receive, send)
        ):
            return
        await self._in_pool(scope, path, body, send, counted=hot)

    async def _stream(self, scope: Scope, path: str, receive: Receive, send: Send) -> bool:
        """Serve a stream; return whether the path was one."""
        if self._hub is None:
            return False
        headers = text_headers(scope)
        name = request_id(headers.get(b"x-request-id", ""))
        call = stream_call(path, scope["query_string"], headers, name)
        found = self._hub.open(call)
        if found is None:
            return False
        if isinstance(found, Reply):
            self._count(found.status)
            await respond(send, found, name)
            return True
        self._count(200)
        raw = [*encoded(found.headers), (b"x-request-id", name.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await self._hub.serve(found, call.last_event_id, receive, send)
        return True

    async def _in_pool(
        self, scope: Scope, path: str, body: bytes, send: Send, *, counted: bool = False
    ) -> None:
        try:
            work = self.hire(partial(self._run_flask, scope, path, body, counted))
        except ProblemError as refused:
            await self._refuse(scope, path, send, refused)
            return
        try:
            status, headers, out = await asyncio.wrap_future(work)
        except Exception:  # noqa: BLE001 - the client gets its 500, the log the rest
            logger().exception("request_failed_outside_flask")
            await self._refuse(scope, path, send, BROKEN)
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": out})

    def hire(self, work: Callable[[], T], /, *, admitted: bool = False) -> "Future[T]":
        """Let a thread of the pool do `work`; who was `admitted` before needs no place in the waiting room.

        Raises
        ------
        ProblemError
            503 when the waiting room is full, or the worker is about to end.
        """
        if self._pool is None:
            raise BUSY
        if admitted:
            return self._pool.submit(work)
        if self._ending or not self._room.acquire(blocking=False):
            raise BUSY
        hired = self._pool.submit(work)
        # The place is given back when the thread is done, not when the client lost patience.
        hired.add_done_callback(lambda _: self._room.release())
        return hired

    def _run_flask(
        self,
        scope: Scope,
        path: str,
        body: bytes,
        counted: bool,  # noqa: FBT001 - submitted to a thread
    ) -> tuple[int, RawHeaders, bytes]:
        wide: Any = {**scope, "path": path}
        stream: Any = BytesIO(body)
        environ: dict[str, Any] = {**build_environ(wide, stream)}
        environ["wsgi.errors"] = sys.stderr
        environ["CONTENT_LENGTH"] = str(len(body))
        environ[COUNTED] = counted
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        if self._flask is None:
            raise RuntimeError("the application has not been started")
        return run_wsgi(self._flask, environ)

    async def _refuse(self, scope: Scope, path: str, send: Send, problem: ProblemError) -> None:
        """Answer without Flask, in the form that belongs to the path."""
        headers = text_headers(scope)
        name = request_id(headers.get(b"x-request-id", ""))
        is_ofrep, key = ofrep.flag_key(path)
        if is_ofrep:
            body = orjson.dumps(error_members(key, "GENERAL", problem.detail))
            kind: Headers = JSON_TYPE
        else:
            body = orjson.dumps(problem.body(name))
            kind = (("Content-Type", "application/problem+json"),)
        if self._services is not None and scope["method"] == "POST" and path in DOORS:
            count_refused(self._services.meters, self._services.clock())
        allowed = self._services.settings.origins if self._services else ()
        told = cors.answer_headers(headers.get(b"origin", ""), allowed, host=headers.get(b"host", ""))
        self._count(problem.status)
        reply = Reply(problem.status, (*kind, *PRIVATE, *told, *problem.headers.items()), body)
        await respond(send, reply, name, without_body=scope["method"] == "HEAD")

    def _count(self, status: int) -> None:
        if self._services is not None:
            self._services.meters.count("http_requests", str(status))


def check_expected(headers: Mapping[bytes, str], limit: int) -> None:
    """Look at the length of a body whose client waits to be asked for it (``Expect: 100-continue``).

    Raises
    ------
    ProblemError
        413, before the body is sent at all.
    """
    stated = headers.get(b"content-length", "")
    if b"expect" in headers and stated.isdecimal() and int(stated) > limit:
        raise left_unread(limit)


def left_unread(limit: int) -> ProblemError:
    """Return the refusal of a body above `limit` of which more is to come."""
    problem = too_large(limit)
    problem.headers.update(CLOSE)
    return problem


async def read_all(receive: Receive, limit: int) -> bytes:
    """Return the whole body; the deadline covers its first byte too.

    Raises
    ------
    ProblemError
        413, as soon as more than `limit` bytes have come.
    TimeoutError
        If the body is not complete in time.
    ClientGoneError
        If the client left: that is never the end of a body.
    """
    begun = receive().__await__()
    try:
        waits_for = next(begun)
    except StopIteration as done:
        first: Message = done.value
    else:
        async with asyncio.timeout(BODY_SECONDS):
            return await _gather(await Resumed(begun, waits_for), receive, limit)
    if first["type"] == "http.request" and not first.get("more_body"):
        # Nearly every body comes with its head; a timer would cost more than all the rest.
        body: bytes = first.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        return body
    async with asyncio.timeout(BODY_SECONDS):
        return await _gather(first, receive, limit)


async def _gather(message: Message, receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise left_unread(limit) if message.get("more_body") else too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
        message = await receive()


class Resumed:
    """Awaits what was begun by hand and turned out to wait for something."""

    def __init__(self, begun: Generator[Any, Any, Message], waits_for: object) -> None:
        self._begun = begun
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Message]:
        """Go on: hand the waiting up, and what comes back down, a cancellation too."""
        waits_for = self._waits_for
        while True:
            try:
                try:
                    sent = yield waits_for
                except BaseException as error:  # noqa: BLE001 - handed down as it is
                    waits_for = self._begun.throw(error)
                else:
                    waits_for = self._begun.send(sent)
            except StopIteration as done:
                message: Message = done.value
                return message


def path_of(target: str) -> str:
    """Return the path; ASGI passes an absolute-form target (``GET http://host/path``) through as it came."""
    if target.startswith("/"):
        return target
    try:
        return urlsplit(target).path or "/"
    except ValueError:
        return "/"


async def respond(send: Send, reply: Reply, name: str, *, without_body: bool = False) -> None:
    """Send a reply whole, with its request id; to HEAD `without_body`, of which the length is told."""
    headers = [*encoded(reply.headers), (b"x-request-id", name.encode("latin-1"))]
    if reply.etag:
        headers.append((b"etag", reply.etag.encode("latin-1")))
    if reply.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if without_body else reply.body})


@functools.lru_cache(maxsize=MOST_ENCODED)
def encoded(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """Return headers as the server wants them; equal ones, errors' too, are encoded once."""
    return tuple((key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers)


application = Application()
