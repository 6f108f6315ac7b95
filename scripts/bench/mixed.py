"""Evaluations while slow routes and event streams are open."""

import asyncio
import time
from dataclasses import dataclass

from scripts.bench.apps import SLOW
from scripts.bench.load import Ask, Connection, has_wrk, percentile, raw_request, run_for

HOT = 32
PER_SECOND = 300
WARM_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What one round measured, in milliseconds and answers a second."""

    p50: float
    p99: float
    per_second: float
    slow_per_second: float
    streams: int


def run(hot: Ask, stream: str, *, slow: int, streams: int, seconds: float) -> Beside:
    """Ask 300 times a second over 32 connections beside `slow` closed loops and `streams` open streams.

    A latency counts from the moment at which the question was due, so that waiting for a turn counts too. The
    loops are wrk's where it is installed: in Python they would keep this process too busy to time anything.
    """
    return asyncio.run(_run(hot, stream, slow=slow, streams=streams, seconds=seconds))


async def _run(hot: Ask, stream: str, *, slow: int, streams: int, seconds: float) -> Beside:
    opened = [await _open_stream(hot.port, stream) for _ in range(streams)]
    began = time.perf_counter()
    measure_from, end = began + WARM_S, began + WARM_S + seconds
    done: list[float] = []
    busy = Ask(port=hot.port, path=SLOW, method="GET")
    if slow and has_wrk():
        loops = [asyncio.create_task(asyncio.to_thread(_slow_by_wrk, busy, slow, WARM_S + seconds, done))]
    else:
        loops = [asyncio.create_task(_slow(busy, measure_from, end, done)) for _ in range(slow)]
    latencies: list[float] = []
    await asyncio.gather(*(_paced(hot, i, measure_from, end, latencies) for i in range(HOT)))
    await asyncio.gather(*loops)
    alive = sum(not reader.at_eof() for reader, _ in opened)
    for _, writer in opened:
        writer.close()
    return Beside(
        p50=percentile(latencies, 50),
        p99=percentile(latencies, 99),
        per_second=len(latencies) / seconds,
        slow_per_second=len(done) / seconds,
        streams=alive,
    )


async def _open_stream(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the event stream was refused: {head.decode('latin-1')}")
    return reader, writer


def _slow_by_wrk(ask: Ask, slow: int, seconds: float, done: list[float]) -> None:
    found = run_for(ask, seconds, connections=slow)
    done.extend([1.0] * round(found.per_second * (seconds - WARM_S)))


async def _slow(ask: Ask, measure_from: float, end: float, done: list[float]) -> None:
    connection = await Connection.open(ask.port)
    while time.perf_counter() < end:
        status = await connection.send(raw_request(ask, 0))
        if status == ask.expect and time.perf_counter() > measure_from:
            done.append(1.0)
    connection.close()


async def _paced(ask: Ask, place: int, measure_from: float, end: float, latencies: list[float]) -> None:
    connection = await Connection.open(ask.port)
    gap = HOT / PER_SECOND
    due, at = time.perf_counter() + gap * place / HOT, place
    while due < end:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status = await connection.send(raw_request(ask, at))
        if status != ask.expect:
            raise SystemExit(f"{ask.path} answered {status} beside slow routes")
        if due >= measure_from:
            latencies.append(1e3 * (time.perf_counter() - due))
        due, at = due + gap, at + HOT
    connection.close()
