"""Loads: wrk if it is installed, else a generator in Python; what the server costs comes from /proc."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 16
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Requests to repeat: one path, one method, a body and an entity tag for each visitor."""

    port: int
    path: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    bodies: Sequence[bytes] = (b"",)
    etags: Sequence[str] = ("",)
    expect: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one round measured; latencies in milliseconds, CPU time in microseconds a request."""

    n: int
    per_second: float
    p50: float
    p99: float
    cpu: float = 0.0


def has_wrk() -> bool:
    """Return whether wrk is installed."""
    return shutil.which("wrk") is not None


def tool() -> str:
    """Return which generator is used."""
    return "wrk" if has_wrk() else "in Python (it is slower than the server: compare CPU time)"


def run(ask: Ask, pid: int, seconds: float) -> Load:
    """Ask for some seconds over 16 connections."""
    before = cpu_seconds(pid)
    found = run_for(ask, seconds)
    cost = cpu_seconds(pid) - before
    return replace(found, cpu=1e6 * cost / max(found.n, 1))


def run_for(ask: Ask, seconds: float, *, connections: int = CONNECTIONS) -> Load:
    """Ask for some seconds; whose CPU time it cost is not looked at."""
    n, elapsed, p50, p99 = (_wrk if has_wrk() else _python)(ask, seconds, connections)
    return Load(n=n, per_second=n / elapsed, p50=p50, p99=p99)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and its children, dead ones included."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        parts = rest.split()
        if int(parts[1]) == pid:
            total += (int(parts[11]) + int(parts[12])) / TICKS
        elif name.split()[0] == str(pid):
            total += sum(map(int, parts[11:15])) / TICKS
    return total


# --- wrk


def _wrk(ask: Ask, seconds: float, connections: int) -> tuple[int, float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        visitors, script = Path(folder) / "visitors", Path(folder) / "ask.lua"
        pairs = zip(cycle(ask.etags), ask.bodies, strict=False)
        visitors.write_bytes(b"".join(etag.encode() + b"\t" + body + b"\n" for etag, body in pairs))
        script.write_text(_lua(ask, visitors))
        length = f"-d{max(1, round(seconds))}s"  # wrk knows whole seconds only
        command = ["wrk", "-t1", f"-c{connections}", length, "--latency", "-s", str(script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{ask.port}"], capture_output=True, text=True, check=False
        )
    found = re.search(r"BENCH (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise SystemExit(f"wrk said:\n{done.stdout}{done.stderr}")
    n, microseconds, wrong, p50, p99 = map(int, found.groups())
    if wrong:
        raise SystemExit(f"{wrong} of {n} answers to {ask.path} were not {ask.expect}")
    return n, microseconds / 1e6, p50 / 1e3, p99 / 1e3


def _lua(ask: Ask, visitors: Path) -> str:
    """Return a script for wrk that asks as one visitor after another and counts unexpected answers."""
    headers = ", ".join(f"[{json.dumps(name)}]={json.dumps(value)}" for name, value in ask.headers.items())
    return f"""
local ready, at, threads = {{}}, 0, {{}}
wrong = 0
function setup(thread) table.insert(threads, thread) end
function init(args)
  for line in io.lines({json.dumps(str(visitors))}) do
    local etag, body = line:match("^([^\t]*)\t(.*)$")
    local headers = {{{headers}}}
    if etag ~= "" then headers["If-None-Match"] = etag end
    ready[#ready + 1] = wrk.format({json.dumps(ask.method)}, {json.dumps(ask.path)}, headers, body)
  end
end
function request() at = at % #ready + 1; return ready[at] end
function response(status) if status ~= {ask.expect} then wrong = wrong + 1 end end
function done(summary, latency)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.timeout
  for _, thread in ipairs(threads) do bad = bad + thread:get("wrong") end
  io.write(string.format("BENCH %d %d %d %d %d\\n", summary.requests, summary.duration, bad,
    latency:percentile(50), latency:percentile(99)))
end
"""


# --- without wrk


def _python(ask: Ask, seconds: float, connections: int) -> tuple[int, float, float, float]:
    latencies: list[float] = []
    began = time.perf_counter()
    asyncio.run(_all(ask, began + seconds, latencies, connections))
    elapsed = time.perf_counter() - began
    return len(latencies), elapsed, percentile(latencies, 50), percentile(latencies, 99)


async def _all(ask: Ask, end: float, latencies: list[float], connections: int) -> None:
    await asyncio.gather(*(_one(ask, end, latencies, start) for start in range(connections)))


async def _one(ask: Ask, end: float, latencies: list[float], at: int) -> None:
    connection = await Connection.open(ask.port)
    while time.perf_counter() < end:
        began = time.perf_counter()
        status = await connection.send(raw_request(ask, at))
        latencies.append(1e3 * (time.perf_counter() - began))
        if status != ask.expect:
            raise SystemExit(f"{ask.path} answered {status}, not {ask.expect}")
        at += CONNECTIONS
    connection.close()


@dataclass(frozen=True, slots=True)
class Connection:
    """A kept connection that reads answers with a length."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @staticmethod
    async def open(port: int) -> "Connection":
        """Connect to this machine."""
        return Connection(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> int:
        """Send one request, read its answer, return the status."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length and int(length[1]):
            await self.reader.readexactly(int(length[1]))
        return int(head[9:12])

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


def raw_request(ask: Ask, at: int) -> bytes:
    """Return the request of one visitor as bytes."""
    body, etag = ask.bodies[at % len(ask.bodies)], ask.etags[at % len(ask.etags)]
    headers = {"Host": "localhost", **ask.headers, "Content-Length": str(len(body))}
    if etag:
        headers["If-None-Match"] = etag
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{ask.method} {ask.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def percentile(values: Sequence[float], p: float) -> float:
    """Return the nearest-rank percentile, 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] if ordered else 0.0
