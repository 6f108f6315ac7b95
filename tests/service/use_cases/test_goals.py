"""Goals: values kept day by day, computed again when they must be, and how each goal stands."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from experiments.definitions import Metric, MetricKind
from experiments.goals import Goal, GoalState, Progress, Target
from service.lake import export_all, forget
from service.lake.moments import open_lake
from service.storage.ports import Store
from service.storage.records import Event
from service.storage.sql import open_store
from service.use_cases.goal_words import sentence
from service.use_cases.goals import BACK_DAYS, Standing, definition_digest, standings
from service.use_cases.goals_pass import AT_ONCE, GoalKeeper, refresh_goals
from service.use_cases.launch import live_catalog
from tests.service.use_cases.shops import FILES, a_store, a_week, launched, put, settings_in

TODAY = date(2026, 3, 10)
NOW = datetime(2026, 3, 10, 8, tzinfo=UTC)
GOALS = """\
goals:
  grow: {statement: Sell more, metric: purchase, baseline: 10%, target: 20%, owner: maria, start: 2026-03-01,
    due: 2026-03-11}
  spend: {statement: Larger baskets, metric: revenue, baseline: 2, target: '+900%', owner: li.na,
    start: 2026-03-01, due: 2026-04-01, parent: grow}
  refunds: {statement: Fewer refunds, metric: refunds, baseline: 2%, target: 1%, owner: li.na,
    start: 2026-03-01, due: 2026-04-01, parent: spend}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as opened:
        launched(opened, {**FILES, "goals.yaml": GOALS})
        yield opened


def told(store: Store, home: Path, *events: Event) -> None:
    put(store, *events)
    export_all(store, home / "lake")


def refreshed(store: Store, home: Path, *, limit: int = 1_000, today: date = TODAY) -> int:
    loaded = live_catalog(store)
    assert loaded is not None
    with open_lake(home / "lake") as reader:
        return refresh_goals(store, reader.engine, loaded, today=today, limit=limit)


def found(store: Store, now: datetime = NOW) -> Sequence[Standing]:
    loaded = live_catalog(store)
    assert loaded is not None
    return standings(store, loaded, now=now)


def test_goals_stand_as_the_last_seven_days_say_each_before_its_parts(store: Store, home: Path) -> None:
    told(store, home, *a_week(per_day=30))
    refreshed(store, home)

    grow, spend, refunds = found(store)

    assert [s.goal.key for s in (grow, spend, refunds)] == ["grow", "spend", "refunds"]
    assert [s.depth for s in (grow, spend, refunds)] == [0, 1, 2]
    # Of the 30 units of a day, 15 in control: 2 of them order; 15 with the banner: 5 of them do.
    assert (grow.progress.value, grow.progress.n) == (7 / 30, 210)
    assert (grow.progress.state, grow.experiments) == (GoalState.REACHED, ("free-shipping",))
    assert grow.text == "Reached: 23.33 % over the last 7 days; the target is 20.00 %."
    assert spend.progress.value == 7.0
    assert spend.text == (
        "Behind: 7.00 EUR over the last 7 days is 27 % of the way from 2.00 EUR to 20.00 EUR (+900 %), "
        "with 29 % of the time gone."
    )
    assert refunds.progress.state is GoalState.REACHED
    last = grow.points[-1]
    assert (last.day, last.n, last.value) == (date(2026, 3, 9), 30, 7 / 30)
    assert len(grow.points) == BACK_DAYS


def test_a_few_values_at_a_time_newest_first_and_each_once(store: Store, home: Path) -> None:
    told(store, home, *a_week(per_day=10))

    assert refreshed(store, home, limit=4) == 4
    rows = store.goal_values(["grow", "spend", "refunds"], since="")
    computed = [row.day for row in rows if '"n":0,' not in row.sums]
    assert computed == ["2026-03-08", "2026-03-09", "2026-03-09", "2026-03-09"]
    assert refreshed(store, home) == 3 * 7 - 4
    assert refreshed(store, home) == 0


def test_late_events_make_only_the_days_that_read_them_new(store: Store, home: Path) -> None:
    told(store, home, *a_week(per_day=10))
    refreshed(store, home)
    before = found(store)[0].progress

    late = [replace(e, event_id=f"late-{e.event_id}", anonymous_id="late") for e in a_week(per_day=1, days=1)]
    told(store, home, *late)

    # 2 March is read by the value of the day after, one day being the window.
    assert refreshed(store, home) == 3
    assert found(store)[0].progress.n == before.n + 1


def test_a_late_event_does_not_replace_the_value_of_days_that_are_partly_dropped(
    store: Store, home: Path
) -> None:
    files = {**FILES, "goals.yaml": GOALS, "data.yaml": "data: {keep: {events: 30d}}\n"}
    launched(store, files)
    for event in a_week(per_day=10):
        put(store, event, at=event.occurred_at)
    told(store, home)
    refreshed(store, home)
    before = {p.day: p.n for p in found(store)[0].points if p.n}
    edge = date(2026, 3, 5)
    assert forget(home / "lake", events_before=edge, interactions_before=edge) > 0
    late = [replace(e, event_id=f"late-{e.event_id}", anonymous_id="late") for e in a_week(per_day=1)]
    put(store, *late, at=NOW)
    told(store, home)

    refreshed(store, home, today=edge + timedelta(days=30))

    after = {p.day: p.n for p in found(store)[0].points if p.n}
    # A value of 5 March reads the 4th, too, which is gone.
    assert after == {day: n + (day > edge) for day, n in before.items()}


def test_another_definition_is_computed_anew_another_label_is_not(store: Store, home: Path) -> None:
    told(store, home, *a_week(per_day=10))
    refreshed(store, home)
    files = {**FILES, "goals.yaml": GOALS}
    metrics = files["metrics.yaml"]

    launched(store, {**files, "metrics.yaml": metrics.replace("placed an order", "bought")})
    after_label = refreshed(store, home)
    launched(store, {**files, "metrics.yaml": metrics.replace("revenue, currency: EUR", "revenue")})
    shown = found(store)[1]

    assert after_label == 0
    assert (shown.progress.state, shown.points) == (GoalState.NO_DATA, ())
    assert shown.text == "No data yet: the worker has not computed a day yet."
    assert refreshed(store, home) == 7


def test_the_worker_keeps_goals_once_a_day(store: Store, home: Path) -> None:
    told(store, home, *a_week(per_day=10))
    with closing(open_store(settings_in(home))) as other:
        keeper = GoalKeeper(settings_in(home), other)
        keeper.look(now=NOW)

        # It rests after a step, and the values are there for anybody who restarts it.
        keeper.look(now=NOW)

    rows = store.goal_values(["grow", "spend", "refunds"], since="")
    assert sum('"n":0,' not in row.sums for row in rows) == AT_ONCE


def test_without_goals_nothing_is_asked_of_the_lake(tmp_path: Path) -> None:
    home = tmp_path / "bare"
    with a_store(home) as store:
        launched(store)

        GoalKeeper(settings_in(home), store).look(now=NOW)

        assert not (home / "lake").exists()


PURCHASE = Metric(key="purchase", kind=MetricKind.CONVERSION, event="Order Completed", window_s=7 * 86_400)
EACH = Metric(key="each", kind=MetricKind.RATIO, event="Order", per="Visit", window_s=86_400)
GOAL = Goal(
    key="grow",
    statement="Sell more",
    metric="purchase",
    baseline=0.1,
    target=Target(amount=0.2),
    owner="maria",
    start=date(2026, 3, 1),
    due=date(2026, 3, 11),
)


@pytest.mark.parametrize(
    ("metric", "progress", "today", "said"),
    [
        (
            PURCHASE,
            Progress(state=GoalState.ON_TRACK, value=0.199, n=10, share=0.999, elapsed=0.9),
            date(2026, 3, 10),
            (
                "On track: 19.90 % over the last 7 days is 99 % of the way from 10.00 % to 20.00 %, "
                "with 90 % of the time gone."
            ),
        ),
        (
            PURCHASE,
            Progress(state=GoalState.BEHIND, value=0.15, n=10, share=0.5, elapsed=1.0),
            date(2026, 3, 11),
            (
                "Behind: it was due on 2026-03-11; 15.00 % over the last 7 days is 50 % of the way from "
                "10.00 % to 20.00 %."
            ),
        ),
        (
            PURCHASE,
            Progress(state=GoalState.BEHIND, value=0.05, n=10, share=-0.5, elapsed=0.5),
            date(2026, 3, 6),
            (
                "Behind: 5.00 % over the last 7 days is further from the target of 20.00 % than the baseline "
                "of 10.00 %, with 50 % of the time gone."
            ),
        ),
        (
            PURCHASE,
            Progress(state=GoalState.NO_DATA, value=None, n=0, share=None, elapsed=0.5),
            date(2026, 3, 6),
            "No data yet: nobody did anything on the days whose windows of 7d ended in the last 7 days.",
        ),
        (
            EACH,
            Progress(state=GoalState.NO_DATA, value=None, n=3, share=None, elapsed=0.5),
            date(2026, 3, 6),
            "No data yet: none of the 3 units of the last 7 days has what the metric is divided by.",
        ),
    ],
)
def test_how_a_goal_stands_is_one_sentence(
    metric: Metric, progress: Progress, today: date, said: str
) -> None:
    assert sentence(GOAL, metric, progress, computed=True, today=today) == said


def test_what_only_people_read_is_no_other_definition() -> None:
    same = replace(PURCHASE, key="other", label="bought")

    assert definition_digest(same) == definition_digest(PURCHASE)
    assert definition_digest(replace(PURCHASE, window_s=86_400)) != definition_digest(PURCHASE)
