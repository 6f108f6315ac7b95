"""From moments to the test of a metric: arrays for many comparisons of a treatment with control at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from operator import add

import numpy as np

from experiments.burn_in import is_burnt_in
from experiments.definitions import AnalysisPlan, Metric, Test
from experiments.errors import InvalidParameterError
from experiments.evidence import PeriodMoments
from experiments.histogram import N_BINS
from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.inference.counts import CountInference, log_rate_ratio_of
from experiments.inference.interval import BoolArray, Effects, FloatArray, Inference, IntArray, Intervals
from experiments.inference.linear import (
    LinearInference,
    MomentArrays,
    adjustment,
    mean_pairs,
    ratio_pairs,
)
from experiments.inference.places import sample_quantiles
from experiments.inference.quantile import QuantileInference
from experiments.inference.strata import MAX_COUNT
from experiments.moments import MIN_UNITS, NOTHING, SCALE, Moments

ByDay = Mapping[date, Moments]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One metric of a treatment and of control.

    Attributes
    ----------
    n_star : int
        Planned units of both variants together.
    treatment, control : Moments
        Of all closed periods.
    days : tuple of (Moments, Moments)
        Treatment and control in each closed period, oldest first.
    """

    metric: Metric
    n_star: int
    treatment: Moments
    control: Moments
    days: tuple[tuple[Moments, Moments], ...]

    @classmethod
    def of(cls, metric: Metric, *, n_star: int, treatment: ByDay, control: ByDay) -> "Pair":
        """Put the periods of two variants side by side."""
        periods = sorted(treatment.keys() | control.keys())
        days = tuple((treatment.get(day, NOTHING), control.get(day, NOTHING)) for day in periods)
        return cls(
            metric=metric,
            n_star=n_star,
            treatment=total_of(t for t, _ in days),
            control=total_of(c for _, c in days),
            days=days,
        )

    def so_far(self) -> Iterator["Pair"]:
        """Yield the pair as it stood after each period."""
        treatments = accumulate((t for t, _ in self.days), add)
        controls = accumulate((c for _, c in self.days), add)
        for treatment, control in zip(treatments, controls, strict=True):
            yield Pair(metric=self.metric, n_star=self.n_star, treatment=treatment, control=control, days=())


@dataclass(frozen=True, slots=True)
class Gated:
    """A test whose answers are kept back until its burn-in; estimates stay.

    Attributes
    ----------
    inner : Inference
    ready : array of bool, shape (k,)
    """

    inner: Inference
    ready: BoolArray

    @property
    def log_e(self) -> FloatArray:
        """Evidence against "no difference"; nan before the burn-in."""
        return np.where(self.ready, self.inner.log_e, np.nan)

    def two_sided(self, level: FloatArray) -> Effects:
        """Return intervals, nan before the burn-in."""
        return self._kept(self.inner.two_sided(level))

    def one_sided(self, level: FloatArray) -> Effects:
        """Return bounds, nan before the burn-in."""
        return self._kept(self.inner.one_sided(level))

    def _kept(self, found: Effects) -> Effects:
        return Effects(self._gate(found.effect), self._gate(found.lift))

    def _gate(self, found: Intervals) -> Intervals:
        lower, upper = (np.where(self.ready, end, np.nan) for end in (found.lower, found.upper))
        return Intervals(found.estimate, lower, upper)


def total_of(moments: Iterable[Moments]) -> Moments:
    """Return the sum of moments."""
    return sum(moments, start=NOTHING)


def by_day(periods: Iterable[PeriodMoments]) -> dict[tuple[str, str], dict[date, Moments]]:
    """Return moments by metric and variant, then by period."""
    found: dict[tuple[str, str], dict[date, Moments]] = {}
    for row in periods:
        days = found.setdefault((row.metric, row.variant), {})
        days[row.period] = days.get(row.period, NOTHING) + row.moments
    return found


def estimate_of(metric: Metric, moments: Moments) -> float | None:
    """Return a metric of one variant in its unit; None where it does not exist.

    Parameters
    ----------
    metric : Metric
        Its kind decides.
    moments : Moments
        Of that variant.

    Returns
    -------
    float or None
        Mean per unit, or of a ratio the quotient of the sums, or the sample quantile.
    """
    if not moments.n:
        return None
    if metric.test is Test.RATIO:
        return moments.total / moments.others[0] if moments.others and moments.others[0] else None
    if metric.test is Test.QUANTILE:
        value = float(sample_quantiles(_histograms([moments]), np.array([metric.quantile]))[0])
        return None if np.isnan(value) else value
    return moments.mean


def infer(test: Test, pairs: Sequence[Pair], *, plan: AnalysisPlan, alpha: float) -> Inference:
    """Apply one test to many comparisons at once.

    Parameters
    ----------
    test : Test
        Of every metric of `pairs`.
    pairs : sequence of Pair
        k comparisons.
    plan : AnalysisPlan
        `mde`, and `baseline` for conversions, say what a test is sharpest for.
    alpha : float
        The level that a normal mixture is tuned to; in (0, 0.5).

    Returns
    -------
    Inference
        Of k comparisons, in order.
    """
    if test is Test.CONVERSION:
        delta = np.full(len(pairs), _log_odds(plan))
        return ConversionInference.of(**_strata(pairs), size=len(pairs), delta=delta)
    ready = np.array([is_burnt_in(p.metric, p.treatment, p.control) for p in pairs], dtype=np.bool_)
    if test is Test.COUNT:
        counted = CountInference.of(
            **_strata(pairs),
            size=len(pairs),
            delta=np.full(len(pairs), _log_rates(plan)),
            dispersion=np.array([dispersion(p.treatment, p.control) for p in pairs]),
        )
        return Gated(counted, ready)
    n_star = np.array([p.n_star for p in pairs], dtype=np.float64)
    if test is Test.QUANTILE:
        found = QuantileInference.of(
            counts_t=_histograms([p.treatment for p in pairs]),
            counts_c=_histograms([p.control for p in pairs]),
            quantile=np.array([p.metric.quantile for p in pairs]),
            n_star=n_star,
            alpha=alpha,
        )
        return Gated(found, ready)
    t, c = _arrays(pairs)
    compared = ratio_pairs(t, c) if test is Test.RATIO else mean_pairs(t, c)
    return LinearInference.of(compared, n_star=n_star, alpha=alpha, ready=ready)


def infer_series(pair: Pair, *, plan: AnalysisPlan, alpha: float) -> Inference:
    """Apply the test of one pair after each of its periods: comparison i has seen periods 0 to i.

    Parameters
    ----------
    pair : Pair
        With k periods.
    plan, alpha
        As in `infer`.

    Returns
    -------
    Inference
        Of k comparisons; the last one is what `infer` says.
    """
    test = pair.metric.test
    if test not in (Test.CONVERSION, Test.COUNT):
        return infer(test, list(pair.so_far()), plan=plan, alpha=alpha)
    strata = _strata([pair])
    del strata["owner"]
    if test is Test.CONVERSION:
        return ConversionInference.running(**strata, delta=_log_odds(plan))
    so_far = list(pair.so_far())
    ready = np.array([is_burnt_in(p.metric, p.treatment, p.control) for p in so_far], dtype=np.bool_)
    spread = np.array([dispersion(p.treatment, p.control) for p in so_far])
    counted = CountInference.running(**strata, delta=_log_rates(plan), dispersion=spread)
    return Gated(counted, ready)


def infer_unadjusted(test: Test, pairs: Sequence[Pair], *, alpha: float) -> tuple[Inference, FloatArray]:
    """Return the same comparisons without covariates, and the variance that covariates leave, shape (k,).

    Parameters
    ----------
    test : Test
        ``mean`` or ``ratio``.
    pairs : sequence of Pair
        k comparisons.
    alpha : float
        As in `infer`.

    Returns
    -------
    tuple of Inference and array
        Variance of the adjusted difference over that of the plain one.
    """
    t, c = _arrays(pairs)
    base = 1 + (test is Test.RATIO)
    plain_t, plain_c = (MomentArrays(a.n, a.means[:, :base], a.scatter[:, :base, :base]) for a in (t, c))
    compared = (ratio_pairs if test is Test.RATIO else mean_pairs)(plain_t, plain_c)
    ready = np.array([is_burnt_in(p.metric, p.treatment, p.control) for p in pairs], dtype=np.bool_)
    n_star = np.array([p.n_star for p in pairs], dtype=np.float64)
    plain = LinearInference.of(compared, n_star=n_star, alpha=alpha, ready=ready)
    return plain, adjustment(t, c, is_ratio=test is Test.RATIO).variance_ratio


def is_adjusted(pair: Pair) -> bool:
    """Return whether covariates go into the comparison."""
    base = {Test.MEAN: 0, Test.RATIO: 1}.get(pair.metric.test)
    return base is not None and min(len(m.others) for m in (pair.treatment, pair.control)) > base


def dispersion(treatment: Moments, control: Moments) -> float:
    """Return how much more the difference of two means of counts varies than that of Poisson counts.

    Each variant's variance goes in with the weight it has in that difference: where a small variant varies
    more than a large one, the variance within both together is too small.

    Parameters
    ----------
    treatment, control : Moments
        Of a count.

    Returns
    -------
    float
        1 for a Poisson count, and where nothing can be said.

    Examples
    --------
    >>> half = Moments.of([0, 0, 0, 4 * SCALE])
    >>> dispersion(half, half)
    4.0
    """
    mean = (treatment + control).mean
    if mean <= 0 or min(treatment.n, control.n) < MIN_UNITS:
        return 1.0
    found = treatment.var / treatment.n + control.var / control.n
    return found / (mean * (1 / treatment.n + 1 / control.n))


def _log_odds(plan: AnalysisPlan) -> float:
    return float(log_odds_of(np.array(plan.baseline), np.array(plan.mde)))


def _log_rates(plan: AnalysisPlan) -> float:
    return float(log_rate_ratio_of(np.array(plan.mde)))


def _strata(pairs: Sequence[Pair]) -> dict[str, IntArray]:
    """Return every period of every pair as one stratum; `owner` says whose."""
    rows = [
        (i, t.n, c.n, t.total // SCALE, c.total // SCALE)
        for i, pair in enumerate(pairs)
        for t, c in pair.days
    ]
    largest = max((n for row in rows for n in row), default=0)
    if largest > MAX_COUNT:
        raise InvalidParameterError(f"{largest} in one period is more than can be counted: {MAX_COUNT}")
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return dict(zip(("owner", "n_t", "n_c", "x_t", "x_c"), columns, strict=True))


def _arrays(pairs: Sequence[Pair]) -> tuple[MomentArrays, MomentArrays]:
    return MomentArrays.of([p.treatment for p in pairs]), MomentArrays.of([p.control for p in pairs])


def _histograms(moments: Sequence[Moments]) -> IntArray:
    counts = np.zeros((len(moments), N_BINS), dtype=np.int64)
    for row, one in zip(counts, moments, strict=True):
        for number, n in one.bins:
            row[number] = n
    return counts
