"""The event lane: front doors of events on the event loop, with no thread held while the commit is pending.

Reading and judging take a thread of the pool for a moment; the fsync, which is most of the time, takes none.
So as many requests wait for one commit as there is room for, and share it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol, TypeVar

from service.errors import ProblemError
from service.hotpath import Scope
from service.log import bind_request
from service.storage.records import AppendStatus
from service.use_cases.conservation import count_refused
from service.use_cases.doors import PATIENCE_S, Door, Waiting, begin, failure, out_of_patience
from service.use_cases.doors_by_path import DOORS
from service.use_cases.exchange import Call, Reply
from service.use_cases.problems import BUSY
from service.use_cases.services import Services

MOST_BYTES = 16 << 20
"""How much of bodies, unzipped, may wait for the store in one worker; read, they take several times as much.

With more, clients are told to come back.
"""
FEW = 50
"""So few results are written on the loop; more would hold it up."""

T = TypeVar("T")


class Hire(Protocol):
    """Lets a thread of the dispatcher's pool do something."""

    def __call__(self, work: Callable[[], T], /, *, admitted: bool = False) -> "Future[T]":
        """Return its future; ProblemError when too much is waiting, unless the request was `admitted`."""
        ...


class EventLane:
    """The doors of one worker; all but the work in the pool happens on the event loop."""

    def __init__(self, services: Services, hire: Hire) -> None:
        self._services = services
        self._hire = hire
        self._bytes = 0
        self._open: set[asyncio.Task[Reply]] = set()

    async def answer(
        self, path: str, scope: Scope, headers: Mapping[bytes, str], body: bytes, name: str
    ) -> Reply:
        """Answer a POST to a tidy `path` of `DOORS`.

        What was begun is finished and counted even if the client leaves. `headers` are `text_headers`,
        `name` is the request's id.
        """
        call = call_of(scope, headers, body, name)
        task = asyncio.get_running_loop().create_task(self._serve(DOORS[path], call))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait until all that was begun is answered."""
        if self._open:
            await asyncio.wait(self._open)

    async def _serve(self, door: Door, call: Call) -> Reply:
        bind_request(call.request_id)
        size = len(call.body)
        if self._bytes and self._bytes + size > MOST_BYTES:
            return self._turned_away(call, BUSY)
        self._bytes += size
        try:
            begun = await asyncio.wrap_future(self._hire(partial(_begin, self._services, call, door)))
            if isinstance(begun, Reply):
                return begun
            self._bytes += begun.size - size
            size = begun.size
            return await self._finish(begun)
        except ProblemError as refused:
            return self._turned_away(call, refused)
        finally:
            self._bytes -= size

    async def _finish(self, waiting: Waiting) -> Reply:
        commit = asyncio.wrap_future(waiting.future)
        done, _ = await asyncio.wait({commit}, timeout=PATIENCE_S)
        if not done:
            commit.add_done_callback(_look_at)
            return waiting.failed(out_of_patience())
        error = commit.exception()
        if error is not None:
            return waiting.failed(error)
        statuses = commit.result()
        if len(statuses) <= FEW and not waiting.needs_store(statuses):
            return waiting.finish(statuses)
        return await asyncio.wrap_future(self._hire(partial(waiting.finish, statuses), admitted=True))

    def _turned_away(self, call: Call, problem: ProblemError) -> Reply:
        count_refused(self._services.meters, self._services.clock())
        return failure(self._services, call, problem)


def call_of(scope: Scope, headers: Mapping[bytes, str], body: bytes, name: str) -> Call:
    """Return the request as the doors see it."""
    get = headers.get
    return Call(
        key=None,
        body=body,
        query=str(scope["query_string"], "latin-1"),
        authorization=get(b"authorization", ""),
        x_api_key=get(b"x-api-key", ""),
        origin=get(b"origin", ""),
        host=get(b"host", ""),
        user_agent=get(b"user-agent", ""),
        person_token=get(b"x-person-token", ""),
        request_id=name,
        content_type=get(b"content-type", ""),
        content_encoding=get(b"content-encoding", ""),
        sec_gpc=get(b"sec-gpc", ""),
        dnt=get(b"dnt", ""),
    )


def _begin(services: Services, call: Call, door: Door) -> Reply | Waiting:
    bind_request(call.request_id)
    return begin(services, call, door)


def _look_at(commit: "asyncio.Future[Sequence[AppendStatus]]") -> None:
    """Take notice of an outcome that comes too late, so that asyncio does not complain of an unseen error."""
    if not commit.cancelled():
        commit.exception()
