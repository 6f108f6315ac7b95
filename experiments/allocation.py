"""Which buckets a variant owns, and which text identifies a unit."""

from typing import TypeAlias

from experiments.definitions import Experiment
from experiments.hashing import bucket
from experiments.identifiers import is_identifier
from experiments.lifecycle import TOTAL_BP
from experiments.targeting import Attributes

ANONYMOUS_ID = "anonymous_id"
TARGETING_KEY = "targetingKey"

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


def unit_text(value: object) -> str | None:
    """Return a unit id as the text that is hashed, or None when it cannot identify a unit.

    GrowthBook's SDKs do not bucket empty text, 0 or null either, and write whole numbers without a point.

    Parameters
    ----------
    value : object
        An attribute of the context.

    Returns
    -------
    str or None
        Text as it is, whole numbers in decimal; None for everything else.

    Examples
    --------
    >>> unit_text("u1"), unit_text(7), unit_text(7.0), unit_text(0), unit_text(True)
    ('u1', '7', '7', None, None)
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value)


def unit_id_of(unit: str, context: Attributes) -> str | None:
    """Return the id that `unit` is randomized by, or None if the context does not hold one.

    An id that no event could carry (longer than 128 characters, control characters) is none: its exposure
    could never be stored, so it must not be enrolled.

    Parameters
    ----------
    unit : str
        Name of the attribute; ``anonymous_id`` may also arrive as OpenFeature's ``targetingKey``.
    context : mapping of str to object
        Attributes of the unit.

    Returns
    -------
    str or None
        The text that is hashed.

    Examples
    --------
    >>> unit_id_of("anonymous_id", {"targetingKey": "t-1"})
    't-1'
    """
    found = unit_text(context.get(unit))
    if is_identifier(found):
        return found
    if unit == ANONYMOUS_ID:
        found = unit_text(context.get(TARGETING_KEY))
        return found if is_identifier(found) else None
    return None
