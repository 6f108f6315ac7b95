"""The burn-in: until a test may be believed, nothing is concluded from a metric."""

import math

from experiments.definitions import Metric, MetricKind, Test
from experiments.estimates import BurnIn, Scarce
from experiments.moments import SCALE, Moments

BURN_IN_UNITS = 1_000  # in each variant
BURN_IN_CARRIERS = 50  # units that carry a sum, expected in the smaller variant
BURN_IN_VALUES = 100  # in each variant, for a quantile


def is_burnt_in(metric: Metric, treatment: Moments, control: Moments) -> bool:
    """Return whether enough is known for the test of a metric; before that, nothing may reject.

    Parameters
    ----------
    metric : Metric
        Its kind decides.
    treatment, control : Moments
        So far.

    Returns
    -------
    bool
        Conversion: always, its test is exact from the first unit on. Quantile: 100 units with a value in each
        variant. Else 1,000 units in each variant, and 50 units that carry a sum expected in the smaller one:
        the numerator, and of a ratio the denominator; of a share also those that do not count.

    Notes
    -----
    Expected: those of both variants times the smaller one's share of the units. What the small variant itself
    has does not count, for a treatment that stops all sales must be caught. Any difference found in 28 looks
    at nothing, in per cent of 1,000 runs: the most of eight cases (means of exponential and lognormal(3.5, 1)
    amounts, answers satisfied in 70 % and 40 %; 0.5 % and 2 % have a value), and before, with 100 carriers
    asked for in both variants together:

    ======  ======  ====  ====  ====
    split   before  25    50    75
    ======  ======  ====  ====  ====
    98/2    19.8    4.8   2.5   1.9
    95/5    9.9     4.1   2.5   1.9
    90/10   6.4     3.3   2.0   1.3
    50/50   1.2     1.3   1.2   1.1
    ======  ======  ====  ====  ====

    References
    ----------
    .. [1] docs/decisions/0003-statistics.md, "Burn-in".

    Examples
    --------
    >>> revenue = Metric(key="r", kind=MetricKind.MEAN, event="Order", value="total", window_s=86_400)
    >>> orders = Moments.of([0] * 900 + [SCALE] * 100)
    >>> is_burnt_in(revenue, orders, orders), is_burnt_in(revenue, orders, Moments.of([SCALE]))
    (True, False)
    """
    return burn_in_of(metric, treatment, control) is None


def burn_in_of(metric: Metric, treatment: Moments, control: Moments) -> BurnIn | None:
    """Return what is missing before the burn-in of `is_burnt_in` is over, None where nothing is.

    Parameters
    ----------
    metric, treatment, control
        As in `is_burnt_in`.

    Returns
    -------
    BurnIn or None
        Units first; of what carries sums, the scarcest.

    Examples
    --------
    >>> revenue = Metric(key="r", kind=MetricKind.MEAN, event="Order", value="total", window_s=86_400)
    >>> orders = Moments.of([0] * 900 + [SCALE] * 69)
    >>> missing = burn_in_of(revenue, orders, orders)
    >>> missing.needed, missing.so_far, missing.of.value
    (1000, 969, 'units in each variant')
    """
    test, smaller = metric.test, min(treatment.n, control.n)
    if test is Test.CONVERSION:
        return None
    if test is Test.QUANTILE:
        return _missing(BURN_IN_VALUES, smaller, Scarce.VALUES)
    both = treatment + control
    share = smaller / max(both.n, 1)
    carried = {of: n * share for of, n in _carried(metric, both).items()}
    scarcest = min(carried, key=lambda of: carried[of])
    return _missing(BURN_IN_UNITS, smaller, Scarce.UNITS) or _missing(
        BURN_IN_CARRIERS, carried[scarcest], scarcest
    )


def _carried(metric: Metric, both: Moments) -> dict[Scarce, float]:
    """Return how many units of both variants carry each sum that a normal approximation needs."""
    carried = {} if metric.kind is MetricKind.NPS else {Scarce.CARRIERS: both.effective_n}
    if metric.test is Test.RATIO:
        below = both.others[0] if both.others else 0
        square = both.products[len(both.others)] if both.others else 0
        carried[Scarce.DENOMINATORS] = below * below / square if square else 0.0
        if metric.kind.is_share:
            carried[Scarce.REST] = max(0.0, (below - both.total) / SCALE)
    return carried


def _missing(needed: int, so_far: float, of: Scarce) -> BurnIn | None:
    return None if so_far >= needed else BurnIn(needed=needed, so_far=math.floor(so_far), of=of)
