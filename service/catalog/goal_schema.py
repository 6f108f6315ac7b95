"""The form of one goal, and whether it fits its metric and the other goals."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from marshmallow import fields, post_load

from experiments.definitions import Direction, Metric
from experiments.goals import Goal, Target
from service.catalog.fields import Day, Name, Said, StrictSchema, Word, decimal_in, percent_in, refuse, show

GOALS = "goals"
LARGEST = 1e12
HUNDRED = 100
EXAMPLE = "for example 4.2%, or a plain number in the unit of the metric"
TARGET_EXAMPLE = "the value itself, such as 4.6%, or a change from the baseline, such as '+10%'"

Path = tuple[str | int, ...]


class Amount(fields.Field[float]):
    """A value of a metric: '4.2%' of a share, else a number in the metric's unit."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> float:  # noqa: ANN401 - anything may come
        return amount_in(value, EXAMPLE)


class TargetField(fields.Field[Target]):
    """Where the metric shall be: a value, or with a sign a change from the baseline: '+10%'."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> Target:  # noqa: ANN401 - anything may come
        text = value.strip() if isinstance(value, str) else ""
        if not text.startswith(("+", "-")):
            return Target(amount=amount_in(value, TARGET_EXAMPLE))
        change = percent_in(text)
        if change is None:
            raise refuse("E372", f"expected a change in per cent, not {show(value)}", TARGET_EXAMPLE)
        return Target(amount=float(change / HUNDRED), relative=True)


def amount_in(value: object, hint: str) -> float:
    """Return a number, or a percentage as a fraction."""
    percent = percent_in(value)
    number = percent / HUNDRED if percent is not None else None
    if type(value) in (int, float):
        number = decimal_in(repr(value))
    if number is None or abs(number) > LARGEST:
        raise refuse("E372", f"expected a value of the metric, not {show(value)}", hint)
    return float(number)


class GoalSchema(StrictSchema):
    """One goal of a collection."""

    later = ("experiments", "weight", "notify")
    key = Name(required=True)
    statement = Word(required=True)
    metric = Name(required=True)
    baseline = Amount(required=True)
    target = TargetField(required=True)
    owner = Word(longest=200, required=True)
    start = Day(required=True)
    due = Day(required=True)
    parent = Name(load_default="")

    @post_load
    def to_goal(self, given: dict[str, Any], **_: object) -> Goal:
        """Leave the wire form."""
        return Goal(**given)


def check(
    definitions: Sequence[Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Any, Path, Said]]:
    """Yield goals whose amounts their metric cannot have, and targets that are worse than the baseline."""
    for definition in definitions:
        goal = parts[GOALS].get(definition.key) if definition.kind == GOALS else None
        metric = parts["metrics"].get(goal.metric) if isinstance(goal, Goal) else None
        if not isinstance(goal, Goal) or not isinstance(metric, Metric):
            continue
        wrong = list(_amounts(goal, metric, definition.value))
        yield from ((definition, (name,), said) for name, said in wrong)
        if not wrong and (goal.target_value > goal.baseline) is not (metric.direction is Direction.UP):
            yield definition, ("target",), _wrong_side(goal, metric)


def _amounts(goal: Goal, metric: Metric, written: Mapping[str, Any]) -> Iterator[tuple[str, Said]]:
    for name, amount in (("baseline", goal.baseline), ("target", goal.target_value)):
        plain = name == "baseline" or not goal.target.relative
        if metric.kind.is_share and not 0 <= amount <= 1:
            hint = f"write {amount:g}%" if plain and 1 < amount <= HUNDRED else "a share is from 0% to 100%"
            yield name, Said("E433", f"'{metric.key}' is a share: it is never {amount:g}", hint)
        if not metric.kind.is_share and plain and (percent := percent_in(written[name])) is not None:
            hint = f"write {percent.normalize():f}, in the unit of the metric"
            if name == "target":
                hint += f", or '+{abs(percent).normalize():f}%' for a change from the baseline"
            yield name, Said("E433", f"'{metric.key}' is no share: it is not told in per cent", hint)


def _wrong_side(goal: Goal, metric: Metric) -> Said:
    up = metric.direction is Direction.UP
    side, better = ("below", "up") if up else ("above", "down")
    message = (
        f"the target {goal.target_value:g} is {side} the baseline {goal.baseline:g}, "
        f"and '{metric.key}' is better {better}"
    )
    sign = "+" if up else "-"
    hint = f"a change is written with its sign, such as '{sign}10%'; if the target is meant, say "
    return Said("E432", message, f"{hint}'direction: {'down' if up else 'up'}' at the metric")


def notes(goals: Mapping[str, Goal], *, today: date) -> Iterator[str]:
    """Yield what is allowed and may surprise: goals that are over, and parts that end after the whole."""
    for goal in goals.values():
        if goal.due < today:
            yield f"{goal.key}: it was due on {goal.due}: set a new day, or remove it"
        parent = goals.get(goal.parent)
        if parent and goal.due > parent.due:
            yield f"{goal.key}: due on {goal.due}, after the goal that it serves, {parent.key} ({parent.due})"
