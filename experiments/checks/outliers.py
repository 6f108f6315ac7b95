"""Whether single units could carry a sum: one huge order moves a mean more than any variant does."""

import math
from collections.abc import Mapping

from experiments.checks.finding import CheckState, Finding, advised, defined, listed, titled
from experiments.checks.weekdays import may_conclude
from experiments.definitions import Experiment, Metric, MetricKind
from experiments.evidence import Evidence, cumulate
from experiments.moments import NOTHING, SCALE, Moments

NAME = "outliers"
SUMS = frozenset(
    {MetricKind.MEAN, MetricKind.COUNT, MetricKind.LIFETIME_VALUE, MetricKind.MARGIN, MetricKind.RATIO}
)
MIN_UNITS = 1_000  # in each variant; before that a mean has no interval anyway
ADVICE = (
    "Give the metric a `cap` (or a lower one) that only a few units in a thousand reach, before the next "
    "phase: a cap chosen after a look at the result is not honest."
)


def check(experiment: Experiment, metrics: Mapping[str, Metric], evidence: Evidence) -> Finding:
    """Compare what the largest unit can have of a variant's sum with half of the smallest lift of interest.

    A unit with the share s of a variant's sum moves its mean, and so the lift, by s. No unit has more than
    the root of the sum of squares, nor more than the cap.

    Parameters
    ----------
    experiment : Experiment
        Its plan names the metrics and `mde`.
    metrics : mapping of str to Metric
        Their `cap` is looked at.
    evidence : Evidence
        Its closed periods are looked at.

    Returns
    -------
    Finding
        A warning that names the metrics, once a decision can fall; never an alarm. With as many units as
        planned for the metric's own spread the bound is about a quarter of `mde`.

    Examples
    --------
    >>> sorted(kind.value for kind in SUMS)
    ['count', 'lifetime_value', 'margin', 'mean', 'ratio']
    """
    sums = cumulate(evidence.closed_periods())
    shares: dict[str, float] = {}
    for metric in defined(experiment, metrics):
        arms = [sums.get((metric.key, v.key), NOTHING) for v in experiment.variants if v.weight_bp]
        if metric.kind in SUMS and min(m.n for m in arms) >= MIN_UNITS:
            shares[metric.key] = max(largest_share(m, cap=metric.cap) for m in arms)
    return _finding(experiment, evidence, shares, metrics)


def largest_share(moments: Moments, *, cap: float | None) -> float:
    """Return the most that one unit can have of a sum.

    Parameters
    ----------
    moments : Moments
        Of one variant.
    cap : float or None
        In the metric's unit; no unit has more.

    Returns
    -------
    float
        In [0, 1]; 0 where there is no sum above zero.

    Examples
    --------
    >>> largest_share(Moments.of([SCALE] * 100), cap=None)
    0.1
    >>> largest_share(Moments.of([SCALE] * 100), cap=2.0)
    0.02
    """
    if moments.total <= 0:
        return 0.0
    largest = math.sqrt(moments.total_sq)
    if cap is not None:
        largest = min(largest, cap * SCALE)
    return min(1.0, largest / moments.total)


def _finding(
    experiment: Experiment, evidence: Evidence, shares: Mapping[str, float], metrics: Mapping[str, Metric]
) -> Finding:
    limit = experiment.analysis.mde / 2
    facts = {"largest_shares": {key: float(f"{share:.6g}") for key, share in shares.items()}}
    if not shares:
        detail = "No metric is a sum that single units could carry."
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    heavy = [key for key, share in shares.items() if share > limit]
    if not heavy:
        detail = f"No unit can have more than {100 * max(shares.values()):.1f} % of a sum."
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    state = CheckState.WARNING if may_conclude(experiment, evidence) else CheckState.NOT_YET_KNOWN
    told = [
        f"{titled(metrics[key])} (up to {100 * shares[key]:.1f} %"
        f"{', no cap' if metrics[key].cap is None else ''})"
        for key in heavy
    ]
    detail = (
        f"A single unit may carry more than {100 * limit:g} % of a variant's sum, half of the smallest "
        f"effect of interest: {listed(told)}."
    )
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts=facts))
