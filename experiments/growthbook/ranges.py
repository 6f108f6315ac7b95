"""GrowthBook's fractions in whole buckets, so that everybody stays where they are."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from experiments.allocation import whole_weights
from experiments.growthbook.patterns import UntranslatableError
from experiments.hashing import N_BUCKETS
from experiments.lifecycle import TOTAL_BP

Pair: TypeAlias = tuple[int, int]

THOUSAND = 1_000


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


def split_of(rule: Mapping[str, Any], n: int) -> tuple[tuple[int, ...], int]:
    """Return weights and allocation that give every bucket the variant it has under an experiment rule.

    Parameters
    ----------
    rule : mapping
        Its ``ranges``, or its ``weights`` and ``coverage``.
    n : int
        Number of variants.

    Returns
    -------
    weights : tuple of int
        Basis points, together 10000.
    allocation : int
        Basis points.

    Raises
    ------
    UntranslatableError
        If no weights and no allocation give the same ranges.

    Examples
    --------
    >>> split_of({"weights": [0.2, 0.8], "coverage": 0.5}, 2)
    ((2000, 8000), 5000)
    """
    ranges = [buckets_of(one) for one in _fractions(rule, n)]
    starts = [start for start, _end in ranges]
    if len(ranges) != n or starts[0] != 0 or starts != sorted(starts):
        raise UntranslatableError("the ranges of its variants do not follow one another from 0 on")
    weights = tuple(end - start for start, end in zip(starts, [*starts[1:], TOTAL_BP], strict=True))
    widths = [end - start for start, end in ranges]
    largest = max(range(n), key=lambda i: weights[i])
    guess = -(-widths[largest] * TOTAL_BP // weights[largest])
    for allocation in range(max(guess - 1, 0), min(guess + 2, TOTAL_BP) + 1):
        if all(w * allocation // TOTAL_BP == width for w, width in zip(weights, widths, strict=True)):
            return weights, allocation
    raise UntranslatableError(
        "its variants are not rolled out by the same share: ranges with gaps of their own"
    )


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
