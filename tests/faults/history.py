"""What the clients did and were told: every request is an operation with an outcome, kept for the check."""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """How an operation ended, as its client saw it."""

    INVOKED = "invoked"
    """Not ended yet."""
    OK = "ok"
    """Answered with a result for each event: what it says must be true for ever."""
    FAIL = "fail"
    """Refused for good, or never sent whole: nothing of it may be stored."""
    UNKNOWN = "unknown"
    """No answer, or a 503: anything may be true, sending it again is harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One event as it goes over the wire; `expected` are the statuses it may get when no clock is wrong."""

    event_id: str
    raw: bytes
    expected: frozenset[str]
    kind: str = "good"


@dataclass(slots=True, kw_only=True)
class Operation:
    """One request with a batch of events."""

    number: int
    client: str
    door: str
    events: Sequence[Sent]
    begun: float
    ended: float = 0.0
    outcome: Outcome = Outcome.INVOKED
    status: int = 0
    told: Sequence[tuple[str, str]] = ()
    """For each event its status and reason."""
    note: str = ""


@dataclass(slots=True, kw_only=True)
class Blow:
    """One fault: from when to when, and how long until everything was served again after the last kill."""

    name: str
    begun: float
    interrupts: bool
    moves_clock: bool = False
    ended: float = 0.0
    recovered_s: float | None = None
    note: str = ""


@dataclass(slots=True)
class History:
    """Operations and faults of one run, in the order of their beginning; safe in any thread."""

    seed: int
    database: str
    operations: list[Operation] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def invoke(self, client: str, door: str, events: Sequence[Sent]) -> Operation:
        """Write down that a request begins."""
        with self._lock:
            operation = Operation(
                number=len(self.operations),
                client=client,
                door=door,
                events=tuple(events),
                begun=time.monotonic(),
            )
            self.operations.append(operation)
        return operation

    @contextmanager
    def blow(self, name: str, *, interrupts: bool, moves_clock: bool = False) -> Iterator[Blow]:
        """Write down that a fault begins, and when everything is served again that it ended."""
        blow = Blow(name=name, begun=time.monotonic(), interrupts=interrupts, moves_clock=moves_clock)
        self.blows.append(blow)
        try:
            yield blow
        finally:
            blow.ended = time.monotonic()

    def sent(self) -> Iterable[Sent]:
        """Return every event of every operation, repeats included."""
        return (event for operation in self.operations for event in operation.events)

    def answered(self) -> Iterator[tuple[Operation, Sent, str, str]]:
        """Return what was told of each event: the operation, the event, its status and its reason."""
        for operation in self.operations:
            if operation.outcome is Outcome.OK:
                for event, (status, reason) in zip(operation.events, operation.told, strict=True):
                    yield operation, event, status, reason

    def keep(self, path: Path, violations: Sequence[str]) -> None:
        """Write everything to a file, one JSON object a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as out:
            self._write(out, {"database": self.database, "seed": self.seed, "violations": list(violations)})
            for blow in self.blows:
                self._write(out, asdict(blow))
            for operation in self.operations:
                self._write(out, asdict(operation))

    @staticmethod
    def _write(out: Any, record: dict[str, Any]) -> None:
        def plain(value: object) -> object:
            if isinstance(value, bytes):
                return value[:400].decode("utf-8", "backslashreplace")
            assert isinstance(value, frozenset)
            return sorted(value)

        out.write(json.dumps(record, default=plain) + "\n")
