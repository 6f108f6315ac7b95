"""Goals: a metric that shall get from a baseline to a target by a day, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from experiments.comparisons import estimate_of, total_of
from experiments.definitions import Metric
from experiments.errors import InvalidDefinitionError
from experiments.moments import NOTHING, Moments

DAYS = 7
"""Days whose units are looked at together: every day of the week counts once."""
DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a metric shall be: `amount` in its unit or, when relative, as a share more than the baseline."""

    amount: float
    relative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal: specific (`statement`), measurable, somebody's, due, and perhaps a part of another.

    Attributes
    ----------
    baseline : float
        The metric at `start`, in its unit; a share is a fraction.
    start, due : date
        UTC days; progress is compared with the time that has passed between them.
    parent : str
        The key of the goal that this one serves; empty: none.
    """

    key: str
    statement: str
    metric: str
    baseline: float
    target: Target
    owner: str
    start: date
    due: date
    parent: str = ""

    def __post_init__(self) -> None:
        if self.due <= self.start:
            raise InvalidDefinitionError(
                f"it is due on {self.due}, which is not after its start on {self.start}",
                path=("due",),
                code="E370",
                hint="a goal needs a day at least",
            )
        if self.target.relative and not self.baseline:
            raise InvalidDefinitionError(
                "a target relative to a baseline of 0 is 0 again",
                path=("target",),
                code="E371",
                hint="write the value itself, for example 'target: 12'",
            )
        if self.target_value == self.baseline:
            raise InvalidDefinitionError(
                "the target is the baseline: there is nothing to reach", path=("target",), code="E371"
            )

    @property
    def target_value(self) -> float:
        """The target in the metric's unit; relative to a negative baseline, more is up as well."""
        if not self.target.relative:
            return self.target.amount
        return self.baseline + self.target.amount * abs(self.baseline)


class GoalState(StrEnum):
    """How a goal stands."""

    REACHED = "reached"
    ON_TRACK = "on_track"
    BEHIND = "behind"
    NO_DATA = "no_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a goal has come on one day.

    Attributes
    ----------
    value : float or None
        The metric over the units of the last `DAYS` days together, in its unit; None without any.
    n : int
        Those units, each counted once for each of its days.
    share : float or None
        Of the way from baseline to target; below 0 on the wrong side, above 1 beyond the target.
    elapsed : float
        Share of the time from start to due, in [0, 1].
    """

    state: GoalState
    value: float | None
    n: int
    share: float | None
    elapsed: float


def progress_of(goal: Goal, metric: Metric, days: Mapping[date, Moments], *, today: date) -> Progress:
    """Compare how far a goal has come with how much of its time has passed.

    It is on track when the share of the way is at least the share of the time, and reached at the target.

    Parameters
    ----------
    goal : Goal
    metric : Metric
        The goal's.
    days : mapping of date to Moments
        The metric's value of each day that is known; only the `DAYS` days before `today` count.
    today : date
        UTC.

    Returns
    -------
    Progress

    Examples
    --------
    >>> from experiments.definitions import MetricKind
    >>> metric = Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=86_400)
    >>> goal = Goal(
    ...     key="more", statement="Sell more", metric="buy", baseline=0.2, target=Target(amount=0.6),
    ...     owner="maria", start=date(2027, 1, 1), due=date(2027, 1, 11),
    ... )
    >>> day = Moments.of([1_000_000, 0, 0])
    >>> found = progress_of(goal, metric, {date(2027, 1, 3): day}, today=date(2027, 1, 4))
    >>> found.state.value, round(found.share, 3), found.elapsed
    ('on_track', 0.333, 0.3)
    """
    recent = total_of(days.get(today - timedelta(days=back), NOTHING) for back in range(1, DAYS + 1))
    value = estimate_of(metric, recent)
    elapsed = min(1.0, max(0.0, (today - goal.start).days / (goal.due - goal.start).days))
    if value is None:
        return Progress(state=GoalState.NO_DATA, value=None, n=recent.n, share=None, elapsed=elapsed)
    # Rounded, so that half of the way is on track after half of the time, whatever the last binary digit.
    share = round((value - goal.baseline) / (goal.target_value - goal.baseline), DIGITS)
    return Progress(state=_state(share, elapsed), value=value, n=recent.n, share=share, elapsed=elapsed)


def _state(share: float, elapsed: float) -> GoalState:
    if share >= 1:
        return GoalState.REACHED
    return GoalState.ON_TRACK if share >= elapsed else GoalState.BEHIND
