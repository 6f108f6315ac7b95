"""The demo's side of the wire: an ordinary HTTP client, as any shop's backend would have one."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from service.clock import from_micros, to_micros
from service.storage.interactions import EXPOSURE_EVENT
from service.use_cases.demo_replay import RawEvent, Ticket
from service.use_cases.watermark import as_of_us

BATCH_EVENTS = 500
BATCH_BYTES = 900_000
TRIES = 8
TIMEOUT_S = 60
TAIL = 100


class DemoClientError(Exception):
    """The server cannot be used; the message says what to do."""


class Api:
    """The server, over kept-alive connections, one per thread; every call may be repeated without harm."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DemoClientError(f"{url!r}: expected something like http://127.0.0.1:8000")
        self._secure, self._address = parts.scheme == "https", parts.netloc
        self._keys = keys
        self._local = threading.local()

    def call(self, method: str, path: str, *, key: str, body: bytes = b"") -> tuple[int, Any]:
        """Return status and JSON; wait and try again while the server is busy or restarting."""
        headers = {"Authorization": f"Bearer {self._keys[key]}", "Content-Type": "application/json"}
        problem = ""
        for attempt in range(TRIES):
            try:
                connection = self._connection()
                connection.request(method, path, body or None, headers)
                response = connection.getresponse()
                payload = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._local.connection = None
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
                    return response.status, orjson.loads(payload) if payload else None
                problem = f"{response.status} {payload[:200].decode(errors='replace')}"
            time.sleep(min(2.0, 0.05 * 2**attempt))
        raise DemoClientError(
            f"{method} {self._address}{path} keeps failing: {problem}. Is `make run` running?"
        )

    def post(self, path: str, body: Any, *, key: str) -> Any:  # noqa: ANN401 - any JSON
        """Return the JSON of a call that must succeed."""
        status, answer = self.call("POST", path, key=key, body=orjson.dumps(body))
        if status >= HTTPStatus.BAD_REQUEST:
            raise DemoClientError(f"POST {path}: {status} {answer}")
        return answer

    def verdict(self, experiment: str) -> dict[str, Any] | None:
        """Return the newest verdict, None before the first."""
        status, answer = self.call("GET", f"/v1/experiments/{experiment}/verdict", key="analyst")
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status >= HTTPStatus.BAD_REQUEST:
            raise DemoClientError(f"verdict of {experiment}: {status} {answer}")
        found: dict[str, Any] = answer
        return found

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection = self._local.connection = kind(self._address, timeout=TIMEOUT_S)
        return connection


@dataclass(slots=True)
class Sender:
    """Sends events in their order and keeps account of what became of them."""

    api: Api
    counts: Counter[str] = field(default_factory=Counter)
    exposures: Counter[str] = field(default_factory=Counter)
    tail: list[int] = field(default_factory=list)

    def send(self, events: Iterable[RawEvent]) -> None:
        """Send `events` one batch after another; a batch is sent when the one before it is stored."""
        for batch, body in batches(events):
            status, answer = self.api.call("POST", "/v1/events", key="server", body=body)
            if status != HTTPStatus.ACCEPTED:
                raise DemoClientError(f"POST /v1/events: {status} {answer}")
            for event, result in zip(batch, answer["results"], strict=True):
                self._count(event, result)
            occurred = (to_micros(datetime.fromisoformat(e["occurred_at"])) for e in batch)
            self.tail = sorted([*self.tail, *occurred])[-TAIL:]

    def _count(self, event: RawEvent, result: dict[str, Any]) -> None:
        status = result["status"]
        reason = f" ({result['reason']})" if result.get("reason") else ""
        self.counts[status + reason] += 1
        if status == "accepted" and event["type"] == EXPOSURE_EVENT:
            self.exposures[event["properties"]["experiment_key"]] += 1

    @property
    def as_of(self) -> datetime:
        """The event time that a verdict over everything sent has reached."""
        return from_micros(as_of_us(self.tail))


def batches(events: Iterable[RawEvent]) -> Iterator[tuple[list[RawEvent], bytes]]:
    """Cut `events` into bodies that the server takes: bounded in number and in bytes."""
    batch: list[RawEvent] = []
    parts: list[bytes] = []
    size = 0
    for event in events:
        part = orjson.dumps(event)
        if batch and (len(batch) == BATCH_EVENTS or size + len(part) > BATCH_BYTES):
            yield batch, b'{"events":[' + b",".join(parts) + b"]}"
            batch, parts, size = [], [], 0
        batch.append(event)
        parts.append(part)
        size += len(part) + 1
    if batch:
        yield batch, b'{"events":[' + b",".join(parts) + b"]}"


def ask_flags(api: Api, context: dict[str, str]) -> dict[str, Ticket]:
    """Return what one person gets, by flag; flags are no experiments and are left out."""
    answer = api.post("/ofrep/v1/evaluate/flags", {"context": context}, key="client")
    good = (flag for flag in answer["flags"] if "errorCode" not in flag)
    return {flag["key"]: Ticket.of(flag) for flag in good}
