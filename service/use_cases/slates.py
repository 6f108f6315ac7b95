"""Slates go on record beside the answer: a page waits a moment for that, never for a writer that is stuck."""

import threading
from collections import deque
from dataclasses import dataclass, field

from service.log import logger
from service.storage.ports import EventLog, IngestBatch, StoreUnavailableError
from service.storage.records import Slate

PATIENCE_S = 0.25
"""A commit takes 1 to 30 ms, some 100 ms in a crowd: beyond this something is broken."""
MOST_WAITING = 1_000
AT_ONCE = 200


@dataclass(slots=True)
class _Pending:
    slate: Slate
    done: threading.Event = field(default_factory=threading.Event)
    stored: bool = False


class SlateKeeper:
    """One thread a process writes what waits; it starts with the first slate and so always after a fork."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._waiting: deque[_Pending] = deque()
        self._lock = threading.Lock()
        self._writing = False

    def keep(self, store: EventLog, slate: Slate) -> bool:
        """Return whether `slate` is stored for certain; if not, it may still be, and nobody refers to it."""
        pending = _Pending(slate)
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append(pending)
            if not self._writing:
                threading.Thread(target=self._write, args=(store,), name="slates", daemon=True).start()
                self._writing = True
        pending.done.wait(self._patience_s)
        return pending.stored

    def _write(self, store: EventLog) -> None:
        while True:
            with self._lock:
                some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                if not some:
                    self._writing = False
                    return
            try:
                store.append(IngestBatch(slates=[pending.slate for pending in some]))
            except StoreUnavailableError:
                logger().warning("slates_not_stored", slates=len(some))
            except Exception:  # noqa: BLE001 - this thread must outlive whatever a driver raises
                logger().exception("slates_not_stored")
            else:
                for pending in some:
                    pending.stored = True
            for pending in some:
                pending.done.set()
