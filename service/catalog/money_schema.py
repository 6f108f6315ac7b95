"""`money:` of an experiment: by which metric money is counted, and what a unit of each variant costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marshmallow import fields, post_load

from experiments.definitions import Experiment, Metric
from experiments.metrics import Aggregate
from experiments.money import PER_UNIT
from experiments.money_plan import MoneyPlan
from service.catalog.compound import MappingOf
from service.catalog.fields import Name, Said, StrictSchema, decimal_in, refuse, show

MAX_COST = 1_000_000
DECIMALS = 6
KINDS = ", ".join(sorted(kind.value for kind in PER_UNIT))


class Cost(fields.Field[float]):
    """What one exposed unit costs, in the currency of the metric: 0 or more, with at most six decimals."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> float:  # noqa: ANN401 - anything may come
        number = decimal_in(repr(value)) if type(value) in (int, float) else None
        if number is None or not 0 <= number <= MAX_COST:
            hint = "the amount in the currency of the metric, such as 0.25"
            raise refuse("E308", f"expected a cost from 0 to {MAX_COST:,}, not {show(value)}", hint)
        if number != round(number, DECIMALS):
            raise refuse("E308", f"{show(value)} has more than six decimals", "round it")
        return float(number)


class MoneySchema(StrictSchema):
    """What a verdict says about money."""

    later = ("fixed", "margin", "budget")
    metric = Name(required=True)
    costs = MappingOf(Cost(), load_default=dict)

    @post_load
    def to_plan(self, given: dict[str, Any], **_: object) -> MoneyPlan:
        """Leave the wire form."""
        return MoneyPlan(**given)


def check(
    definitions: Sequence[Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Any, tuple[str | int, ...], Said]]:
    """Yield experiments whose money is counted by a metric that holds none."""
    for definition in definitions:
        found = parts["experiments"].get(definition.key) if definition.kind == "experiment" else None
        if not isinstance(found, Experiment) or found.money is None:
            continue
        metric = parts["metrics"].get(found.money.metric)
        said = _unfit(metric) if isinstance(metric, Metric) else None
        if said is not None:
            yield definition, ("money", "metric"), said


def _unfit(metric: Metric) -> Said | None:
    if metric.kind not in PER_UNIT:
        message = f"'{metric.key}' is of kind {metric.kind.value}: its mean per unit is no amount of money"
        return Said("E417", message, f"name a metric with a currency, of kind {KINDS}")
    if not metric.currency:
        return Said("E417", f"'{metric.key}' has no currency", "add 'currency: EUR' to the metric")
    if metric.aggregate is not Aggregate.SUM:
        message = (
            f"'{metric.key}' is the {metric.aggregate.value} of a unit's amounts, not what they add up to"
        )
        return Said("E417", message, "name a metric that adds amounts up")
    return None
