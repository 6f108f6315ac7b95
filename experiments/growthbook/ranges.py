"""GrowthBook's fractions in whole buckets, so that everybody stays where they are."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from experiments.allocation import whole_weights
from experiments.growthbook.patterns import UntranslatableError
from experiments.hashing import N_BUCKETS
from experiments.lifecycle import TOTAL_BP

Pair: TypeAlias = tuple[int, int]

THOUSAND = 1_000
FEW = 10
TOO_FAR = 2


def buckets_of(range_: Sequence[float], *, n: int = N_BUCKETS) -> Pair:
    """Return the half-open range of basis points that a range of fractions holds.

    Parameters
    ----------
    range_ : sequence of 2 float
        As an SDK compares it with bucket / n.
    n : int
        Number of buckets: 10000, or 1000 for hash version 1.

    Returns
    -------
    start, end : int
        In 0..10000.

    Examples
    --------
    >>> buckets_of([0.1, 1 / 3]), buckets_of([0, 0.4], n=1000)
    ((1000, 3334), (0, 4000))
    """
    start, end = (bisect_left(range(n), edge, key=lambda bucket: bucket / n) for edge in range_)
    return start * (N_BUCKETS // n), max(start, end) * (N_BUCKETS // n)


class Split(NamedTuple):
    """Weights and allocation in basis points, and how many of 10,000 buckets join and leave with them."""

    weights: tuple[int, ...]
    allocation: int
    n_joined: int = 0
    n_left: int = 0


def split_of(rule: Mapping[str, Any], n: int) -> Split:
    """Return weights and allocation under which nobody's variant is another than under an experiment rule.

    Shares are whole numbers here and floats there: where the last buckets of the variants cannot all be kept
    as they are, a few join, or at most one of each variant leaves.

    Parameters
    ----------
    rule : mapping
        Its ``ranges``, or its ``weights`` and ``coverage``.
    n : int
        Number of variants.

    Returns
    -------
    Split

    Raises
    ------
    UntranslatableError
        If no weights and no allocation give these ranges.

    Examples
    --------
    >>> split_of({"weights": [0.5, 0.5], "coverage": 0.4}, 2)
    Split(weights=(5000, 5000), allocation=4000, n_joined=0, n_left=0)
    >>> split_of({"coverage": 0.5}, 3)
    Split(weights=(3334, 3333, 3333), allocation=5002, n_joined=1, n_left=0)
    """
    ranges = [buckets_of(one) for one in _fractions(rule, n)]
    starts = [start for start, _end in ranges]
    if len(ranges) != n or starts[0] != 0 or starts != sorted(starts):
        raise UntranslatableError("the ranges of its variants do not follow one another from 0 on")
    weights = tuple(end - start for start, end in zip(starts, [*starts[1:], TOTAL_BP], strict=True))
    widths = [end - start for start, end in ranges]
    found = [_compared(weights, widths, allocation) for allocation in range(TOTAL_BP + 1)]
    best = min(found, key=_badness)
    if _badness(best)[0] == TOO_FAR:
        raise UntranslatableError("its variants are not rolled out by the same share: ranges with gaps")
    return best


def _compared(weights: tuple[int, ...], widths: Sequence[int], allocation: int) -> Split:
    more = [w * allocation // TOTAL_BP - width for w, width in zip(weights, widths, strict=True)]
    return Split(weights, allocation, sum(m for m in more if m > 0), -sum(m for m in more if m < 0))


def _badness(split: Split) -> Pair:
    """Return how much worse a split is than keeping every bucket; nobody leaving comes first."""
    if not split.n_left and split.n_joined <= FEW:
        return 0, split.n_joined
    changed = split.n_joined + split.n_left
    return (1 if changed <= len(split.weights) else TOO_FAR), changed


def _fractions(rule: Mapping[str, Any], n: int) -> Sequence[Sequence[float]]:
    if rule.get("ranges"):
        return list(rule["ranges"])
    coverage = min(max(rule.get("coverage", 1), 0), 1)
    given = rule.get("weights")
    if given is None or whole_weights(n, given) == whole_weights(n):
        given = [1 / n] * n
    found, start = [], 0.0
    for weight in given:
        found.append((start, start + coverage * weight))
        start += weight
    return found
