"""Goals: their metrics day by day, kept by the worker, and how each goal stands."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

from experiments.comparisons import estimate_of
from experiments.definitions import Metric
from experiments.goals import Goal, GoalState, Progress, progress_of
from experiments.lifecycle import Status
from experiments.moments import NOTHING, Moments
from service.catalog import LoadedCatalog
from service.lake.cohorts import Days, cohort_moments, days_of, last_offsets
from service.lake.engine import Engine
from service.lake.moments import open_lake
from service.log import logger
from service.settings import Settings
from service.storage.analysis_records import GoalValue
from service.storage.ports import Store
from service.use_cases.goal_words import sentence
from service.use_cases.judge import live_catalog
from service.use_cases.verdict_body import canonical

BACK_DAYS = 60
"""So many days are kept true; the values of older ones stay as they were."""
AT_ONCE = 8
LOOK_EVERY_S = 3_600.0
SHARE_OF_TIME = 3
_FOR_PEOPLE = frozenset({"key", "label", "direction", "owner", "unit", "lookback_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The metric of a goal on one day: its value, None without units, of `n` units."""

    day: date
    value: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one goal stands; `depth` counts the goals that it is a part of, `text` is a sentence."""

    goal: Goal
    metric: Metric
    progress: Progress
    text: str
    points: tuple[Point, ...]
    experiments: tuple[str, ...]
    depth: int


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
        place = (self._store.live_state().revision, now.astimezone(UTC).date())
        if place == self._seen and started < self._look_after:
            return
        computed = self._refresh(now)
        ended = time.monotonic()
        self._rest_until = ended + SHARE_OF_TIME * (ended - started)
        if computed < AT_ONCE:
            self._seen, self._look_after = place, ended + LOOK_EVERY_S

    def _refresh(self, now: datetime) -> int:
        loaded = live_catalog(self._store)[1]
        if not loaded.goals:
            return 0
        with open_lake(self._settings.lake) as reader:
            computed = refresh_goals(self._store, reader.engine, loaded, today=_today(now))
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


def standings(store: Store, loaded: LoadedCatalog, *, now: datetime) -> Sequence[Standing]:
    """Return every goal with its progress: each goal before the goals that are parts of it, by key."""
    today = _today(now)
    known = _known(store, loaded, today)
    parts: dict[str, list[Goal]] = defaultdict(list)
    for goal in sorted(loaded.goals.values(), key=lambda one: one.key):
        parts[goal.parent].append(goal)

    def walk(parent: str, depth: int) -> Iterator[Standing]:
        for goal in parts[parent]:
            yield _standing(loaded, goal, known.get(goal.key, {}), today=today, depth=depth)
            yield from walk(goal.key, depth + 1)

    return list(walk("", 0))


def counts(found: Sequence[Standing]) -> Mapping[GoalState, int]:
    """Return how many goals stand how."""
    return {state: sum(one.progress.state is state for one in found) for state in GoalState}


def members(standing: Standing) -> dict[str, object]:
    """Return the wire form of a goal."""
    goal, progress = standing.goal, standing.progress
    return {
        "goal": goal.key,
        "statement": goal.statement,
        "metric": goal.metric,
        "owner": goal.owner,
        "start": goal.start.isoformat(),
        "due": goal.due.isoformat(),
        "parent": goal.parent,
        "baseline": goal.baseline,
        "target": goal.target_value,
        "value": progress.value,
        "n": progress.n,
        "progress": progress.share,
        "elapsed": progress.elapsed,
        "state": progress.state.value,
        "text": standing.text,
        "experiments": list(standing.experiments),
        "days": [{"day": p.day.isoformat(), "value": p.value, "n": p.n} for p in standing.points],
    }


def definition_digest(metric: Metric) -> str:
    """Return the sha256 of what a metric computes; what only people read does not matter."""
    told = {
        f.name: getattr(metric, f.name) for f in fields(metric) if f.compare and f.name not in _FOR_PEOPLE
    }
    return hashlib.sha256(canonical(told).encode()).hexdigest()


def _due(
    store: Store, engine: Engine, loaded: LoadedCatalog, today: date
) -> Iterator[tuple[Goal, Metric, date, bool]]:
    """Yield values that are missing or old, each with whether anybody did anything on the day of its units."""
    pairs = [(goal, loaded.catalog.metrics[goal.metric]) for goal in loaded.goals.values()]
    last = today - timedelta(days=1)
    days = [last - timedelta(days=back) for back in range(BACK_DAYS)]
    first = min((days_of(metric, days[-1]).first for _goal, metric in pairs), default=last)
    offsets = last_offsets(engine, Days(first, last))
    rows = store.goal_values(loaded.goals.keys(), since=days[-1].isoformat())
    kept = {(row.goal, row.day): row for row in rows}
    for day in days:
        for goal, metric in pairs:
            row = kept.get((goal.key, day.isoformat()))
            span = days_of(metric, day)
            newest = max((seq for on, seq in offsets.items() if span.first <= on <= span.last), default=0)
            if not row or row.digest != definition_digest(metric) or newest > json.loads(row.sums)["offset"]:
                yield goal, metric, day, span.first in offsets


def _known(store: Store, loaded: LoadedCatalog, today: date) -> dict[str, dict[date, Moments]]:
    """Return the values of each goal by day, without those of another definition of its metric."""
    since = today - timedelta(days=BACK_DAYS)
    digests = {
        goal.key: definition_digest(loaded.catalog.metrics[goal.metric]) for goal in loaded.goals.values()
    }
    found: dict[str, dict[date, Moments]] = defaultdict(dict)
    for row in store.goal_values(digests.keys(), since=since.isoformat()):
        if row.digest == digests[row.goal]:
            found[row.goal][date.fromisoformat(row.day)] = _moments(row.sums)
    return found


def _standing(
    loaded: LoadedCatalog, goal: Goal, days: Mapping[date, Moments], *, today: date, depth: int
) -> Standing:
    metric = loaded.catalog.metrics[goal.metric]
    progress = progress_of(goal, metric, days, today=today)
    points = [
        Point(day=day, value=estimate_of(metric, moments), n=moments.n)
        for day, moments in sorted(days.items())
    ]
    running = (
        experiment.key
        for experiment in loaded.catalog.experiments.values()
        if experiment.status is Status.RUNNING and experiment.metrics.primary == goal.metric
    )
    return Standing(
        goal=goal,
        metric=metric,
        progress=progress,
        text=sentence(goal, metric, progress, computed=bool(days), today=today),
        points=tuple(points),
        experiments=tuple(sorted(running)),
        depth=depth,
    )


def _value(goal: Goal, metric: Metric, day: date, moments: Moments, offset: int) -> GoalValue:
    # As text: sums outgrow the 53 bits in which some readers of JSON keep a number.
    sums = {
        "n": moments.n,
        "total": str(moments.total),
        "total_sq": str(moments.total_sq),
        "others": [str(number) for number in moments.others],
        "products": [str(number) for number in moments.products],
        "bins": [list(pair) for pair in moments.bins],
        "offset": offset,
    }
    text = json.dumps(sums, separators=(",", ":"))
    return GoalValue(goal=goal.key, day=day.isoformat(), digest=definition_digest(metric), sums=text)


def _moments(sums: str) -> Moments:
    told = json.loads(sums)
    return Moments(
        n=told["n"],
        total=int(told["total"]),
        total_sq=int(told["total_sq"]),
        others=tuple(map(int, told["others"])),
        products=tuple(map(int, told["products"])),
        bins=tuple((bin_, n) for bin_, n in told["bins"]),
    )


def _today(now: datetime) -> date:
    return now.astimezone(UTC).date()
