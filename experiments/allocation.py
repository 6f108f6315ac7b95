"""Which buckets a variant owns, and what else a unit must pass to get one: its holdout and its layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import ceil
from typing import TypeAlias, TypeVar

from experiments.definitions import Experiment, Flag
from experiments.hashing import N_BUCKETS, Hasher, hasher, hasher_v1, splitter, unit_raw
from experiments.lifecycle import TOTAL_BP
from experiments.units import ANONYMOUS_ID, TARGETING_KEY, unit_id_of, unit_text

__all__ = [
    "ANONYMOUS_ID",
    "TARGETING_KEY",
    "Definition",
    "Passage",
    "Ranges",
    "bucket_ranges",
    "chooser",
    "is_shipped",
    "passages",
    "share_out",
    "split",
    "unit_id_of",
    "unit_text",
    "variant_of",
    "whole_weights",
]

Definition: TypeAlias = Experiment | Flag
Ranges: TypeAlias = tuple[tuple[int, int, str], ...]
T = TypeVar("T")

SWITCHED_ON = "on"
_NEARLY_ONE = (0.99, 1.01)


def bucket_ranges(definition: Definition, *, share_bp: int | None = None) -> Ranges:
    """Return, for each variant in order, the half-open range of buckets that it owns.

    Growing the share only moves the ends up: nobody who is enrolled moves.

    Parameters
    ----------
    definition : Experiment or Flag
        A flag has one variant, ``on``.
    share_bp : int or None
        The share that is enrolled; None is the definition's allocation.

    Returns
    -------
    tuple of (start, end, variant_key)
        With 0 <= start <= end <= 10000; ranges never overlap.

    References
    ----------
    .. [1] GrowthBook SDK specification 0.8.0, ``getBucketRanges``, in whole numbers.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="m"), allocation_bp=2000)
    >>> bucket_ranges(e)
    ((0, 1000, 'a'), (5000, 6000, 'b'))
    """
    share = definition.allocation_bp if share_bp is None else share_bp
    ranges = []
    start = 0
    for key, weight in _weights(definition):
        ranges.append((start, start + weight * share // TOTAL_BP, key))
        start += weight
    return tuple(ranges)


def _weights(definition: Definition) -> list[tuple[str, int]]:
    if isinstance(definition, Flag):
        return [(SWITCHED_ON, TOTAL_BP)]
    return [(variant.key, variant.weight_bp) for variant in definition.variants]


def share_out(ranges: Ranges, answers: Mapping[str, T], rest: T) -> tuple[list[int], list[T]]:
    """Return ranges as edges and the answers between them, as `experiments.hashing.splitter` takes them.

    Parameters
    ----------
    ranges : tuple of (start, end, key)
        In order, without overlap.
    answers : mapping of key to answer
        For each key of the ranges.
    rest : answer
        Of the buckets that no range owns.

    Returns
    -------
    edges, answers : lists
        One answer more than edges.

    Examples
    --------
    >>> share_out(((0, 1000, "a"), (5000, 6000, "b")), {"a": "A", "b": "B"}, "nobody")
    ([0, 1000, 5000, 6000], ['nobody', 'A', 'nobody', 'B', 'nobody'])
    """
    edges: list[int] = []
    found = [rest]
    for start, end, key in ranges:
        if start == end:
            continue
        if edges and edges[-1] == start:
            edges.append(end)
            found[-1] = answers[key]
        else:
            edges += [start, end]
            found.append(answers[key])
        found.append(rest)
    return edges, found


def split(
    definition: Definition, answers: Mapping[str, T], rest: T, *, share_bp: int
) -> Callable[[bytes], T]:
    """Return what gives a unit the answer of its variant, or `rest`; holdout and layer do not count.

    Parameters
    ----------
    definition : Experiment or Flag
        Its salt and weights count.
    answers : mapping of variant key to answer
        A flag's only variant is ``on``.
    rest : answer
        Of units that are not allocated.
    share_bp : int
        The share that is.

    Returns
    -------
    callable
        From an id as `experiments.hashing.unit_raw` writes it.
    """
    return splitter(definition.salt, *share_out(bucket_ranges(definition, share_bp=share_bp), answers, rest))


@dataclass(frozen=True, slots=True)
class Passage:
    """A unit passes when its bucket under `salt` lies in [start, end).

    Attributes
    ----------
    name : str
        What a person calls it: ``holdout q1``, ``layer page``.
    decision : str
        Of units that do not pass.
    """

    name: str
    salt: str
    hash_version: int
    start: int
    end: int
    decision: str

    def hasher(self) -> Hasher:
        """Return what gives a unit its bucket here."""
        return hasher(self.salt) if self.hash_version != 1 else hasher_v1(self.salt)


def passages(definition: Definition) -> tuple[Passage, ...]:
    """Return what a unit must pass before it is split: the holdout, then the layer.

    Parameters
    ----------
    definition : Experiment or Flag
        Any. What is shipped is shipped to the whole layer.

    Returns
    -------
    tuple of Passage
        Empty for most.

    Examples
    --------
    >>> from experiments.gates import Holdout
    >>> passages(Flag(key="dark", holdout=Holdout(key="q1", share_bp=500)))[0].start
    500
    """
    found = []
    holdout, slot = definition.holdout, definition.layer
    if holdout is not None:
        name = f"holdout {holdout.key}"
        found.append(Passage(name, holdout.salt, 2, holdout.share_bp, N_BUCKETS, "holdout"))
    if slot is not None and not is_shipped(definition):
        layer = slot.layer
        salt = layer.salt if layer.hash_version != 1 else f"__{layer.seed or layer.key}"
        name, version = f"layer {layer.key}", layer.hash_version
        found.append(Passage(name, salt, version, slot.start_bp, slot.end_bp, "not_in_layer"))
    return tuple(found)


def is_shipped(definition: Definition) -> bool:
    """Return whether it serves one variant to everybody instead of splitting."""
    return isinstance(definition, Experiment) and bool(definition.shipped)


def chooser(definition: Definition, *, at: datetime | None = None) -> Callable[[str], str | None]:
    """Return `variant_of` of one definition and moment, for one unit after another.

    Parameters
    ----------
    definition : Experiment or Flag
        The definition, of any revision.
    at : datetime or None
        Aware. The moment at which its ramp is read; None is after all of its steps.

    Returns
    -------
    callable
        From a unit's id to the key of its variant, or None.
    """
    share = definition.allocation_bp if at is None else definition.share_at(at)
    keys: dict[str, str | None] = {key: key for key, _weight in _weights(definition)}
    chosen = split(definition, keys, None, share_bp=share)
    doors = [(passage.hasher(), passage.start, passage.end) for passage in passages(definition)]

    def choose(unit_id: str) -> str | None:
        raw = unit_raw(unit_id)
        if not all(start <= number_of(raw) < end for number_of, start, end in doors):
            return None
        return chosen(raw)

    return choose


def variant_of(definition: Definition, unit_id: str, *, at: datetime | None = None) -> str | None:
    """Return the variant that holdout, layer, ramp and allocation give a unit.

    Audience, prerequisites, overrides, status and schedule do not count.

    Parameters
    ----------
    definition : Experiment or Flag
        The definition, of any revision.
    unit_id : str
        As it was sent; not empty.
    at : datetime or None
        Aware. The moment at which its ramp is read; None is after all of its steps.

    Returns
    -------
    str or None
        None when the unit is not enrolled. A flag's variant is ``on``.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> variant_of(Experiment(key="x", variants=halves, metrics=MetricPlan(primary="m")), "unit-1")
    'b'
    """
    return chooser(definition, at=at)(unit_id)


# --- what other systems say in fractions


def whole_weights(n: int, weights: Sequence[float] | None = None) -> tuple[int, ...]:
    """Return the weights of GrowthBook in basis points, so that everybody there keeps the variant.

    As there, weights count as equal when there are not `n` of them or their sum is far from one. A sum that
    is only nearly one is an error of rounding: the last variant gets, or gives, what is missing.

    Parameters
    ----------
    n : int
        Number of variants.
    weights : sequence of float or None
        Shares of the variants; None is equal shares.

    Returns
    -------
    tuple of int
        One for each variant; together 10000.

    References
    ----------
    .. [1] GrowthBook SDK specification 0.8.0, ``getBucketRanges`` and ``getEqualWeights``.

    Examples
    --------
    >>> whole_weights(3), whole_weights(2, [0.4, 0.6]), whole_weights(2, [0.7, 0.6])
    ((3334, 3333, 3333), (4000, 6000), (5000, 5000))
    """
    if n <= 0:
        return ()
    low, high = _NEARLY_ONE
    shares = [1 / n] * n
    if weights is not None and len(weights) == n and low <= sum(weights) <= high:
        shares = list(weights)
    ends = [0]
    total = 0.0
    for share in shares[:-1]:
        total += share
        ends.append(min(_first_bucket_from(total), TOTAL_BP))
    ends.append(TOTAL_BP)
    return tuple(end - start for start, end in pairwise(ends))


def _first_bucket_from(edge: float) -> int:
    """Return the first bucket that is not below `edge`, compared in floats as the SDKs do."""
    number = ceil(edge * N_BUCKETS)
    while number > 0 and (number - 1) / N_BUCKETS >= edge:
        number -= 1
    while number / N_BUCKETS < edge:
        number += 1
    return number
