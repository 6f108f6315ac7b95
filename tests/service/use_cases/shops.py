"""A small shop with one experiment on a real store: what the tests of verdicts start from."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.lake import export_all
from service.settings import Settings, load
from service.storage.migrate import migrate
from service.storage.ports import IngestBatch, Store
from service.storage.records import Event, QuarantinedEvent, ReceivedEvent
from service.storage.sql import open_store
from service.use_cases.launch import apply

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
KEY = "free-shipping"
FILES = {
    "metrics.yaml": """\
metrics:
  purchase: {kind: conversion, event: Order Completed, window: 1d, label: placed an order}
  revenue: {kind: mean, event: Order Completed, value: revenue, currency: EUR, window: 1d, cap: 500}
  refunds: {kind: conversion, event: Order Refunded, window: 1d, direction: down}
""",
    "experiments/free-shipping.yaml": """\
experiment: free-shipping
owner: maria@shop.example
hypothesis: {statement: "A banner <b>sells</b> & more", baseline: 20%}
variants: {control: "", banner: "Free shipping over 30 EUR"}
metrics: {primary: purchase, secondary: [revenue], guardrails: [{metric: refunds, margin: 50% relative}]}
analysis: {mde: 20% relative}
decide: {min_runtime: 2d}
""",
}


def settings_in(home: Path) -> Settings:
    return load({"OPPORTUNE_HOME": str(home), "OPPORTUNE_CATALOG": str(home / "catalog")})


@contextmanager
def a_store(home: Path) -> Iterator[Store]:
    home.mkdir(parents=True, exist_ok=True)
    settings = settings_in(home)
    migrate(settings.database_url)
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def launched(store: Store, files: dict[str, str] = FILES) -> int:
    return apply(store, files, by="test", now=START).revision


def put(store: Store, *events: Event, at: datetime = START) -> None:
    received = [ReceivedEvent(event=e, received_at=at, source="api", trust="server") for e in events]
    for start in range(0, len(received), 500):
        page = received[start : start + 500]
        store.append(IngestBatch(events=page, interactions=[()] * len(page)))


def put_in_quarantine(store: Store, event_id: str, reason: str) -> None:
    refused = QuarantinedEvent(
        event_id=event_id,
        reason=reason,
        detail="",
        body=(
            '{"event_id":"' + event_id + '","type":"Experiment Viewed",'
            '"properties":{"experiment_key":"free-shipping","phase":1}}'
        ),
        received_at=START,
        source="api",
        trust="client",
    )
    store.append(IngestBatch(quarantined=[refused]))


def exposure(unit: str, variant: str, at: datetime, *, suffix: str = "") -> Event:
    return Event(
        event_id=f"x-{unit}{suffix}",
        type="Experiment Viewed",
        occurred_at=at,
        anonymous_id=unit,
        properties={
            "experiment_key": KEY,
            "variant_key": variant,
            "unit_type": "anonymous_id",
            "unit_id": unit,
            "phase": 1,
            "revision": 1,
        },
    )


def order(unit: str, at: datetime, revenue: float = 30.0) -> Event:
    return Event(
        event_id=f"o-{unit}-{at.timestamp():.0f}",
        type="Order Completed",
        occurred_at=at,
        anonymous_id=unit,
        properties={"revenue": revenue, "currency": "EUR"},
    )


def a_week(*, per_day: int = 300, better: bool = True, days: int = 7) -> list[Event]:
    """Visitors in both variants every day; every tenth of control orders, every third with the banner."""
    events = []
    for day in range(days):
        for i in range(per_day):
            unit, at = f"v{day}-{i}", START + timedelta(days=day, seconds=i)
            variant = "banner" if i % 2 else "control"
            events.append(exposure(unit, variant, at))
            often = 3 if better and variant == "banner" else 10
            if (i // 2) % often == 0:
                events.append(order(unit, at + timedelta(hours=1)))
    return events


def shown(store: Store, lake: Path, events: list[Event]) -> None:
    put(store, *events)
    export_all(store, lake)
