"""How many units have events of a metric, as far as its moments tell."""

from experiments.definitions import Metric, MetricKind, Test
from experiments.moments import SCALE, Moments

COUNTS_STEPS = frozenset({MetricKind.RATIO, MetricKind.FUNNEL})


def reporting_units(metric: Metric, moments: Moments) -> float:
    """Return a lower bound of the units that have events of the metric; 0 only where no event was seen.

    Conversions are counted. Where units have amounts, (sum x)^2 / sum x^2 units at least are not zero (Cauchy
    and Schwarz); of ratios and surveys, x is the denominator: occasions, answers.

    Parameters
    ----------
    metric : Metric
        What the numbers mean.
    moments : Moments
        Of one variant.

    Returns
    -------
    float

    Examples
    --------
    >>> buy = Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=1)
    >>> reporting_units(buy, Moments.of([0, SCALE, SCALE]))
    2.0
    """
    test = metric.kind.test
    if test is Test.QUANTILE:
        return float(moments.n)
    if metric.kind is MetricKind.CHURN:
        return moments.n - moments.total / SCALE
    if test is Test.CONVERSION:
        return moments.total / SCALE
    if test is Test.RATIO:
        return _denominators(moments)
    return moments.effective_n if moments.total else float(moments.total_sq > 0)


def is_silent(metric: Metric, moments: Moments) -> bool:
    """Return whether no unit has an event of the metric, or of a step that its ratio counts.

    Parameters
    ----------
    metric : Metric
        What the numbers mean.
    moments : Moments
        Of all variants.

    Returns
    -------
    bool

    Examples
    --------
    >>> buy = Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=1)
    >>> is_silent(buy, Moments.of([0, 0])), is_silent(buy, Moments.of([0, SCALE]))
    (True, False)
    """
    if reporting_units(metric, moments) == 0:
        return True
    return metric.kind in COUNTS_STEPS and moments.total_sq == 0


def _denominators(moments: Moments) -> float:
    if not moments.others:
        return 0.0
    # Products: the value with each other number, then the first other number squared.
    total, total_sq = moments.others[0], moments.products[len(moments.others)]
    return total * total / total_sq if total_sq else 0.0
