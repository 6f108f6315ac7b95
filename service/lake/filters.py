"""Which events count, as Ibis expressions that follow `experiments.event_filters`: never null, yes or no."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import ibis
import ibis.expr.types as ir

from experiments.event_filters import COMPARISONS
from experiments.micro_units import micro_of
from experiments.targeting import All, Any_, Condition, Leaf, Not
from service.lake.columns import Wanted
from service.lake.rows import canonical_json

NULL = canonical_json(None)


def matching(events: ir.Table, wanted: Wanted, condition: Condition) -> ir.BooleanValue:
    """Say which events a filter lets count."""
    if isinstance(condition, Leaf):
        return _holds(events, wanted, condition)
    if isinstance(condition, Not):
        return ~matching(events, wanted, condition.part)
    parts = [matching(events, wanted, part) for part in cast("All | Any_", condition).parts]
    return _joined(ibis.or_ if isinstance(condition, Any_) else ibis.and_, parts)


def _joined(join: Callable[..., ir.BooleanValue], parts: Sequence[ir.BooleanValue]) -> ir.BooleanValue:
    """Join by halves, so that the expression is not as deep as it is long: compiling goes down into it."""
    if len(parts) <= 1:
        return parts[0] if parts else ibis.literal(value=True)
    half = len(parts) // 2
    return join(_joined(join, parts[:half]), _joined(join, parts[half:]))


def _holds(events: ir.Table, wanted: Wanted, leaf: Leaf) -> ir.BooleanValue:
    if leaf.op in COMPARISONS:
        number = events[wanted.amount(leaf.attribute)]
        return _told(COMPARISONS[leaf.op](number, micro_of(leaf.operand) or 0))
    fact = events[wanted.fact(leaf.attribute)]
    if leaf.op == "exists":
        there = _told(fact != NULL)
        return there if leaf.operand else ~there
    return _OF_FACTS[leaf.op](fact, leaf)


def _among(fact: ir.Value, leaf: Leaf) -> ir.BooleanValue:
    members = cast("tuple[object, ...]", leaf.operand)
    return _told(fact.isin([canonical_json(one) for one in members]))


def _equal(fact: ir.Value, leaf: Leaf) -> ir.BooleanValue:
    return _told(fact == canonical_json(leaf.operand))


_OF_FACTS: Mapping[str, Callable[[ir.Value, Leaf], ir.BooleanValue]] = {
    "eq": _equal,
    "ne": lambda fact, leaf: ~_equal(fact, leaf),
    "in": _among,
    "not_in": lambda fact, leaf: ~_among(fact, leaf),
}


def _told(answer: ir.BooleanValue) -> ir.BooleanValue:
    """Return the answer, no where the property is absent."""
    return answer.fill_null(False)  # noqa: FBT003 - Ibis takes the value so
