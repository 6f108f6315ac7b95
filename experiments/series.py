"""The confidence sequence of the primary metric over time: what the verdict of each closed day said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from experiments.comparisons import Pair, by_day, infer_series
from experiments.definitions import Experiment, Metric
from experiments.evidence import PeriodMoments
from experiments.inference.multiplicity import shared_level
from experiments.moments import NOTHING
from experiments.power import alpha_per_treatment, planned_total
from experiments.readings import estimates_of


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """The lift after one closed period; bounds are None before the burn-in or where there is no end."""

    period: date
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int


def series(
    experiment: Experiment, metric: Metric, periods: Sequence[PeriodMoments]
) -> Mapping[str, tuple[SeriesPoint, ...]]:
    """Return the lift of every treatment after each period: the confidence sequence over time.

    Points are not intersected with earlier ones: each is what the verdict of that day said, also about the
    level that the treatments shared on that day. All days cost about as much as a few.

    Parameters
    ----------
    experiment : Experiment
        The plan.
    metric : Metric
        The primary one; its rows are used.
    periods : sequence of PeriodMoments
        Closed ones (`Evidence.closed_periods`), of any metric and in any order.

    Returns
    -------
    mapping of treatment to tuple of SeriesPoint
        One for each period with units of control or that treatment, oldest first.

    Raises
    ------
    InvalidParameterError
        If the plan is outside its domain.

    Examples
    --------
    >>> from experiments.definitions import MetricKind, MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="buy"))
    >>> series(e, Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=1), ())
    {'b': ()}
    """
    pairs = _pairs(experiment, metric, periods)
    days = sorted({p.period for p in periods if p.metric == metric.key})
    if not days:
        return dict.fromkeys(pairs, ())
    tuned = alpha_per_treatment(experiment)
    inferred = {key: infer_series(pair, plan=experiment.analysis, alpha=tuned) for key, pair in pairs.items()}
    log_e = np.stack([inference.log_e for inference in inferred.values()])
    level = np.array([shared_level(column, alpha=experiment.analysis.alpha) for column in log_e.T])
    found = {}
    for key, inference in inferred.items():
        lifts = estimates_of(inference.two_sided(level).lift)
        n = np.cumsum([t.n + c.n for t, c in pairs[key].days]).tolist()
        found[key] = tuple(
            SeriesPoint(day, lift.estimate, lift.lower, lift.upper, units)
            for day, lift, units, (t, c) in zip(days, lifts, n, pairs[key].days, strict=True)
            if t.n or c.n
        )
    return found


def _pairs(experiment: Experiment, metric: Metric, periods: Sequence[PeriodMoments]) -> dict[str, Pair]:
    """Return each treatment beside control, all over the same days."""
    rows = by_day(periods)
    empty = {p.period: NOTHING for p in periods if p.metric == metric.key}
    control = empty | rows.get((metric.key, experiment.control.key), {})
    return {
        variant.key: Pair.of(
            metric,
            n_star=planned_total(experiment, variant.key),
            treatment=empty | rows.get((metric.key, variant.key), {}),
            control=control,
        )
        for variant in experiment.variants[1:]
    }
