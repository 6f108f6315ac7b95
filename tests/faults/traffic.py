"""Clients of a server under fire: writers that retry what they do not know, and one that only evaluates."""

import gzip
import http.client
import json
import random
import socket
import threading
import time
from contextlib import closing
from dataclasses import dataclass

from tests.faults.batches import Author, body_of
from tests.faults.history import History, Operation, Outcome, Sent

PATIENCE_S = 30.0
PAUSE_S = 0.02
BACK_OFF_S = 0.05
MOST_PENDING = 20
EVENTS = "/v1/events"
FLAGS = "/ofrep/v1/evaluate/flags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is and with which key to speak."""

    port: int
    key: str

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection; ConnectionRefusedError means that nothing was sent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.connect()
        return connection

    def headers(self, **more: str) -> dict[str, str]:
        """Return the headers of a JSON request."""
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **more}


class Writer(threading.Thread):
    """Sends batches without pause; what it was not told it sends again, until it is told."""

    def __init__(self, name: str, address: Address, history: History, rng: random.Random) -> None:
        super().__init__(name=name, daemon=True)
        self._address = address
        self._history = history
        self._rng = rng
        self._author = Author(name, rng, trusted=address.key.startswith("sk_"))
        self._connection: http.client.HTTPConnection | None = None
        self._ending = threading.Event()
        self.pending: list[list[Sent]] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Write until told to end."""
        try:
            while not self._ending.wait(self._rng.random() * PAUSE_S):
                self._round()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.error = error

    def end(self) -> None:
        """Let the request under way finish, then stop; raise what went wrong in the thread."""
        self._ending.set()
        self.join()
        self._hang_up()
        if self.error is not None:
            raise self.error

    def settle(self, patience_s: float) -> bool:
        """Send again whatever has no answer; return whether everything has one now."""
        deadline = time.monotonic() + patience_s
        while self.pending and time.monotonic() < deadline:
            self._again()
        self._hang_up()
        return not self.pending

    def probe(self) -> bool:
        """Store one fresh event over a fresh connection, and see a flag; return whether both were done."""
        self._hang_up()
        stored = self._send(self.pending.pop() if self.pending else [self._author.good()])
        self._hang_up()
        return stored and _sees_flags(self._address)

    def _round(self) -> None:
        if self.pending and (self._rng.random() < 0.5 or len(self.pending) >= MOST_PENDING):
            self._again()
            return
        events = self._author.batch()
        dice = self._rng.random()
        if dice < 0.04:
            self._cut_short(events)
        elif dice < 0.08:
            self._walk_away(events)
        else:
            self._send(events, gzipped=dice > 0.9, slow=dice < 0.12)

    def _again(self) -> None:
        events = self.pending.pop(0)
        if not self._send(events):
            time.sleep(BACK_OFF_S)

    def _send(self, events: list[Sent], *, gzipped: bool = False, slow: bool = False) -> bool:
        """Send one batch and take down its answer; return whether there was one."""
        try:
            connection = self._connection = self._connection or self._address.connect()
        except OSError:
            # Nothing was sent.
            self.pending.append(events)
            return False
        operation = self._history.invoke(self.name, EVENTS, events)
        body = body_of(events)
        headers = self._address.headers()
        if gzipped:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        try:
            if slow:
                self._dribble(connection, body, headers)
            else:
                connection.request("POST", EVENTS, body, headers)
            answer = connection.getresponse()
            self._take_down(operation, answer, answer.read())
        except (OSError, http.client.HTTPException) as error:
            operation.note = repr(error)
            operation.outcome = Outcome.UNKNOWN
            self._hang_up()
        finally:
            operation.ended = time.monotonic()
        if operation.outcome is not Outcome.OK and operation.status in (0, 503):
            self.pending.append(events)
        return operation.outcome is Outcome.OK

    def _dribble(self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> None:
        connection.putrequest("POST", EVENTS)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        half = len(body) // 2
        for part in (body[:half], body[half:]):
            connection.send(part)
            time.sleep(PAUSE_S)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _take_down(self, operation: Operation, answer: http.client.HTTPResponse, body: bytes) -> None:
        operation.status = answer.status
        operation.outcome = Outcome.UNKNOWN if answer.status == 503 else Outcome.FAIL
        if answer.status != 202:
            operation.note = body[:500].decode("utf-8", "replace")
            if answer.status == 503 and not answer.headers.get("Retry-After"):
                operation.note = f"503 without Retry-After: {operation.note}"
            return
        results = json.loads(body)["results"]
        assert len(results) == len(operation.events), (
            f"{len(results)} results for {len(operation.events)} events"
        )
        operation.told = [(result["status"], result.get("reason", "")) for result in results]
        operation.outcome = Outcome.OK
        self._author.acknowledged += [
            event
            for event, (status, _) in zip(operation.events, operation.told, strict=True)
            if status == "accepted"
        ]

    def _cut_short(self, events: list[Sent]) -> None:
        """Leave in the middle of the body: that is never the end of a batch."""
        operation = self._history.invoke(self.name, "cut short", events)
        body = body_of(events)
        self._say(operation, body, upto=self._rng.randrange(len(body)))
        operation.outcome = Outcome.FAIL
        self.pending.append(events)

    def _walk_away(self, events: list[Sent]) -> None:
        """Send all of it and do not wait for the answer."""
        operation = self._history.invoke(self.name, "left alone", events)
        body = body_of(events)
        self._say(operation, body, upto=len(body))
        operation.outcome = Outcome.UNKNOWN
        self.pending.append(events)

    def _say(self, operation: Operation, body: bytes, *, upto: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._address.port), timeout=PATIENCE_S) as raw:
                lines = [f"{name}: {value}" for name, value in self._address.headers().items()]
                head = "\r\n".join(
                    [f"POST {EVENTS} HTTP/1.1", "Host: x", *lines, f"Content-Length: {len(body)}"]
                )
                raw.sendall(head.encode() + b"\r\n\r\n" + body[:upto])
        except OSError as error:
            operation.note = repr(error)
        operation.ended = time.monotonic()


def _sees_flags(address: Address) -> bool:
    try:
        with closing(address.connect()) as connection:
            connection.request("POST", FLAGS, b'{"context":{"targetingKey":"probe"}}', address.headers())
            answer = connection.getresponse()
            answer.read()
    except (OSError, http.client.HTTPException):
        return False
    return answer.status == 200


LONG_S = 0.5
"""An evaluation that takes longer is looked at; a busy machine makes a shorter one wait, too."""


@dataclass(slots=True)
class Miss:
    """An evaluation that was not answered as it should be."""

    begun: float
    ended: float
    what: str


class Watcher(threading.Thread):
    """A shop's page: evaluates all flags of one visitor all the time and always expects the same answer."""

    def __init__(self, address: Address) -> None:
        super().__init__(name="watcher", daemon=True)
        self._address = address
        self._connection: http.client.HTTPConnection | None = None
        self._ending = threading.Event()
        self._first: object = None
        self._error: Exception | None = None
        self.answers = 0
        self.misses: list[Miss] = []
        self.waits: list[Miss] = []
        """Evaluations that took longer than `LONG_S`, answered or not."""

    def run(self) -> None:
        """Evaluate until told to end."""
        try:
            while not self._ending.wait(PAUSE_S):
                self._evaluate()
        except Exception as error:  # noqa: BLE001 - whoever ends the thread is told
            self._error = error

    def end(self) -> None:
        """Stop; raise what ended the thread before its time."""
        self._ending.set()
        self.join()
        if self._connection is not None:
            self._connection.close()
        if self._error is not None:
            raise self._error

    def _evaluate(self) -> None:
        """Ask; a connection that was reset is made anew once, and nothing else is asked again."""
        for last_time in (False, True):
            begun = time.monotonic()
            problem = self._ask()
            ended = time.monotonic()
            if ended - begun > LONG_S:
                self.waits.append(Miss(begun, ended, "waited"))
            if problem is None:
                return
            if last_time or not isinstance(problem, ConnectionError):
                self.misses.append(Miss(begun, ended, repr(problem)))
                return

    def _ask(self) -> Exception | None:
        """Evaluate once; return what kept the answer from coming."""
        begun = time.monotonic()
        body = b'{"context":{"targetingKey":"visitor-7"}}'
        try:
            self._connection = self._connection or self._address.connect()
            self._connection.request("POST", FLAGS, body, self._address.headers())
            answer = self._connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return error
        flags = {flag["key"]: (flag.get("value"), flag.get("variant")) for flag in told.get("flags", [])}
        self._first = self._first or flags
        self.answers += 1
        if answer.status != 200 or flags != self._first:
            self.misses.append(Miss(begun, time.monotonic(), f"{answer.status} {flags}"))
        return None
