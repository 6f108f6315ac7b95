"""A small real shop for tests: store, catalog, trained model, application; nothing is faked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from service.app import build_services, create_app
from service.settings import Settings, load
from service.storage.interactions import interactions_of
from service.storage.migrate import migrate
from service.storage.ports import IngestBatch
from service.storage.records import Event, Item, ReceivedEvent
from service.storage.sql import open_store
from service.use_cases.launch import apply
from service.use_cases.services import Services
from service.use_cases.slates import SlateKeeper
from service.use_cases.train import TrainReport, train
from tests.recommender.shops import a_shop

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEYS = {
    "OPPORTUNE_CLIENT_KEY": "ck_" + "c" * 32,
    "OPPORTUNE_SERVER_KEY": "sk_" + "5" * 32,
    "OPPORTUNE_SIGNING_SECRET": "s" * 48,
}
CATALOG = {
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n",
    "recommenders.yaml": """\
recommenders:
  discovery: {rank_by: model, hide: [Order Completed]}
  buy-again: {rank_by: model, only: [Order Completed]}
  bestsellers: {rank_by: popularity}
""",
    "placements.yaml": """\
placements:
  home: {recommender: discovery, slots: 6}
  reorder: {recommender: buy-again, slots: 4}
""",
}


def no_progress(_step: str, _done: int, _total: int) -> None:
    return


def an_order(event_id: str, user_id: str, items: list[str], at: datetime) -> Event:
    products = [{"item_id": item} for item in items]
    return Event(
        event_id=event_id,
        type="Order Completed",
        user_id=user_id,
        occurred_at=at,
        properties={"order_id": event_id, "products": products},
    )


def put(store: Any, *events: Event) -> None:
    received = [ReceivedEvent(event=e, received_at=NOW, source="test", trust="server") for e in events]
    store.append(IngestBatch(events=received, interactions=[interactions_of(e) for e in events]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A home folder with everything in it."""

    settings: Settings
    report: TrainReport


def make_shop(home: Path, *, people: int = 240, items: bool = True) -> Shop:
    """Fill a store with orders of `tests.recommender.shops` and train on them."""
    settings = load({"OPPORTUNE_HOME": str(home), **KEYS})
    migrate(settings.database_url)
    store = open_store(settings)
    try:
        apply(store, CATALOG, by="test", now=NOW)
        table = a_shop(n_people=people)
        start = NOW - timedelta(days=100)
        orders = []
        for event_id, lines in table.groupby("event_id"):
            at = start + timedelta(microseconds=int(lines["occurred_us"].iloc[0]))
            person = str(lines["person_id"].iloc[0])[2:]
            orders.append(an_order(str(event_id), person, list(lines["item_id"]), at))
        put(store, *orders)
        if items:
            names = sorted(set(table["item_id"]))
            store.put_items([an_item(name) for name in names])
        report = train(settings, store, now=NOW, progress=no_progress)
    finally:
        store.close()
    return Shop(settings=settings, report=report)


def an_item(name: str, *, active: bool = True) -> Item:
    number = int(name[5:8])
    return Item(
        item_id=name,
        fields={"title": f"Thing {number}", "price": 1.5},
        categories=(f"range-{number // 12}",),
        active=active,
    )


@contextmanager
def open_shop(settings: Settings) -> Iterator[tuple[Services, FlaskClient]]:
    """Give the application over a home folder; it waits for slates as long as a busy machine needs."""
    services = replace(build_services(settings), slates=SlateKeeper(patience_s=60))
    try:
        yield services, create_app(services).test_client()
    finally:
        services.store.close()
