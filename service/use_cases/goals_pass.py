"""The values of goals' metrics day by day, kept by the worker: missing ones, and those that are old."""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from experiments.definitions import Metric
from experiments.goals import Goal
from experiments.moments import NOTHING, Moments
from service.catalog import LoadedCatalog
from service.lake.cohorts import Days, cohort_moments, days_of, last_offsets
from service.lake.engine import Engine
from service.lake.moments import open_lake
from service.log import logger
from service.settings import Settings
from service.storage.analysis_records import GoalValue
from service.storage.ports import Store
from service.use_cases.goals import BACK_DAYS, definition_digest, moments_text, offset_in, today_of
from service.use_cases.judge import judged_catalog

AT_ONCE = 8
LOOK_EVERY_S = 3_600.0
SHARE_OF_TIME = 3


class GoalKeeper:
    """Keeps the values of goals: once a day, and soon after late events or another definition."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._seen: object = None
        self._rest_until = 0.0
        self._look_after = 0.0

    def look(self, *, now: datetime) -> None:
        """Compute a few values that are missing or old, if it is time to look for some."""
        started = time.monotonic()
        if started < self._rest_until:
            return
        place = (self._store.live_state().revision, today_of(now))
        if place == self._seen and started < self._look_after:
            return
        computed = self._refresh(now)
        ended = time.monotonic()
        self._rest_until = ended + SHARE_OF_TIME * (ended - started)
        if computed < AT_ONCE:
            self._seen, self._look_after = place, ended + LOOK_EVERY_S

    def _refresh(self, now: datetime) -> int:
        loaded = judged_catalog(self._store)[1]
        if not loaded.goals:
            return 0
        with open_lake(self._settings.lake) as reader:
            computed = refresh_goals(self._store, reader.engine, loaded, today=today_of(now))
        if computed:
            logger().info("goals_refreshed", computed=computed)
        return computed


def refresh_goals(
    store: Store, engine: Engine, loaded: LoadedCatalog, *, today: date, limit: int = AT_ONCE
) -> int:
    """Compute up to `limit` values that are missing or old, newest days first; return how many it were.

    A value is old when events arrived since that it reads, or when the definition of its metric is another.
    Days on which nobody did anything need no computing, and all get their value at once.
    """
    computed, empty = 0, []
    for goal, metric, day, anybody in _due(store, engine, loaded, today):
        if not anybody:
            empty.append(_value(goal, metric, day, NOTHING, engine.offset))
        elif computed < limit:
            moments = cohort_moments(engine, metric, day)
            store.put_goal_values([_value(goal, metric, day, moments, engine.offset)])
            computed += 1
    store.put_goal_values(empty)
    return computed


def _due(
    store: Store, engine: Engine, loaded: LoadedCatalog, today: date
) -> Iterator[tuple[Goal, Metric, date, bool]]:
    """Yield values that are missing or old, each with whether its units, if any, did anything.

    Never those that read days of which events may be dropped already: what is stored of them is all there is.
    """
    pairs = [(goal, loaded.catalog.metrics[goal.metric]) for goal in loaded.goals.values()]
    last, edge = today - timedelta(days=1), today - timedelta(days=loaded.data.keep.events)
    days = [last - timedelta(days=back) for back in range(BACK_DAYS)]
    first = min((days_of(metric, days[-1]).first for _goal, metric in pairs), default=last)
    offsets = last_offsets(engine, Days(first, last))
    rows = store.goal_values(loaded.goals.keys(), since=days[-1].isoformat())
    kept = {(row.goal, row.day): row for row in rows}
    for day in days:
        for goal, metric in pairs:
            row = kept.get((goal.key, day.isoformat()))
            span = days_of(metric, day)
            if span.first < edge:
                continue
            newest = max((seq for on, seq in offsets.items() if span.first <= on <= span.last), default=0)
            if not row or row.digest != definition_digest(metric) or newest > offset_in(row.sums):
                yield goal, metric, day, span.first in offsets


def _value(goal: Goal, metric: Metric, day: date, moments: Moments, offset: int) -> GoalValue:
    return GoalValue(
        goal=goal.key,
        day=day.isoformat(),
        digest=definition_digest(metric),
        sums=moments_text(moments, offset),
    )
