"""Load the demo shop: its items, and its history before the cut-off through ordinary ingest."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from service.settings import Settings
from service.storage.ports import Store
from service.use_cases.demo_data import (
    ITEMS_FILE,
    ORDERS_FILE,
    DemoOrder,
    as_event,
    history,
    read_items,
    read_orders,
    week_shift,
)
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import MAX_EVENTS, SERVER, Terms, take_in

SOURCE = "demo"
MARKER = "demo-loaded.json"

Progress = Callable[[int, int], None]


class DemoLoadError(Exception):
    """An event of the demo data was refused; the message names it and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a load did; `skipped` means that this store has the data already."""

    items: int = 0
    accepted: int = 0
    duplicate: int = 0
    skipped: bool = False


def demo_loaded(settings: Settings, store: Store) -> bool:
    """Tell whether this very store holds these very files, without reading either."""
    try:
        marker = json.loads(_marker(settings).read_text("utf-8"))
        known: bool = marker["files"] == _fingerprint(settings)
        return known and store.last_seq() >= int(marker["events"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load_demo(
    settings: Settings,
    store: Store,
    *,
    now: datetime,
    progress: Progress,
    orders: Sequence[DemoOrder] | None = None,
) -> LoadReport:
    """Store items and history; safe to interrupt and to repeat, since event ids never change.

    `orders` are the demo's own unless others are given.

    Raises
    ------
    DemoLoadError
        If the store refused an event.
    """
    if demo_loaded(settings, store):
        return LoadReport(skipped=True)
    items = store.put_items(read_items())
    past = list(history(read_orders() if orders is None else orders))
    shift = week_shift(now)
    terms = Terms(trust=SERVER, source=SOURCE, now=now)
    book = ExposureBook()
    counts: Counter[str] = Counter()
    for batch in _batches(as_event(order, shift) for order in past):
        results = take_in(store, book, batch, terms=terms)
        _refuse_quarantined(results)
        counts.update(result["status"] for result in results)
        progress(counts.total(), len(past))
    marker = {"files": _fingerprint(settings), "events": len(past)}
    _marker(settings).write_text(json.dumps(marker), "utf-8")
    return LoadReport(items=items, accepted=counts["accepted"], duplicate=counts["duplicate"])


def _batches(events: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(events, MAX_EVENTS)):
        yield batch


def _refuse_quarantined(results: Sequence[dict[str, Any]]) -> None:
    refused = next((r for r in results if r["status"] == "quarantined"), None)
    if refused is not None:
        raise DemoLoadError(
            f"event {refused['event_id']} was refused: {refused.get('reason', 'no reason given')}"
        )


def _marker(settings: Settings) -> Path:
    return settings.home / MARKER


def _fingerprint(settings: Settings) -> str:
    digest = sha256(settings.database_url.encode())
    for path in (ORDERS_FILE, ITEMS_FILE):
        digest.update(path.read_bytes())
    return digest.hexdigest()
