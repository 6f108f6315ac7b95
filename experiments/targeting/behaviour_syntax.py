"""``behaviour: {event: .., count: {gte: 3}, within: 30d}``, as facts that events can only make true.

Everything else a marketer can say is a fact or the lack of one: fewer than n is not n or more, exactly n is
n or more but not n + 1 or more, last seen before 30 days is ever but not within 30 days.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from experiments.errors import InvalidDefinitionError
from experiments.targeting.conditions import All, Behaviour, Condition, Not
from experiments.targeting.forms import Path, kind, parse_duration
from experiments.targeting.operators import Scalar

MAX_COUNT = 1_000_000
MAX_SUM = 1e12

_MEMBERS = ("event", "where", "count", "sum", "last", "within")
_MEASURES = ("count", "sum", "last")
_COUNTS = ("gte", "gt", "lt", "lte", "eq")
_SUMS = ("gte", "lt")
_EXAMPLE = "for example {event: Product Viewed, count: {gte: 3}, within: 30d}"

_AtLeast: TypeAlias = Callable[[int], Condition]


def parse_behaviour(node: object, path: Path) -> Condition:
    """Turn the value of a ``behaviour`` member into facts with `All` and `Not` around them.

    Parameters
    ----------
    node : object
        A mapping with ``event``, perhaps ``where`` (property: value), one of ``count``, ``sum`` and ``last``
        (none of them: at least once), and perhaps ``within``.
    path : tuple of str or int
        Where it was written.

    Returns
    -------
    Condition
        Of `Behaviour`, `All` and `Not` only.

    Raises
    ------
    InvalidDefinitionError
        E210.

    Examples
    --------
    >>> few = parse_behaviour({"event": "Order Completed", "count": {"lt": 2}}, ())
    >>> few == Not(Behaviour(event="Order Completed", at_least=2))
    True
    """
    given = _mapping(node, path, _MEMBERS, _EXAMPLE)
    event = given.get("event")
    if not isinstance(event, str) or not event:
        raise _error("a behaviour names the event that it counts", path, _EXAMPLE)
    measures = [name for name in _MEASURES if name in given]
    if len(measures) > 1:
        raise _error(
            f"give one of {' and '.join(measures)}", (*path, measures[1]), "put two behaviours under 'all:'"
        )
    fact = Behaviour(event=event, where=_parse_where(given.get("where", {}), (*path, "where")))
    measure = measures[0] if measures else ""
    inner = (*path, measure)
    if measure == "last":
        return _parse_last(fact, given, path)
    if "within" in given:
        fact = replace(fact, within_s=parse_duration(given["within"], (*path, "within")))
    if measure == "count":
        return _parse_count(fact, given["count"], inner)
    return _parse_sum(fact, given["sum"], inner) if measure == "sum" else fact


def _parse_where(node: object, path: Path) -> tuple[tuple[str, Scalar], ...]:
    if not isinstance(node, Mapping):
        raise _error(
            f"'where' maps properties to values, not {kind(node)}", path, "for example {category: tea}"
        )
    found: list[tuple[str, Scalar]] = []
    for name, value in node.items():
        if not isinstance(name, str) or not name:
            raise _error(f"a property's name is a text, not {kind(name)}", (*path, name), "put it in quotes")
        if isinstance(value, float) and not math.isfinite(value):
            raise _error("a property is compared with a finite number", (*path, name))
        if value is not None and not isinstance(value, bool | int | float | str):
            raise _error(f"a property is compared with one plain value, not {kind(value)}", (*path, name))
        found.append((name, value))
    return tuple(sorted(found, key=lambda pair: pair[0]))


def _parse_count(fact: Behaviour, node: object, path: Path) -> Condition:
    limits = _mapping(node, path, _COUNTS, "for example {gte: 3}")

    def at_least(number: int) -> Condition:
        return replace(fact, at_least=number) if number > 0 else All(())

    parts = []
    for op, number in limits.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_COUNT:
            raise _error(
                f"{op!r} takes a whole number from 0 to {MAX_COUNT:,}, not {_said(number)}", (*path, op)
            )
        parts.append(_COUNTED[op](at_least, number))
    return _together(parts)


_COUNTED: Mapping[str, Callable[[_AtLeast, int], Condition]] = {
    "gte": lambda at_least, n: at_least(n),
    "gt": lambda at_least, n: at_least(n + 1),
    "lt": lambda at_least, n: Not(at_least(n)),
    "lte": lambda at_least, n: Not(at_least(n + 1)),
    "eq": lambda at_least, n: All((at_least(n), Not(at_least(n + 1)))),
}


def _parse_sum(fact: Behaviour, node: object, path: Path) -> Condition:
    example = "for example {revenue: {gte: 100}}"
    if not isinstance(node, Mapping) or len(node) != 1:
        raise _error("'sum' names one property and its limits", path, example)
    (name, limits), *_ = node.items()
    if not isinstance(name, str) or not name:
        raise _error(f"a property's name is a text, not {kind(name)}", (*path, name), "put it in quotes")
    parts: list[Condition] = []
    for op, number in _mapping(limits, (*path, name), _SUMS, example).items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= MAX_SUM:
            raise _error(
                f"{op!r} takes a number above 0, at most {MAX_SUM:g}, not {_said(number)}", (*path, name, op)
            )
        whole = int(number) if number == int(number) else number
        spent = replace(fact, measure="sum", property=name, at_least=whole)
        parts.append(spent if op == "gte" else Not(spent))
    return _together(parts)


def _parse_last(fact: Behaviour, given: Mapping[str, object], path: Path) -> Condition:
    if "within" in given:
        hint = "write {last: {within: 7d}}, or {count: {gte: 1}, within: 7d}"
        raise _error("'last' has its own length of time", (*path, "within"), hint)
    example = "for example {within: 7d} or {before: 30d}"
    limits = _mapping(given["last"], (*path, "last"), ("within", "before"), example)
    if len(limits) > 1:
        raise _error(
            "'last' takes one of within and before", (*path, "last"), "put two behaviours under 'all:'"
        )
    (op, length), *_ = limits.items()
    recently = replace(fact, within_s=parse_duration(length, (*path, "last", op)))
    return recently if op == "within" else All((fact, Not(recently)))


def _mapping(node: object, path: Path, known: Iterable[str], hint: str) -> Mapping[str, object]:
    if not isinstance(node, Mapping) or not node:
        said = "an empty mapping" if isinstance(node, Mapping) else kind(node)
        raise _error(f"expected a mapping with some of {', '.join(known)}, not {said}", path, hint)
    for key in node:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            better = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise _error(f"unknown key {key!r}", (*path, key), better)
    return node


def _together(parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _said(number: object) -> str:
    return repr(number) if isinstance(number, str) else kind(number)


def _error(message: str, path: Path, hint: str = "") -> InvalidDefinitionError:
    return InvalidDefinitionError(message, path=path, code="E210", hint=hint)
