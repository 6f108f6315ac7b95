"""How a goal stands, in words."""

from datetime import date

from experiments.definitions import Metric
from experiments.goals import DAYS, Goal, GoalState, Progress
from experiments.notation import duration_words
from experiments.wording.amounts import mean_of
from experiments.wording.en import ENGLISH

WORDS = {
    GoalState.REACHED: "Reached",
    GoalState.ON_TRACK: "On track",
    GoalState.BEHIND: "Behind",
    GoalState.NO_DATA: "No data yet",
}
NONE = "n/a"


def value_words(metric: Metric, value: float | None) -> str:
    """Return a value of a metric as people read it."""
    return NONE if value is None else mean_of(ENGLISH, metric, value)


def target_words(goal: Goal, metric: Metric) -> str:
    """Return the target, and the change that it was written as."""
    change = f" ({goal.target.amount * 100:+.4g} %)" if goal.target.relative else ""
    return f"{value_words(metric, goal.target_value)}{change}"


def share_words(share: float) -> str:
    """Return a share of the way, or of the time, in whole per cent, cut so that 100 % is never early."""
    return f"{int(share * 100)} %"


def sentence(goal: Goal, metric: Metric, progress: Progress, *, computed: bool, today: date) -> str:
    """Say how a goal stands and why; `computed` tells that there is a value of any day."""
    word = WORDS[progress.state]
    if progress.share is None:
        return f"{word}: {_why_no_data(metric, progress, computed=computed)}."
    now = f"{value_words(metric, progress.value)} over the last {DAYS} days"
    start, end = value_words(metric, goal.baseline), target_words(goal, metric)
    if progress.state is GoalState.REACHED:
        return f"{word}: {now}; the target is {end}."
    way = f"{now} is {share_words(progress.share)} of the way from {start} to {end}"
    if progress.share < 0:
        way = f"{now} is further from the target of {end} than the baseline of {start}"
    if goal.due <= today:
        return f"{word}: it was due on {goal.due}; {way}."
    return f"{word}: {way}, with {share_words(progress.elapsed)} of the time gone."


def _why_no_data(metric: Metric, progress: Progress, *, computed: bool) -> str:
    if not computed:
        return "the worker has not computed a day yet"
    if progress.n:
        return f"none of the {progress.n:,} units of the last {DAYS} days has what the metric is divided by"
    return (
        f"nobody did anything on the days whose windows of {duration_words(metric.window_s)} ended in the "
        f"last {DAYS} days"
    )
