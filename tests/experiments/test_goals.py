"""Goals: what makes no sense, and how far a goal has come compared with its time."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from experiments.definitions import Metric, MetricKind
from experiments.errors import InvalidDefinitionError
from experiments.goals import DAYS, Goal, GoalState, Target, progress_of
from experiments.moments import SCALE, Moments

BUY = Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=86_400)
GOAL = Goal(
    key="grow",
    statement="Sell more",
    metric="buy",
    baseline=0.2,
    target=Target(amount=0.6),
    owner="maria",
    start=date(2027, 1, 1),
    due=date(2027, 1, 11),
)
TODAY = date(2027, 1, 6)


def share(done: int, of: int) -> Moments:
    return Moments.of([SCALE] * done + [0] * (of - done))


@pytest.mark.parametrize(
    ("done", "state", "way"),
    [
        (10, GoalState.BEHIND, -0.25),
        (39, GoalState.BEHIND, 0.475),
        (40, GoalState.ON_TRACK, 0.5),
        (59, GoalState.ON_TRACK, 0.975),
        (60, GoalState.REACHED, 1.0),
        (80, GoalState.REACHED, 1.5),
    ],
)
def test_a_goal_is_on_track_when_its_way_is_at_least_its_time(
    done: int, state: GoalState, way: float
) -> None:
    found = progress_of(GOAL, BUY, {TODAY - timedelta(days=1): share(done, 100)}, today=TODAY)

    assert (found.state, found.elapsed, found.n) == (state, 0.5, 100)
    assert found.share == pytest.approx(way)


def test_less_is_progress_where_the_target_is_below_the_baseline() -> None:
    fewer = replace(GOAL, baseline=0.6, target=Target(amount=-0.5, relative=True))

    found = progress_of(fewer, BUY, {TODAY - timedelta(days=1): share(45, 100)}, today=TODAY)

    assert (found.state, found.share) == (GoalState.ON_TRACK, 0.5)


def test_seven_days_count_by_their_units_and_no_other_day_does() -> None:
    days = {TODAY - timedelta(days=back): share(0, 90) for back in (1, DAYS)}
    days[TODAY - timedelta(days=2)] = share(20, 20)
    days |= {TODAY - timedelta(days=back): share(500, 500) for back in (0, DAYS + 1)}

    found = progress_of(GOAL, BUY, days, today=TODAY)

    assert (found.n, found.value) == (200, 0.1)


@pytest.mark.parametrize(
    ("today", "elapsed"), [(date(2026, 12, 1), 0.0), (date(2027, 1, 1), 0.0), (date(2027, 2, 1), 1.0)]
)
def test_time_has_gone_between_none_and_all_of_it(today: date, elapsed: float) -> None:
    assert progress_of(GOAL, BUY, {}, today=today).elapsed == elapsed


def test_without_units_or_without_a_denominator_nothing_is_known() -> None:
    ratio = Metric(key="each", kind=MetricKind.RATIO, event="Order", per="Visit", window_s=86_400)
    nothing = Moments.of([0, 0], [0, 0])

    empty = progress_of(GOAL, BUY, {}, today=TODAY)
    undivided = progress_of(GOAL, ratio, {TODAY - timedelta(days=1): nothing}, today=TODAY)

    assert (empty.state, empty.value, empty.n, empty.share) == (GoalState.NO_DATA, None, 0, None)
    assert (undivided.state, undivided.value, undivided.n) == (GoalState.NO_DATA, None, 2)


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"due": GOAL.start}, "E370", ("due",)),
        ({"baseline": 0.0, "target": Target(amount=0.1, relative=True)}, "E371", ("target",)),
        ({"target": Target(amount=0.2)}, "E371", ("target",)),
        ({"target": Target(amount=0.0, relative=True)}, "E371", ("target",)),
    ],
)
def test_a_goal_that_asks_for_nothing_is_refused(
    changes: dict[str, object], code: str, path: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        replace(GOAL, **changes)  # type: ignore[arg-type]  # one member at a time, of its own type

    assert (caught.value.code, caught.value.path) == (code, path)
