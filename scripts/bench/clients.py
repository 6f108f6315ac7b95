"""Clients in a closed loop over plain sockets: each sends its next batch as soon as the last is answered.

Bodies are made before the clock runs, and of an answer only the statuses are looked at: the generator shares
its cores with what it measures. What it costs itself is told.
"""

import heapq
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from scripts.bench.load import percentile
from scripts.bench.processes import holders

SEND_BUFFER = 256 * 1024
RECEIVE = 256 * 1024
BUSY_S = 0.05
SILENCE_S = 60.0
TRIES = 100
APART_S = 0.001
ACCEPT_S = 0.02
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round measured; latencies in milliseconds, CPU time of the generator in us an event."""

    events: int
    busy: int
    seconds: float
    p50: float
    p99: float
    generator: float

    @property
    def per_second(self) -> float:
        """Return durable events a second."""
        return self.events / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to send where: `bodies` of `batch` events each with a key, to the web `workers` at a port."""

    port: int
    workers: Sequence[int]
    key: str
    bodies: Sequence[bytes]
    batch: int
    clients: int


def run(ask: Ask, seconds: float) -> Round:
    """Send until the time is over or the bodies are; wait for every answer.

    A batch that is answered with 503 (the waiting room is full, or the commit took too long) is sent again a
    little later; it counts as busy, its latency from the first try, and it may turn out to be stored already.
    """
    head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ask.key}\r\n"
    head += f"User-Agent: {BROWSER}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = deque(f"{head}{len(body)}\r\n\r\n".encode() + body for body in ask.bodies)
    connections = _even(ask.port, ask.workers, ask.clients)
    loop = _Loop(requests, [_Client(connection) for connection in connections], ask.batch)
    cpu = time.process_time()
    took = loop.run(seconds)
    events = len(loop.latencies) * ask.batch
    return Round(
        events=events,
        busy=loop.busy,
        seconds=took,
        p50=percentile(loop.latencies, 50),
        p99=percentile(loop.latencies, 99),
        generator=1e6 * (time.process_time() - cpu) / max(1, events),
    )


def _even(port: int, workers: Sequence[int], n: int) -> list[socket.socket]:
    """Open `n` connections, each worker with as many: one that wakes first would take a whole burst."""
    share = -(-n // len(workers))
    chosen: dict[int, list[socket.socket]] = {worker: [] for worker in workers}
    for _ in range(TRIES):
        opened = [_open(port) for _ in range(n)]
        time.sleep(ACCEPT_S)
        held = holders(workers)
        for connection in opened:
            mine = chosen.get(held.get(connection.getsockname()[1], 0), [])
            if len(mine) < share:
                mine.append(connection)
        found = [connection for mine in chosen.values() for connection in mine]
        for connection in set(opened).difference(found):
            connection.close()
        for connection in found:  # the server ends those that ask for nothing for five seconds
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(RECEIVE)
        if len(found) >= n:
            return found[:n]
    raise SystemExit(f"the workers do not take {share} connections each: {list(map(len, chosen.values()))}")


def _open(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    time.sleep(APART_S)
    return made


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    sent: bytes = b""
    again: bool = False
    asked_at: float = 0.0
    come: bytearray = field(default_factory=bytearray)

    def ask(self, request: bytes) -> None:
        self.sent = request
        self.again = False
        self.asked_at = time.perf_counter()
        self.connection.sendall(request)

    def read(self) -> bytes | None:
        """Take what has come; return the answer once it is whole."""
        part = self.connection.recv(RECEIVE)
        self.come += part
        if not part:
            raise SystemExit(f"the server hung up after {bytes(self.come[:200])!r}")
        head = self.come.find(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", self.come[: max(head, 0)], re.IGNORECASE)
        if length is None or len(self.come) < head + 4 + int(length[1]):
            return None
        answer = bytes(self.come)
        self.come.clear()
        return answer


class _Loop:
    """One thread that drives all clients."""

    def __init__(self, requests: deque[bytes], clients: list[_Client], batch: int) -> None:
        self._requests = requests
        self._clients = clients
        self._batch = batch
        self._again: list[tuple[float, int]] = []
        self._end = 0.0
        self._waiting = 0
        self.latencies: list[float] = []
        self.busy = 0

    def run(self, seconds: float) -> float:
        """Return how long it took until the last answer."""
        began = heard = time.perf_counter()
        self._end = began + seconds
        with selectors.EpollSelector() as watched:
            for number, client in enumerate(self._clients):
                watched.register(client.connection, selectors.EVENT_READ, number)
                self._next(client)
            while self._waiting:
                for key, _ in watched.select(BUSY_S):
                    heard = time.perf_counter()
                    self._hear(key.data, heard)
                now = time.perf_counter()
                while self._again and self._again[0][0] <= now:
                    client = self._clients[heapq.heappop(self._again)[1]]
                    client.connection.sendall(client.sent)
                if now > heard + SILENCE_S:
                    raise SystemExit(f"{self._waiting} clients have had no answer for {SILENCE_S:g} s")
        return heard - began

    def _next(self, client: _Client) -> None:
        """Send the next body, or end: who has nothing more to ask is not listened to."""
        if self._requests and time.perf_counter() < self._end:
            self._waiting += 1
            client.ask(self._requests.popleft())
        else:
            client.connection.close()

    def _hear(self, number: int, now: float) -> None:
        client = self._clients[number]
        answer = client.read()
        if answer is None:
            return
        status = int(answer[9:12])
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.busy += 1
            client.again = True
            heapq.heappush(self._again, (now + BUSY_S, number))
            return
        stored = answer.count(b'"accepted"') + (answer.count(b'"duplicate"') if client.again else 0)
        if status != HTTPStatus.ACCEPTED or stored != self._batch:
            raise SystemExit(f"not stored, of a batch of {self._batch}: {answer[:2_000]!r}")
        self.latencies.append(1e3 * (now - client.asked_at))
        self._waiting -= 1
        self._next(client)
