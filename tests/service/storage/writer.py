"""A process that appends for ever and prints an id only after the store has said it is durable.

Arguments: database, prefix of its ids, threads, events a batch. Ids of all writers overlap in ``shared-``.
"""

import os
import sys
import threading
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from service.storage.interactions import interactions_of
from service.storage.ports import IngestBatch
from service.storage.records import Event, ReceivedEvent
from service.storage.sql import SqlStore

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def an_event(event_id: str) -> ReceivedEvent:
    event = Event(
        event_id=event_id,
        type="Product Viewed",
        occurred_at=NOW,
        anonymous_id=event_id[-3:],
        properties={"item_id": "tea", "filler": "x" * 120},
    )
    return ReceivedEvent(event=event, received_at=NOW, source="writer", trust="server")


def write(store: SqlStore, prefix: str, size: int) -> None:
    for n in count():
        events = [an_event(f"{prefix}-{n}-{k}") for k in range(size)] + [an_event(f"shared-{n}")]
        statuses = store.append(
            IngestBatch(events=events, interactions=[interactions_of(e.event) for e in events])
        )
        told = "".join(f"{e.event.event_id} {s.value}\n" for e, s in zip(events, statuses, strict=True))
        os.write(1, told.encode())


def main() -> None:
    path, prefix, threads, size = sys.argv[1:]
    store = SqlStore(Path(path))
    for number in range(int(threads)):
        threading.Thread(target=write, args=(store, f"{prefix}.{number}", int(size)), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
