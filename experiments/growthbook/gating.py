"""The gates of a GrowthBook rule as ours: its layer, its holdout and what it needs."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from experiments.gates import SERVED_VALUE
from experiments.growthbook.patterns import UntranslatableError
from experiments.growthbook.ranges import THOUSAND, Pair, buckets_of
from experiments.growthbook.reading import Groups, from_mongo, never
from experiments.hashing import N_BUCKETS
from experiments.lifecycle import TOTAL_BP

Rule: TypeAlias = Mapping[str, Any]

NAMESPACE = "__"
V1, V2 = 1, 2


class Door:
    """What a unit must pass: its bucket under `seed` lies in [start, end)."""

    def __init__(self, seed: str, version: int, unit: str, place: Pair) -> None:
        self.seed = seed
        self.version = version
        self.unit = unit
        self.start, self.end = place

    @property
    def is_open(self) -> bool:
        """Whether everybody with an id passes."""
        return (self.start, self.end) == (0, TOTAL_BP)


def doors_of(rule: Rule, unit: str) -> list[Door]:
    """Return the filters of a rule, or the namespace that counts without them.

    Parameters
    ----------
    rule : mapping
        Of any kind.
    unit : str
        What it hashes.

    Returns
    -------
    list of Door
        Those that somebody does not pass.

    Raises
    ------
    UntranslatableError
        If one has several ranges, or asks another unit.
    """
    found = [_filter(one) for one in rule.get("filters") or []]
    if not found and "variations" in rule and rule.get("namespace"):
        name, *place = rule["namespace"]
        found = [Door(str(name), V1, unit, buckets_of(place, n=THOUSAND))]
    if any(door.unit != unit for door in found):
        raise UntranslatableError("a filter asks another attribute than the rule hashes")
    return [door for door in found if not door.is_open]


def _filter(one: Rule) -> Door:
    ranges, version, seed = one.get("ranges") or [], one.get("hashVersion") or V2, str(one.get("seed", ""))
    if len(ranges) != 1:
        raise UntranslatableError("a filter has several ranges; a place in a layer is one")
    if version == V1 and not seed.startswith(NAMESPACE):
        raise UntranslatableError("a filter hashes by version 1 without being a namespace")
    n = THOUSAND if version == V1 else N_BUCKETS
    name = seed.removeprefix(NAMESPACE) if version == V1 else seed
    return Door(name, version, str(one.get("attribute", "id")), buckets_of(ranges[0], n=n))


def needs_of(parents: Sequence[Rule], groups: Groups) -> dict[str, dict[str, Any]]:
    """Return what other features must serve, by their id: operators on the value.

    Parameters
    ----------
    parents : sequence of mapping
        The ``parentConditions`` of one rule or several.
    groups : mapping
        The payload's saved groups.

    Returns
    -------
    dict of id to operators

    Raises
    ------
    UntranslatableError
        If a condition asks for more than the value, or cannot hold.

    Examples
    --------
    >>> needs_of([{"id": "dark", "condition": {"value": {"$ne": False}}}], {})
    {'dark': {'ne': False}}
    """
    found: dict[str, dict[str, Any]] = {}
    for parent in parents:
        node = from_mongo(parent.get("condition") or {}, groups=groups)
        if not node:
            continue
        wanted = _operators(node)
        known = found.setdefault(str(parent.get("id")), {})
        if known.keys() & wanted.keys() and known != wanted:
            raise UntranslatableError(f"two conditions on the value of {parent.get('id')!r}")
        known.update(wanted)
    return found


def _operators(node: Mapping[str, Any]) -> dict[str, Any]:
    parts = node["all"] if set(node) == {"all"} else [node]
    found: dict[str, Any] = {}
    for part in parts:
        if set(part) != {SERVED_VALUE} or part == never() or found.keys() & part[SERVED_VALUE].keys():
            raise UntranslatableError("a prerequisite asks for more than operators on the value")
        found.update(part[SERVED_VALUE])
    return found
