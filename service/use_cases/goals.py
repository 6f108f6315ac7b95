"""Goals: the kept values of their metrics, and how each goal stands."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

from experiments.comparisons import estimate_of
from experiments.definitions import Metric
from experiments.goals import Goal, GoalState, Progress, progress_of
from experiments.lifecycle import Status
from experiments.moments import Moments
from service.catalog import LoadedCatalog
from service.storage.analysis_ports import Goals
from service.use_cases.goal_words import sentence
from service.use_cases.verdict_body import canonical

BACK_DAYS = 60
"""So many days are kept true; the values of older ones stay as they were."""
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


def standings(store: Goals, loaded: LoadedCatalog, *, now: datetime) -> Sequence[Standing]:
    """Return every goal with its progress: each goal before the goals that are parts of it, by key."""
    today = today_of(now)
    known = _known(store, loaded, today)
    parts: dict[str, list[Goal]] = defaultdict(list)
    for goal in sorted(loaded.goals.values(), key=lambda one: one.key):
        parts[goal.parent].append(goal)

    def walk(parent: str, depth: int) -> Iterator[Standing]:
        for goal in parts[parent]:
            yield _standing(loaded, goal, known.get(goal.key, {}), today=today, depth=depth)
            yield from walk(goal.key, depth + 1)

    return list(walk("", 0))


def counts(found: Sequence[Standing]) -> Mapping[str, int]:
    """Return how many goals stand how, without what none does."""
    numbers = ((state, sum(one.progress.state is state for one in found)) for state in GoalState)
    return {state.value: n for state, n in numbers if n}


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


def _known(store: Goals, loaded: LoadedCatalog, today: date) -> dict[str, dict[date, Moments]]:
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


def moments_text(moments: Moments, offset: int) -> str:
    """Return moments, seen at a log offset, as they are kept."""
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
    return json.dumps(sums, separators=(",", ":"))


def offset_in(sums: str) -> int:
    """Return up to which log offset was read what `moments_text` keeps."""
    return int(json.loads(sums)["offset"])


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


def today_of(now: datetime) -> date:
    """Return the UTC day of a moment."""
    return now.astimezone(UTC).date()
