from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.assignment import variant_of
from experiments.definitions import Experiment, Metric, MetricKind, MetricPlan, Variant
from experiments.errors import InvalidParameterError
from service.clock import to_micros
from service.lake import export
from service.lake.moments import open_lake
from service.storage.ports import IngestBatch
from service.storage.records import Event, ReceivedEvent
from service.use_cases.demo_data import CUTOFF, read_orders, week_shift
from service.use_cases.demo_evidence import Scene, Stream
from service.use_cases.demo_people import DAY_US, People, World
from service.use_cases.demo_replay import Replay, Ticket
from service.use_cases.judge import account_of
from tests.service.lake.logs import ListLog

NOW = datetime(2027, 3, 4, 15, 9, tzinfo=UTC)
DAY_S = 86_400
N_PEOPLE, N_DAYS, LIFT = 1_500, 20, 0.5
PURCHASE = Metric(key="purchase", kind=MetricKind.CONVERSION, event="Order Completed", window_s=7 * DAY_S)
ORDERS = Metric(key="orders", kind=MetricKind.COUNT, event="Order Completed", window_s=5 * DAY_S)
REVENUE = Metric(
    key="revenue",
    kind=MetricKind.MEAN,
    event="Order Completed",
    value="revenue",
    window_s=7 * DAY_S,
    cap=300.0,
)
REFUND = Metric(key="refund", kind=MetricKind.CONVERSION, event="Order Refunded", window_s=7 * DAY_S)
METRICS = (PURCHASE, ORDERS, REVENUE, REFUND)
EXPERIMENT = Experiment(
    key="banner",
    variants=(
        Variant(key="control", value="", weight_bp=5_000),
        Variant(key="banner", value="x", weight_bp=5_000),
    ),
    metrics=MetricPlan(primary="purchase", secondary=("orders", "revenue", "refund")),
    allocation_bp=8_000,
)


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(read_orders())


@pytest.fixture(scope="module")
def people(world: World) -> People:
    return People.draw(world, n_people=N_PEOPLE, n_days=N_DAYS, seed=3)


@pytest.fixture(scope="module")
def replayed(world: World, people: People) -> list[dict[str, Any]]:
    return play(new_replay(world, people, lift=LIFT))


def new_replay(world: World, people: People, *, lift: float) -> Replay:
    return Replay(world=world, people=people, shift=week_shift(NOW), lift=lift)


def ticket(unit_id: str) -> Ticket:
    key = variant_of(EXPERIMENT, unit_id)
    return Ticket(
        experiment="banner",
        variant=key or "default",
        value="",
        enrolled=key is not None,
        phase=1,
        revision=1,
    )


def play(replay: Replay, slate: frozenset[str] | None = None) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for day in range(N_DAYS):
        for person in replay.arrivals(day):
            main = ticket(replay.people.ids[person])
            replay.admit(person, main, None, control="control", slate=slate)
        events += replay.events(day)
    return events


def scene(world: World, people: People) -> Scene:
    places = {"control": 0, "banner": 1, None: -1}
    variant = np.array([places[variant_of(EXPERIMENT, i)] for i in people.ids], np.int64)
    return Scene.of(world, people, variant=variant, lift=LIFT)


@pytest.fixture(scope="module")
def stream(world: World, people: People) -> Stream:
    return scene(world, people).stream(EXPERIMENT, METRICS)


def test_events_come_in_strict_order_of_event_time_and_never_twice(replayed: list[dict[str, Any]]) -> None:
    times = [event["occurred_at"] for event in replayed]

    assert times == sorted(times)
    assert len({event["event_id"] for event in replayed}) == len(replayed)
    assert {e["type"] for e in replayed} == {
        "Page Viewed",
        "Experiment Viewed",
        "Order Completed",
        "Order Refunded",
    }


def test_visits_are_labelled_synthetic_and_orders_are_not(replayed: list[dict[str, Any]]) -> None:
    labels = {(e["type"], e["properties"].get("synthetic")) for e in replayed}

    assert ("Page Viewed", True) in labels
    assert ("Order Completed", None) in labels
    assert len([kind for kind, synthetic in labels if synthetic]) == 1


def test_a_control_person_loses_all_purchases_after_the_arrival_or_none(world: World, people: People) -> None:
    replay = new_replay(world, people, lift=LIFT)
    sent = Counter(e["anonymous_id"] for e in play(replay) if e["type"] == "Order Completed")
    untouched = new_replay(world, people, lift=0.0)
    whole = Counter(e["anonymous_id"] for e in play(untouched) if e["type"] == "Order Completed")

    later = Counter(
        e["anonymous_id"]
        for e in play(new_replay(world, people, lift=0.0))
        if e["type"] == "Order Completed" and e["occurred_at"] >= arrival(untouched, e["anonymous_id"])
    )
    losers = {people.ids[p] for p, v in replay.visitors.items() if v.loses}
    assert losers
    for unit_id, n in whole.items():
        assert sent[unit_id] == (n - later[unit_id] if unit_id in losers else n)
    controls = {p for p in range(N_PEOPLE) if ticket(people.ids[p]).variant == "control"}
    assert {p for p, v in replay.visitors.items() if v.loses} <= controls


def arrival(replay: Replay, unit_id: str) -> str:
    at_us = int(replay.people.arrival_us[replay.people.ids.index(unit_id)])
    return replay.at(at_us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_only_the_next_order_says_whether_it_holds_an_item_of_the_slate(world: World, people: People) -> None:
    every_item = frozenset(line.item_id for order in world.later for line in order.lines)
    replay = new_replay(world, people, lift=0.0)
    marked = [e for e in play(replay, slate=every_item) if "contains_slate_item" in e["properties"]]

    assert marked
    assert all(e["properties"]["contains_slate_item"] is True for e in marked)
    assert max(Counter(e["anonymous_id"] for e in marked).values()) == 1
    nothing = play(new_replay(world, people, lift=0.0), slate=frozenset())
    assert {e["properties"].get("contains_slate_item") for e in nothing} == {None, False}
    assert not any(
        "contains_slate_item" in e["properties"] for e in play(new_replay(world, people, lift=0.0))
    )


def test_history_is_one_bounded_order_for_each_person_in_order(world: World, people: People) -> None:
    past = list(new_replay(world, people, lift=0.0).history(range(400)))

    assert sorted(e["anonymous_id"] for e in past) == sorted(people.ids[:400])
    times = [e["occurred_at"] for e in past]
    assert times == sorted(times)
    assert times[-1] < (CUTOFF + week_shift(NOW)).isoformat()
    assert max(len(e["properties"]["products"]) for e in past) == 10


def test_the_judge_without_http_sees_exactly_what_the_lake_counts(
    replayed: list[dict[str, Any]], stream: Stream, tmp_path: Path
) -> None:
    log = ListLog()
    log.append(IngestBatch(events=[stored(event) for event in replayed]))
    while export(log, tmp_path) < log.last_seq():
        pass
    shift = week_shift(NOW)
    evidence = stream.evidence(N_DAYS)

    with open_lake(tmp_path) as reader:
        facts = reader.facts(EXPERIMENT, METRICS, until_us=to_micros(CUTOFF + shift) + N_DAYS * DAY_US - 1)

    expected = {(p.metric, p.variant, p.period + shift): p.moments for p in evidence.periods}
    assert {(p.metric, p.variant, p.period): p.moments for p in facts.periods} == expected
    assert {(a.period, a.variant, a.n) for a in facts.arrivals} == {
        (a.period + shift, a.variant, a.n) for a in evidence.arrivals
    }
    assert account_of(facts, primary="purchase", quarantined={}) == evidence.account


def stored(raw: dict[str, Any]) -> ReceivedEvent:
    event = Event(
        event_id=raw["event_id"],
        type=raw["type"],
        occurred_at=datetime.fromisoformat(raw["occurred_at"]),
        anonymous_id=raw["anonymous_id"],
        properties=raw["properties"],
    )
    return ReceivedEvent(event=event, received_at=NOW, source="events", trust="server")


@pytest.mark.parametrize("n_days", [1, 8, 20])
def test_the_accounts_add_up_on_every_day(stream: Stream, n_days: int) -> None:
    account = stream.evidence(n_days).account

    assert account.events == account.first + account.repeats
    assert sum(account.exposed_units.values()) == account.first
    assert account.first == sum(account.excluded.values()) + sum(account.analysed.values())
    totals = stream.primary_totals(n_days)
    assert sum(n for _, n in totals) == sum(account.analysed.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "Product Clicked"},
        {"kind": MetricKind.RATIO, "per": "Order Completed"},
        {"lookback_s": DAY_S},
        {"where": {"kind": "tea"}},
    ],
)
def test_a_metric_that_orders_cannot_tell_is_refused(
    world: World, people: People, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidParameterError, match="orders"):
        scene(world, people).values(replace(ORDERS, **changes))


def test_the_shift_moves_everything_by_whole_weeks(replayed: list[dict[str, Any]]) -> None:
    first = datetime.fromisoformat(replayed[0]["occurred_at"])

    assert timedelta(0) <= first - (CUTOFF + week_shift(NOW)) < timedelta(days=1)
