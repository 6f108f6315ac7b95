"""Which buckets a variant owns, and which text identifies a unit."""

from typing import TypeAlias

from experiments.definitions import Experiment
from experiments.hashing import bucket
from experiments.lifecycle import TOTAL_BP
from experiments.units import ANONYMOUS_ID, TARGETING_KEY, unit_id_of, unit_text

__all__ = [
    "ANONYMOUS_ID",
    "TARGETING_KEY",
    "Ranges",
    "bucket_ranges",
    "unit_id_of",
    "unit_text",
    "variant_of",
]

Ranges: TypeAlias = tuple[tuple[int, int, str], ...]


def bucket_ranges(experiment: Experiment) -> Ranges:
    """Return, for each variant in order, the half-open range of buckets that it owns.

    Growing the allocation only moves the ends up: nobody who is enrolled moves.

    Parameters
    ----------
    experiment : Experiment
        Any experiment.

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
    ranges = []
    start = 0
    for variant in experiment.variants:
        width = variant.weight_bp * experiment.allocation_bp // TOTAL_BP
        ranges.append((start, start + width, variant.key))
        start += variant.weight_bp
    return tuple(ranges)


def variant_of(experiment: Experiment, unit_id: str) -> str | None:
    """Return the variant that bucket and allocation give a unit; audience, overrides and status do not count.

    Parameters
    ----------
    experiment : Experiment
        The definition, of any revision.
    unit_id : str
        As it was sent; not empty.

    Returns
    -------
    str or None
        None when the unit's bucket is not allocated.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> variant_of(Experiment(key="x", variants=halves, metrics=MetricPlan(primary="m")), "unit-1")
    'b'
    """
    number = bucket(experiment.salt, unit_id)
    for start, end, key in bucket_ranges(experiment):
        if start <= number < end:
            return key
    return None
