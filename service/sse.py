"""Event streams on the event loop: one hub a worker, which notices changes and ends its streams cleanly."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from service.log import logger
from service.use_cases import growthbook, streams
from service.use_cases.exchange import Reply
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot
from service.use_cases.streams import Mark, Opened, Opener, StreamCall

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

OPENERS: tuple[Opener, ...] = (streams.open_ofrep, growthbook.open_features)
"""Asked one after the other whose path it is."""

MOST_STREAMS = 1_000
TICK_S = 0.5
HEARTBEAT_S = 25.0
SEND_S = 20.0
FULL_RETRY_S = 10
# Clients of a worker that ends come back spread over three seconds, not at once.
RETRY_MS, RETRY_SPREAD_MS, RETRY_STEP_MS = 2_000, 3_000, 977

HEARTBEAT = b":\n\n"


class Hub:
    """The open streams of one worker; everything in it happens on the event loop."""

    def __init__(self, services: Services, *, is_stopping: Callable[[], bool]) -> None:
        self._services = services
        self._is_stopping = is_stopping
        self._mark = self._now_served()
        self._made_for = self._mark
        self._made: dict[Callable[[ServingSnapshot, Mark], bytes], bytes] = {}
        self._keys = services.snapshots.current.keys
        self._wakers: set[asyncio.Event] = set()
        self._opened = 0
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for changes from now on."""
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    def stop(self) -> None:
        """Stop looking."""
        if self._ticker is not None:
            self._ticker.cancel()

    def open(self, call: StreamCall) -> Opened | Reply | None:
        """Return the stream that is asked for, why it is refused, or None for a path of nobody."""
        now = self._services.clock()
        for opener in OPENERS:
            found = opener(self._services, call, now)
            if isinstance(found, Opened) and len(self._wakers) >= MOST_STREAMS:
                detail = "this worker has too many open streams"
                return streams.refusal(self._services, call, 503, "busy", detail, retry_s=FULL_RETRY_S)
            if found is not None:
                return found
        return None

    async def serve(self, opened: Opened, last_event_id: str, receive: Receive, send: Send) -> None:
        """Send what there is to tell until the client leaves, the worker stops or the key ends."""
        woken = asyncio.Event()
        gone = asyncio.ensure_future(receive())
        gone.add_done_callback(lambda _: woken.set())
        self._wakers.add(woken)
        self._opened += 1
        retry_ms = RETRY_MS + self._opened * RETRY_STEP_MS % RETRY_SPREAD_MS
        try:
            told = self._mark
            await _send(send, self._first(opened, told, last_event_id, retry_ms))
            while not gone.done() and self._may_go_on(opened):
                told = await self._next(opened, told, woken, send)
            if not gone.done():
                await _send(send, b"", more=False)
        except TimeoutError:
            # The client takes nothing any more. Returning in the middle ends the stream; what was written
            # already the kernel keeps for the client, until TCP_USER_TIMEOUT (gunicorn_conf.py) cuts it off.
            pass
        finally:
            self._wakers.discard(woken)
            gone.cancel()

    def _first(self, opened: Opened, mark: Mark, last_event_id: str, retry_ms: int) -> bytes:
        first = streams.opening(mark, retry_ms=retry_ms)
        if streams.should_tell(mark, last_event_id, self._services.clock()):
            first += self._message(opened, mark)
        return first

    def _message(self, opened: Opened, mark: Mark) -> bytes:
        """Return what is told of a mark, made once for all streams of a kind."""
        if mark is not self._made_for:
            self._made_for = mark
            self._made.clear()
        made = self._made.get(opened.message)
        if made is None:
            made = self._made[opened.message] = opened.message(self._services.snapshots.current, mark)
        return made

    async def _next(self, opened: Opened, told: Mark, woken: asyncio.Event, send: Send) -> Mark:
        """Wait for a change or a heartbeat, send what is due, return what the client knows now."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await woken.wait()
        except TimeoutError:
            await _send(send, HEARTBEAT)
            return told
        woken.clear()
        mark = self._mark
        if mark.event_id != told.event_id and self._may_go_on(opened):
            await _send(send, self._message(opened, mark))
        return mark

    def _may_go_on(self, opened: Opened) -> bool:
        return not self._is_stopping() and opened.key_digest in self._services.snapshots.current.keys

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self._look()
            except Exception:  # noqa: BLE001 - the next look may be better, and nobody else would look
                logger().exception("stream_tick_failed")

    def _look(self) -> None:
        mark = self._now_served()
        keys = self._services.snapshots.current.keys
        if mark.event_id != self._mark.event_id:
            self._mark = mark
        elif keys is self._keys and not self._is_stopping():
            return
        self._keys = keys
        for woken in tuple(self._wakers):
            woken.set()

    def _now_served(self) -> Mark:
        now = self._services.clock()
        return Mark(streams.event_id(self._services.snapshots.current, now), now)


def stream_call(path: str, query: bytes, headers: Mapping[bytes, str], name: str) -> StreamCall:
    """Return a request for a stream, as the pure parts see it."""
    get = headers.get
    return StreamCall(
        path=path,
        query=query.decode("latin-1"),
        last_event_id=get(b"last-event-id", ""),
        origin=get(b"origin", ""),
        host=get(b"host", ""),
        authorization=get(b"authorization", ""),
        x_api_key=get(b"x-api-key", ""),
        request_id=name,
    )


async def _send(send: Send, part: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(SEND_S):
        await send({"type": "http.response.body", "body": part, "more_body": more})
