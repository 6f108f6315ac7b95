"""The page of goals: a tree, and for each goal a bar, a line of its days, who owns it and when it is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from experiments.goals import GoalState
from service.dashboard.frame import readers_only, services
from service.use_cases.goal_words import WORDS, share_words, target_words, value_words
from service.use_cases.goals import BACK_DAYS, Point, Standing, standings

bp = Blueprint("goals", __name__)

WIDTH, HEIGHT, EDGE = 240.0, 48.0, 4.0
ICONS = {
    GoalState.REACHED: "ship",
    GoalState.ON_TRACK: "keep_running",
    GoalState.BEHIND: "warning",
    GoalState.NO_DATA: "inconclusive",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """A small line in the coordinates of a WIDTH x HEIGHT view box, one `line` for each stretch of days.

    `target` and `baseline` are heights; `last` is the place of the newest value.
    """

    title: str
    lines: tuple[str, ...]
    target: float
    baseline: float
    last: tuple[float, float]
    width: float = WIDTH
    height: float = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One goal on the page; `bar` and `time` are shares of the bar's width in per cent."""

    key: str
    statement: str
    state: str
    word: str
    icon: str
    text: str
    facts: tuple[tuple[str, str], ...]
    bar: float
    time: float
    way: str
    gone: str
    spark: Spark | None
    experiments: tuple[str, ...]
    depth: int
    parent: str


@bp.get("/goals")
@readers_only
def overview() -> ResponseReturnValue:
    """Show every goal of the live catalog with its progress."""
    wiring = services()
    live, now = wiring.snapshots.current, wiring.clock()
    found = standings(wiring.store, live.loaded, now=now)
    return render_template(
        "goals.html", goals=[card(one) for one in found], back_days=BACK_DAYS, revision=live.state.revision
    )


def card(standing: Standing) -> Card:
    """Return what the page says of one goal."""
    goal, metric, progress = standing.goal, standing.metric, standing.progress
    share = progress.share
    return Card(
        key=goal.key,
        statement=goal.statement,
        state=progress.state.value,
        word=WORDS[progress.state],
        icon=ICONS[progress.state],
        text=standing.text,
        facts=(
            ("metric", metric.label or metric.key),
            ("baseline", value_words(metric, goal.baseline)),
            ("last 7 days", value_words(metric, progress.value)),
            ("target", target_words(goal, metric)),
            ("owner", goal.owner),
            ("from", goal.start.isoformat()),
            ("due", goal.due.isoformat()),
        ),
        bar=_per_cent(share or 0.0),
        time=_per_cent(progress.elapsed),
        way=_way(share),
        gone=share_words(progress.elapsed),
        spark=spark(standing),
        experiments=standing.experiments,
        depth=standing.depth,
        parent=goal.parent,
    )


def _way(share: float | None) -> str:
    """Say how far it is; how many times over, or how far astray, the amounts beside it tell better."""
    if share is None:
        return "no data"
    if share < 0:
        return "further away than the baseline"
    return "the target is reached" if share >= 1 else f"{share_words(share)} of the way"


def spark(standing: Standing) -> Spark | None:
    """Place the days of a goal; None when no day has a value."""
    known = [p for p in standing.points if p.value is not None]
    if not known:
        return None
    goal, metric = standing.goal, standing.metric
    values = [p.value for p in known if p.value is not None]
    bottom = min(*values, goal.baseline, goal.target_value)
    top = max(*values, goal.baseline, goal.target_value)
    end = standing.points[-1].day

    def x(day: date) -> float:
        past = (end - day).days / (BACK_DAYS - 1)
        return round(WIDTH - EDGE - (WIDTH - 2 * EDGE) * past, 1)

    def y(value: float) -> float:
        return round(EDGE + (HEIGHT - 2 * EDGE) * (top - value) / (top - bottom), 1)

    stretches = [[(x(p.day), y(p.value)) for p in run if p.value is not None] for run in _stretches(known)]
    name = metric.label or metric.key
    first, last = (value_words(metric, value) for value in (values[0], values[-1]))
    return Spark(
        title=f"{name} day by day: {first} on {known[0].day}, {last} on {known[-1].day}",
        lines=tuple(" ".join(f"{a},{b}" for a, b in run) for run in stretches if len(run) > 1),
        target=y(goal.target_value),
        baseline=y(goal.baseline),
        last=stretches[-1][-1],
    )


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Part the points where a day is missing: nothing is drawn over what is not known."""
    runs: list[list[Point]] = []
    for point in points:
        if runs and point.day - runs[-1][-1].day == timedelta(days=1):
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _per_cent(share: float) -> float:
    return round(100 * min(1.0, max(0.0, share)), 1)
