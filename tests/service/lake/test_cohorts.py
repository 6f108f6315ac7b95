"""The value of a metric on a day: everybody with an event on the day whose windows have ended by then."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from experiments.definitions import Metric, MetricKind
from experiments.kinds import SeenEvent, numbers_of
from experiments.moments import Moments
from service.clock import to_micros
from service.lake import export_all
from service.lake.cohorts import Days, cohort_moments, days_of, last_offsets
from service.lake.moments import open_lake
from service.storage.records import Event
from tests.service.lake.logs import ListLog, an_event, received

DAY = date(2026, 3, 10)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
METRICS = (
    Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=86_400),
    Metric(key="spend", kind=MetricKind.MEAN, event="Order", value="total", window_s=2 * 86_400, cap=50),
    Metric(key="fast", kind=MetricKind.COUNT, event="Order", window_s=1_800, lookback_s=86_400),
    Metric(key="each", kind=MetricKind.RATIO, event="Order", value="total", per="Visit", window_s=86_400 + 1),
    Metric(key="median", kind=MetricKind.QUANTILE, event="Order", value="total", window_s=86_400),
    Metric(key="gone", kind=MetricKind.CHURN, event="Visit", window_s=86_400, after_s=3_600),
)


def a_history(seed: int, n: int = 400) -> list[Event]:
    chance = random.Random(seed)
    return [
        an_event(
            f"e{i}",
            chance.choice(["Visit", "Visit", "Order"]),
            at=MIDNIGHT + timedelta(seconds=chance.randrange(-4 * 86_400, 4 * 86_400)),
            anonymous_id=chance.choice(["a", "b", "c", "d", None]),
            user_id=chance.choice(["u", None]),
            total=chance.choice([5, 20.5, 99]),
            shop=chance.choice(["north", "south", 7, None]),
        )
        for i in range(n)
    ]


def by_hand(metric: Metric, day: date, events: Sequence[tuple[str | None, Event]]) -> Moments:
    """The definition, one unit after another."""
    first = days_of(metric, day).first
    found = []
    for unit in {unit for unit, _event in events if unit is not None}:
        mine = [event for owner, event in events if owner == unit]
        starts = [to_micros(e.occurred_at) for e in mine if e.occurred_at.date() == first]
        if starts:
            seen = [SeenEvent(e.type, to_micros(e.occurred_at) - min(starts), e.properties) for e in mine]
            numbers = numbers_of(metric, seen)
            found += [numbers] if numbers is not None else []
    columns = list(zip(*found, strict=True)) or [()]
    return Moments.of(*columns)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_day_has_the_numbers_of_everybody_who_did_anything_on_its_first_day(
    tmp_path: Path, metric: Metric, seed: int
) -> None:
    events, log = a_history(seed), ListLog()
    log.append(received(*events))
    export_all(log, tmp_path)
    shops = [(e.properties["shop"], e) for e in events if isinstance(e.properties["shop"], str)]

    with open_lake(tmp_path) as reader:
        visitors = cohort_moments(reader.engine, metric, DAY)
        in_shops = cohort_moments(reader.engine, metric, DAY, unit="shop")

    assert visitors.n > 0
    assert replace(visitors, bins=()) == by_hand(metric, DAY, [(e.anonymous_id, e) for e in events])
    assert replace(in_shops, bins=()) == by_hand(metric, DAY, shops)
    assert sum(n for _bin, n in visitors.bins) == (visitors.n if metric.key == "median" else 0)


@pytest.mark.parametrize(
    ("window_s", "days"), [(1, 1), (1_800, 1), (86_400, 1), (86_401, 2), (7 * 86_400, 7)]
)
def test_the_units_are_those_of_the_last_day_whose_windows_have_all_ended(window_s: int, days: int) -> None:
    metric = replace(METRICS[0], window_s=window_s)

    span = days_of(metric, DAY)

    assert (span.first, span.last) == (DAY - timedelta(days=days), DAY)
    latest_us = Days(span.first, span.first).last_us
    assert latest_us + window_s * 1_000_000 <= span.last_us + 1_000_000


def test_a_window_that_ends_with_the_day_has_ended(tmp_path: Path) -> None:
    log, last = ListLog(), MIDNIGHT - timedelta(microseconds=1)
    log.append(
        received(an_event("x", "Visit", at=last), an_event("o", "Order", at=last + timedelta(hours=23)))
    )
    export_all(log, tmp_path)

    with open_lake(tmp_path) as reader:
        found = cohort_moments(reader.engine, METRICS[0], DAY)

    assert (found.n, found.total) == (1, 1_000_000)


def test_a_day_without_events_has_nobody(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("x", at=MIDNIGHT)))
    export_all(log, tmp_path)

    with open_lake(tmp_path) as reader:
        assert cohort_moments(reader.engine, METRICS[1], date(2026, 1, 1)).n == 0


def test_each_day_knows_the_newest_offset_of_what_happened_on_it(tmp_path: Path) -> None:
    log = ListLog()
    log.append(
        received(*(an_event(f"e{i}", at=MIDNIGHT + timedelta(days=day)) for i, day in enumerate((0, 1, 0))))
    )
    export_all(log, tmp_path)

    with open_lake(tmp_path) as reader:
        found = last_offsets(reader.engine, Days(DAY, DAY + timedelta(days=5)))

    assert found == {DAY: 3, DAY + timedelta(days=1): 2}
