"""The event lane in the dispatcher: no thread waits for a commit; what was begun is finished and counted."""

import asyncio
import gzip
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from service import eventlane
from service.asgi import THREADS, WAITING, Application
from service.settings import Settings, load
from service.storage.migrate import migrate
from service.storage.sql import SqlStore, open_store
from service.use_cases import doors
from service.use_cases.access import keep_environment_keys
from service.use_cases.services import Services
from tests.server import new_keys, until
from tests.service.test_asgi import Wire, a_scope, part

MORE_THAN_THREADS = THREADS + WAITING + 20


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    """Give the settings of a migrated home."""
    found = load({"OPPORTUNE_HOME": str(tmp_path), **new_keys()})
    migrate(found.database_url)
    store = open_store(found)
    keep_environment_keys(store, found, now=datetime.now(UTC))
    store.close()
    return found


class Lane:
    """A started dispatcher and what is sent to it."""

    def __init__(self, application: Application, settings: Settings) -> None:
        self.application = application
        self.key = settings.client_key
        self.services: Services = application._services  # type: ignore[assignment]

    async def post(self, body: bytes, *headers: tuple[bytes, bytes], path: str = "/v1/events") -> Wire:
        wire = Wire(part(body, more=False))
        bearer = (b"authorization", b"Bearer " + self.key.encode())
        await self.application(a_scope(path, "POST", (bearer, *headers)), wire.receive, wire.send)
        return wire

    def counted(self) -> dict[str, int]:
        totals = self.services.meters.totals()
        found = {status: n for (name, status), n in totals.items() if name == "events"}
        return {"received": totals["events_received", ""], **found}


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[Lane]:
    application = Application(lambda: settings)
    stop = asyncio.Event()
    up = asyncio.Event()
    told: list[str] = []

    async def receive() -> dict[str, Any]:
        if not told:
            told.append("begun")
            return {"type": "lifespan.startup"}
        await stop.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        told.append(message["type"])
        up.set()

    life = asyncio.create_task(application({"type": "lifespan"}, receive, send))
    await up.wait()
    assert told[-1] == "lifespan.startup.complete"
    try:
        yield Lane(application, settings)
    finally:
        stop.set()
        await life


@contextmanager
def nobody_writes(settings: Settings) -> Iterator[threading.Event]:
    """Hold the writer's turn until the event is set, as another process may."""
    other: SqlStore = open_store(settings)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with other.writing():
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        yield release
    finally:
        release.set()
        holder.join()
        other.close()


def a_batch(n: int = 1, **changes: Any) -> bytes:
    return orjson.dumps({"events": [an_event(**changes) for _ in range(n)]})


def an_event(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "type": "Product Viewed",
        "anonymous_id": "a1",
        "occurred_at": datetime.now(UTC).isoformat(),
        **changes,
    }


async def many_pending(lane: Lane, n: int) -> list[asyncio.Task[Wire]]:
    """Send `n` requests, each as soon as the one before is in the store's hands."""
    sent: list[asyncio.Task[Wire]] = []
    for _ in range(n):
        sent.append(asyncio.create_task(lane.post(a_batch())))
        await asyncio.to_thread(until, lambda: lane.counted()["received"] == len(sent))
    return sent


def test_more_requests_wait_for_a_commit_than_there_are_threads(chosen: Settings) -> None:
    async def run() -> None:
        async with started(chosen) as lane:
            with nobody_writes(chosen) as release:
                sent = await many_pending(lane, MORE_THAN_THREADS)
                ready = Wire()
                await lane.application(a_scope("/readyz"), ready.receive, ready.send)
                assert ready.sent
                assert not any(task.done() for task in sent)
                release.set()
                answers = await asyncio.gather(*sent)
            assert {wire.status for wire in answers} == {202}
            assert lane.counted() == {"received": MORE_THAN_THREADS, "accepted": MORE_THAN_THREADS}
            assert lane.services.store.last_seq() == MORE_THAN_THREADS

    asyncio.run(run())


def test_what_a_client_that_left_had_sent_is_stored_and_counted(chosen: Settings) -> None:
    async def run() -> None:
        async with started(chosen) as lane:
            with nobody_writes(chosen) as release:
                (sent,) = await many_pending(lane, 1)
                sent.cancel()
                await asyncio.wait({sent})
                release.set()
            await asyncio.to_thread(until, lambda: "accepted" in lane.counted())
            assert lane.counted() == {"received": 1, "accepted": 1}

    asyncio.run(run())


def test_a_stop_waits_for_what_was_begun(chosen: Settings) -> None:
    async def run() -> Lane:
        async with started(chosen) as lane:
            with nobody_writes(chosen) as release:
                (sent,) = await many_pending(lane, 1)
                sent.cancel()
                release.set()
        return lane

    lane = asyncio.run(run())

    assert lane.counted() == {"received": 1, "accepted": 1}


def test_a_commit_that_takes_too_long_is_a_503_and_counted_once(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlane, "PATIENCE_S", 0.05)

    async def run() -> None:
        async with started(chosen) as lane:
            with nobody_writes(chosen):
                wire = await lane.post(a_batch(3))
                assert wire.status == 503
                assert dict(wire.sent[0]["headers"])[b"retry-after"] == b"1"
            await asyncio.to_thread(until, lambda: lane.services.store.last_seq() == 3)
            assert lane.counted() == {"received": 3, "refused": 3}

    asyncio.run(run())


def test_bodies_beyond_the_room_are_told_to_come_back(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlane, "MOST_BYTES", 400)

    async def run() -> None:
        async with started(chosen) as lane:
            with nobody_writes(chosen) as release:
                sent = await many_pending(lane, 2)
                turned_away = await lane.post(a_batch())
                release.set()
                answers = await asyncio.gather(*sent)
            assert turned_away.status == 503
            assert [wire.status for wire in answers] == [202, 202]
            assert lane.counted() == {"received": 3, "accepted": 2, "refused": 1}
            assert (await lane.post(a_batch(9))).status == 202

    asyncio.run(run())


def test_a_zipped_body_takes_the_room_of_what_it_holds(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlane, "MOST_BYTES", 5_000)
    padded = gzip.compress(a_batch() + b" " * 9_000)

    async def run() -> None:
        async with started(chosen) as lane:
            with nobody_writes(chosen) as release:
                first = asyncio.create_task(lane.post(padded, (b"content-encoding", b"gzip")))
                # Once the thread is through, the lane knows how large the body is.
                await asyncio.to_thread(until, lambda: lane.counted()["received"] == 1)
                while (await lane.post(b"")).status != 503:
                    await asyncio.sleep(0)
                release.set()
                assert (await first).status == 202

    asyncio.run(run())


def test_a_zipped_body_is_bounded_by_what_it_holds(chosen: Settings) -> None:
    good = a_batch(2)
    zipped = (b"content-encoding", b"gzip")
    bodies = {
        gzip.compress(good): 202,
        gzip.compress(good[:30]) + gzip.compress(good[30:]): 202,
        gzip.compress(b" " * (doors.BODY_LIMIT + 1)): 413,
        gzip.compress(b" " * doors.BODY_LIMIT) * 3: 413,
        gzip.compress(b"") * 7 + gzip.compress(good): 202,
        gzip.compress(b"") * 8 + gzip.compress(good): 400,
        gzip.compress(good)[:-9]: 400,
        gzip.compress(good) + b"junk": 400,
        good: 400,
        b"": 400,
    }

    async def run() -> None:
        async with started(chosen) as lane:
            assert [(await lane.post(body, zipped)).status for body in bodies] == list(bodies.values())
            assert lane.counted() == {"received": 13, "accepted": 2, "duplicate": 4, "refused": 7}

    asyncio.run(run())


def test_a_taken_id_is_found_out_although_the_commit_was_awaited_elsewhere(chosen: Settings) -> None:
    first = orjson.dumps({"events": [an_event(event_id="order-1")]})
    other = orjson.dumps({"events": [an_event(event_id="order-1", anonymous_id="a2")]})

    async def run() -> None:
        async with started(chosen) as lane:
            told = [orjson.loads((await lane.post(body)).sent[1]["body"]) for body in (first, first, other)]
            assert [one["results"][0]["status"] for one in told] == ["accepted", "duplicate", "quarantined"]
            assert told[2]["results"][0]["reason"] == "event_id_conflict"

    asyncio.run(run())


def test_signals_and_crawlers_are_seen_in_the_headers(chosen: Settings) -> None:
    async def run() -> None:
        async with started(chosen) as lane:
            await lane.post(a_batch(), (b"sec-gpc", b"1"), (b"dnt", b"1"))
            await lane.post(a_batch(), (b"user-agent", b"Googlebot/2.1 (+http://www.google.com/bot.html)"))
            (logged,) = lane.services.store.read(0, 9)
            assert logged.received.privacy == "gpc dnt no_personalization"
            assert lane.services.store.quarantine_counts() == {"bot": 1}

    asyncio.run(run())


def test_events_that_come_after_the_end_are_refused_for_now_and_not_stored(chosen: Settings) -> None:
    async def run() -> tuple[int, int, list[str]]:
        async with started(chosen) as lane:
            before = await lane.post(a_batch(event_id="before"))
        after = await lane.post(a_batch(event_id="after"))
        store = open_store(chosen)
        stored = [row.received.event.event_id for row in store.read(0, 10)]
        store.close()
        return before.status, after.status, stored

    assert asyncio.run(run()) == (202, 503, ["before"])
