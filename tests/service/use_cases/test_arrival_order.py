"""100,000 events through intake, lake and verdict: in order and once, then shuffled, repeated and late."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.assignment import variant_of
from service.app import build_services, shut_down
from service.catalog import load
from service.lake import export_all
from service.storage.records import KeyClass
from service.use_cases.access import Caller
from service.use_cases.ingest import ingest
from service.use_cases.judge import refresh_verdicts
from tests.service.use_cases.shops import FILES, KEY, START, a_store, launched, settings_in

N_EVENTS = 100_000
DAYS = 28
LATEST = timedelta(days=7)
N_REPEATED = N_EVENTS // 5
BATCH = 500
MAY_DIFFER = frozenset({"log_offset"})
"""All that the order, the repeats and the lateness of events may change in a verdict."""

EXPERIMENT = load(FILES).catalog.experiments[KEY]
SHOP = Caller(KeyClass.SERVER, "sk:test", "")
MOST_VIEWS = 4

Raw = dict[str, Any]


class Arriving(NamedTuple):
    """One event on its way to the service."""

    at: datetime
    raw: Raw


def test_shuffled_repeated_and_late_events_give_the_verdict_of_those_in_order(tmp_path: Path) -> None:
    draw = random.Random(17)
    happened = sorted(a_month(draw), key=lambda one: one.at)[:N_EVENTS]
    late = late_and_repeated(draw, happened)

    once, expected = arrived(tmp_path / "once", happened, looks=1)
    often, verdict = arrived(tmp_path / "often", late, looks=4)

    assert sum(once.values()) == N_EVENTS
    assert sum(often.values()) == N_EVENTS + N_REPEATED
    assert often["accepted"] == once["accepted"]
    assert often["duplicate"] > N_REPEATED * 0.9
    assert as_text(verdict) == as_text(expected)
    assert expected["decision"] == "ship"
    assert len(expected["series"][0]["points"]) > DAYS - 5
    assert expected["exposure"]["quarantined"].keys() == {"not_enrolled", "override", "variant_mismatch"}
    assert expected["exposure"]["repeats"] > 1_000
    assert expected["exposure"]["contaminated_units"] > 100


def as_text(verdict: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in verdict.items() if name not in MAY_DIFFER}
    return json.dumps(kept, sort_keys=True, indent=1)


def arrived(home: Path, sent: Sequence[Arriving], *, looks: int) -> tuple[Counter[str], dict[str, Any]]:
    """Send all in batches, judging `looks` times; return what became of the events, and the verdict."""
    lake = home / "lake"
    with a_store(home) as store:
        launched(store)
    services = build_services(settings_in(home))
    statuses: Counter[str] = Counter()
    batches = [sent[start : start + BATCH] for start in range(0, len(sent), BATCH)]
    try:
        for number, batch in enumerate(batches, start=1):
            now = batch[-1].at
            told = replace(services, clock=partial(datetime.fromtimestamp, now.timestamp(), UTC))
            statuses.update(
                r["status"] for r in ingest(told, [one.raw for one in batch], caller=SHOP, source="events")
            )
            if number % -(-len(batches) // looks) == 0 or number == len(batches):
                export_all(services.store, lake)
                refresh_verdicts(services.store, lake, now=now, settled=True)
        snapshot = services.store.latest_verdict(KEY)
    finally:
        shut_down(services)
    assert snapshot is not None
    verdict: dict[str, Any] = json.loads(snapshot.body)
    return statuses, verdict


def late_and_repeated(draw: random.Random, happened: Sequence[Arriving]) -> list[Arriving]:
    """Return everything, a fifth of it twice, each up to seven days after it happened."""
    sent = [*happened, *draw.sample(happened, N_REPEATED)]
    delayed = [Arriving(one.at + draw.random() * LATEST, one.raw) for one in sent]
    return sorted(delayed, key=lambda one: one.at)


def a_month(draw: random.Random) -> Iterator[Arriving]:
    """Visitors come on any day, some on a second device; the banner sells a little better."""
    for i in range(N_EVENTS // 3):
        visitor = f"v{draw.getrandbits(64):016x}"
        at = START + draw.random() * timedelta(days=DAYS - 1)
        yield from a_visit(draw, i, visitor, at)


def a_visit(draw: random.Random, i: int, visitor: str, at: datetime) -> Iterator[Arriving]:
    variant = variant_of(EXPERIMENT, visitor)
    yield an_event(f"x{i}", "Experiment Viewed", at, visitor, seen(visitor, str(variant)))
    for n in range(draw.randrange(MOST_VIEWS)):
        yield an_event(
            f"p{i}-{n}", "Product Viewed", later(draw, at, hours=30), visitor, {"product_id": f"p{n}"}
        )
    if draw.random() < 0.2:
        yield an_event(
            f"r{i}", "Experiment Viewed", later(draw, at, hours=40), visitor, seen(visitor, str(variant))
        )
    if draw.random() < (0.30 if variant == "banner" else 0.24):
        paid = {
            "revenue": round(draw.lognormvariate(3, 1), 2),
            "currency": draw.choice(("EUR", "EUR", "GBP")),
        }
        yield an_event(f"o{i}", "Order Completed", later(draw, at, hours=30), visitor, paid)
    if draw.random() < 0.02:
        yield an_event(f"b{i}", "Order Refunded", later(draw, at, hours=23), visitor, {})
    if draw.random() < 0.15:
        # Few enough accounts that some have several devices.
        account = f"u{draw.randrange(N_EVENTS // 60)}"
        yield an_event(f"i{i}", "User Identified", later(draw, at, hours=9), visitor, {}, user_id=account)
    if draw.random() < 0.02:
        wrong = draw.choice(
            (
                {"variant_key": "control" if variant == "banner" else "banner"},
                {"decision": "override"},
                {"variant_key": "default"},
            )
        )
        yield an_event(
            f"w{i}",
            "Experiment Viewed",
            later(draw, at, hours=9),
            visitor,
            seen(visitor, str(variant)) | wrong,
        )


def later(draw: random.Random, at: datetime, *, hours: int) -> datetime:
    return at + timedelta(seconds=draw.randrange(hours * 3_600))


def seen(visitor: str, variant: str) -> Raw:
    return {
        "experiment_key": KEY,
        "variant_key": variant,
        "unit_type": "anonymous_id",
        "unit_id": visitor,
        "phase": 1,
        "revision": 1,
    }


def an_event(event_id: str, type_: str, at: datetime, visitor: str, properties: Raw, **ids: str) -> Arriving:
    raw = {
        "event_id": event_id,
        "type": type_,
        "anonymous_id": visitor,
        "occurred_at": at.isoformat(),
        "properties": properties,
        **ids,
    }
    return Arriving(at, raw)
