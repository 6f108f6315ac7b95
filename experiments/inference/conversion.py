"""Conversions: the exact test given each closed period's margins, and its inversion in the odds ratio."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from experiments.errors import InvalidParameterError
from experiments.inference.hypergeometric import centred_log_moment, mean_series, mean_shift
from experiments.inference.interval import Effects, FloatArray, IntArray, Intervals
from experiments.inference.inversion import Tilted
from experiments.inference.strata import Grouping, Tables, series_of
from experiments.inference.tilted import LIMIT, NEAR, Ends

ORDER = 28  # of the series in tanh(theta / 4)
FEW_UNITS = (
    64  # below it the sum over the support is taken instead: the recursion needs more units than terms
)
LEFT_OUT = 1e-9  # of the log likelihood, at most, by ending the series


def log_odds_of(baseline: FloatArray, mde: FloatArray) -> FloatArray:
    """Return the log odds ratio of converting at ``baseline * (1 + mde)`` instead of at `baseline`.

    Parameters
    ----------
    baseline : array
        Share that converts in control; in (0, 1). The arguments broadcast.
    mde : array
        Relative difference; above 0. A rate it would carry past 1 is taken half way to 1, as in planning.

    Returns
    -------
    array
        Above 0.

    Raises
    ------
    InvalidParameterError
        If an argument is outside its domain.

    Examples
    --------
    >>> round(float(log_odds_of(np.array(0.05), np.array(0.1))), 4)
    0.1006
    """
    control, lift = np.asarray(baseline, dtype=np.float64), np.asarray(mde, dtype=np.float64)
    if not ((control > 0) & (control < 1)).all() or not (lift > 0).all():
        raise InvalidParameterError(f"{baseline=}, {mde=}")
    treatment = np.minimum(control * (1 + lift), (1 + control) / 2)
    result: FloatArray = np.log(treatment / control) + np.log1p(-control) - np.log1p(-treatment)
    return result


@dataclass(frozen=True, slots=True)
class Hypergeometrics:
    """The strata that can tell something of the odds ratio, as `Strata`."""

    tables: Tables
    grouping: Grouping
    excess: FloatArray
    low: FloatArray
    high: FloatArray
    near: FloatArray
    series: FloatArray

    @classmethod
    def of(cls, tables: Tables, grouping: Grouping) -> Self:
        """Leave out the strata whose margins allow one table only, and sum the series of the others."""
        both = tables.both
        smallest, largest = np.maximum(0, both - tables.n_c), np.minimum(both, tables.n_t)
        kept = largest > smallest
        tables, grouping = tables.only(kept), grouping.only(kept)
        series, near = _series_of(tables, grouping)
        excess, low, high = grouping.excesses(tables, smallest[kept], largest[kept])
        return cls(tables, grouping, excess, low, high, near, series)

    def sums(self, theta: FloatArray, chosen: IntArray) -> FloatArray:
        """Return K at `theta` (q,) for some of the comparisons, shape (q, number chosen)."""
        rows, grouping = self.grouping.select(chosen)
        tables = self.tables.only(rows)
        w = np.tanh(theta / 4)
        if np.abs(w).max() > NEAR:
            return grouping.total(_moments(theta, tables))
        few = tables.n_t + tables.n_c < FEW_UNITS
        result = np.vander(w, len(self.series), increasing=True) @ self.series[:, chosen]
        return result + grouping.only(few).total(_moments(theta, tables.only(few)))


def _moments(theta: FloatArray, tables: Tables) -> FloatArray:
    return centred_log_moment(theta[None, :], tables.n_t, tables.n_c, tables.both).T


def _series_of(tables: Tables, grouping: Grouping) -> tuple[FloatArray, FloatArray]:
    """Return the power series of K in w from the strata of many units, and up to which theta it is K.

    dK / dw = 4 mean / (1 - w^2), of which K is the integral from 0.
    """
    many = tables.n_t + tables.n_c >= FEW_UNITS
    large = tables.only(many)
    n_t, n_c, m = (part.astype(np.float64) for part in (large.n_t, large.n_c, large.both))
    rate = 4 * grouping.only(many).total(mean_series(n_t, n_c, m, ORDER))
    for power in range(2, ORDER + 1):
        rate[power] += rate[power - 2]
    series = np.zeros((ORDER + 2, grouping.size))
    series[1:] = rate / np.arange(1, ORDER + 2)[:, None]
    last = np.maximum(4 * np.abs(series[-2:]).max(axis=0), LEFT_OUT)
    return series, 4 * np.arctanh(np.minimum((LEFT_OUT / last) ** (1 / (ORDER + 2)), NEAR))


@dataclass(frozen=True, slots=True)
class ConversionInference:
    """The exact conversion test of k comparisons, valid at every look from the first on (an `Inference`).

    In each closed period, given how many units each variant had and how many converted in all, the number
    that converted in treatment has Fisher's noncentral hypergeometric distribution, in the odds ratio alone:
    rates that drift from period to period cannot bias it. The likelihood is the product over periods.
    Exact in the odds ratio, so "no difference" is rejected exactly. Effect and lift are what an odds ratio
    means at the pooled rate; that is known up to chance, which widens every end other than 0.

    Attributes
    ----------
    test : Tilted
        Evidence and ends in the log odds ratio.
    n_t, n_c, m : array, shape (k,)
        Pooled over the strata: units and conversions.

    References
    ----------
    .. [1] Fisher (1935), "The logic of inductive inference", JRSS 98.
    .. [2] Ville (1939), "Etude critique de la notion de collectif".
    .. [3] Robbins (1970), "Statistical methods related to the law of the iterated logarithm" (mixtures).

    Examples
    --------
    Two days, 5,000 units a variant on each, 12 % more conversions in treatment.

    >>> day = {"n_t": [5000, 5000], "n_c": [5000, 5000], "x_t": [570, 560], "x_c": [500, 510]}
    >>> strata = {name: np.array(counts) for name, counts in day.items()}
    >>> test = ConversionInference.of(owner=np.array([0, 0]), size=1, delta=np.array([0.11]), **strata)
    >>> lift = test.two_sided(np.array([0.05])).lift
    >>> [round(float(end[0]), 3) for end in (np.exp(test.log_e), lift.estimate, lift.lower, lift.upper)]
    [14.992, 0.119, -0.005, 0.258]
    """

    test: Tilted
    n_t: FloatArray
    n_c: FloatArray
    m: FloatArray

    @classmethod
    def of(  # noqa: PLR0913
        cls,
        *,
        owner: IntArray,
        n_t: IntArray,
        n_c: IntArray,
        x_t: IntArray,
        x_c: IntArray,
        size: int,
        delta: FloatArray,
    ) -> Self:
        """Test many comparisons.

        Parameters
        ----------
        owner : array of int, shape (s,)
            The comparison of each stratum, ascending in [0, size).
        n_t, n_c, x_t, x_c : array of int64, shape (s,)
            Units, and those of them that converted, of treatment and control.
        size : int
            Number of comparisons, k; one without strata has no evidence.
        delta : array, shape (k,)
            Log odds ratio to be found (`log_odds_of`).

        Returns
        -------
        ConversionInference
            Of shape (k,).

        Raises
        ------
        InvalidParameterError
            If a count or `delta` is outside its domain.
        """
        return cls._of(Tables(n_t, n_c, x_t, x_c), Grouping.of(owner, size), delta)

    @classmethod
    def running(cls, *, n_t: IntArray, n_c: IntArray, x_t: IntArray, x_c: IntArray, delta: float) -> Self:
        """Test one comparison as it stood after each of its strata: look i has the strata 0 to i.

        Parameters
        ----------
        n_t, n_c, x_t, x_c : array of int64, shape (k,) or (r, looks)
            As in `of`, in the order of the periods; one series, or r of them, k = r * looks in row order.
        delta : float
            As in `of`.

        Returns
        -------
        ConversionInference
            Of shape (k,), at about the cost of one comparison.

        Raises
        ------
        InvalidParameterError
            As in `of`.
        """
        return cls._of(*series_of(n_t, n_c, x_t, x_c), np.full(n_t.size, float(delta)))

    @classmethod
    def _of(cls, tables: Tables, grouping: Grouping, delta: FloatArray) -> Self:
        if (tables.x_t > tables.n_t).any() or (tables.x_c > tables.n_c).any():
            raise InvalidParameterError("more units converted than there were")
        totals = (grouping.total(part).astype(np.float64) for part in (tables.n_t, tables.n_c, tables.both))
        return cls(Tilted.of(Hypergeometrics.of(tables, grouping), delta), *totals)

    @property
    def log_e(self) -> FloatArray:
        """Natural logarithm of the evidence against an odds ratio of 1, shape (k,); 0 where there is none."""
        return self.test.log_e

    def odds_ratio(self, level: FloatArray) -> Intervals:
        """Return the odds ratios not rejected at `level`; 0 and inf where there is no end.

        The estimate is the conditional maximum likelihood, 0 or inf if it has no other.
        """
        ends = self.test.two_sided(level)
        return Intervals(np.exp(ends.estimate), np.exp(ends.lower), np.exp(ends.upper))

    def two_sided(self, level: FloatArray) -> Effects:
        """Return the effects and lifts not rejected at `level`, shape (k,)."""
        return self._effects(self.test.two_sided(level))

    def one_sided(self, level: FloatArray) -> Effects:
        """Return bounds of effect and lift, each missing in at most `level` of all runs, shape (k,)."""
        return self._effects(self.test.one_sided(level))

    def _effects(self, ends: Ends) -> Effects:
        estimate = self._at(ends.estimate, self.m)
        lower, upper = self._end(ends.lower, ends, estimate, -1), self._end(ends.upper, ends, estimate, 1)
        below, above = ends.lower == -np.inf, ends.upper == np.inf
        effect = estimate[0], np.where(below, -1.0, lower[0]), np.where(above, 1.0, upper[0])
        lift = estimate[1], np.where(below, -1.0, lower[1]), np.where(above, np.inf, upper[1])
        return Effects(Intervals(*effect), Intervals(*lift))

    def _end(self, theta: FloatArray, ends: Ends, estimate: FloatArray, side: int) -> FloatArray:
        """Return effect and lift at an end, moved outwards for the chance in the pooled rate, but not past 0.

        With many data the odds ratio and the pooled conversions are independent, so what each contributes
        adds up in squares: ``a`` from the estimate to the end, and ``b`` by as many standard errors of the
        conversions as lie between estimate and end. Both standard errors come from the two binomial
        variances: ``v_t + v_c`` of the conversions, ``1/v_t + 1/v_c`` of the log odds ratio.
        """
        here, n = self._at(theta, self.m), self.n_t + self.n_c
        with np.errstate(divide="ignore", invalid="ignore"):
            control = np.clip((self.m - self.n_t * here[0]) / n, 0.0, 1.0)
            treatment = np.clip(control + here[0], 0.0, 1.0)
            spread = np.sqrt(self.n_t * treatment * (1 - treatment) * self.n_c * control * (1 - control))
            moved = np.abs(theta - np.clip(ends.estimate, -LIMIT, LIMIT)) * spread
            fewer, more = np.maximum(self.m - moved, 0.5), np.minimum(self.m + moved, n - 0.5)
            outermost = np.maximum(side * self._at(theta, fewer), side * self._at(theta, more))
            b = np.maximum(outermost - side * here, 0.0)
            a = np.abs(estimate - here)
            end = here + side * np.where(b > 0, b * b / (a + np.hypot(a, b)), 0.0)
        return np.where(np.sign(end) == np.sign(theta), end, here)

    def _at(self, theta: FloatArray, m: FloatArray) -> FloatArray:
        """Return effect and lift, shape (2, k), at a log odds ratio and m conversions; signed as theta."""
        shift = mean_shift(np.tanh(theta / 4), self.n_t, self.n_c, m)
        with np.errstate(divide="ignore", invalid="ignore"):
            effect = np.clip(shift / self.n_t + shift / self.n_c, -1.0, 1.0)
            control = np.maximum(m / (self.n_t + self.n_c) - shift / self.n_c, 0.0)
            lift = np.maximum(effect / control, -1.0)
        tiny = np.finfo(np.float64).tiny * np.sign(theta)
        return np.stack([np.where(effect == 0, tiny, effect), np.where(lift == 0, tiny, lift)])
