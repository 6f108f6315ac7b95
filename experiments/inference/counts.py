"""Counts: treatment's events given those of both in each closed period, and intervals of the rate ratio."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from experiments.errors import InvalidParameterError
from experiments.inference.interval import Effects, FloatArray, IntArray, Intervals
from experiments.inference.inversion import Tilted
from experiments.inference.strata import Grouping, Tables, series_of
from experiments.inference.tilted import BEYOND, Ends


def log_rate_ratio_of(mde: FloatArray) -> FloatArray:
    """Return the log rate ratio of a relative difference.

    Parameters
    ----------
    mde : array
        Above 0.

    Returns
    -------
    array
        Above 0.

    Raises
    ------
    InvalidParameterError
        If `mde` is outside its domain.

    Examples
    --------
    >>> round(float(log_rate_ratio_of(np.array(0.1))), 4)
    0.0953
    """
    lift = np.asarray(mde, dtype=np.float64)
    if not (lift > 0).all():
        raise InvalidParameterError(f"{mde=}")
    return np.log1p(lift)


@dataclass(frozen=True, slots=True)
class Binomials:
    """The strata that can tell something of the rate ratio, as `Strata`; all divided by the dispersion."""

    share: FloatArray
    events: FloatArray
    grouping: Grouping
    dispersion: FloatArray
    excess: FloatArray
    low: FloatArray
    high: FloatArray
    near: FloatArray

    @classmethod
    def of(cls, tables: Tables, grouping: Grouping, dispersion: FloatArray) -> Self:
        """Leave out the strata without events, or with units of one variant only."""
        kept = (tables.n_t > 0) & (tables.n_c > 0) & (tables.both > 0)
        tables, grouping = tables.only(kept), grouping.only(kept)
        excess, low, high = grouping.excesses(tables, np.zeros_like(tables.both), tables.both)
        return cls(
            tables.n_t / (tables.n_t + tables.n_c),
            tables.both.astype(np.float64),
            grouping,
            dispersion,
            excess / dispersion,
            low / dispersion,
            high / dispersion,
            np.full(grouping.size, BEYOND),
        )

    def sums(self, theta: FloatArray, chosen: IntArray) -> FloatArray:
        """Return K at `theta` (q,) for some of the comparisons, shape (q, number chosen)."""
        rows, grouping = self.grouping.select(chosen)
        share, tilt = self.share[rows], theta[:, None]
        moments = np.log1p(share * np.expm1(tilt)) - share * tilt
        return grouping.total(self.events[rows] * moments) / self.dispersion[chosen]


@dataclass(frozen=True, slots=True)
class CountInference:
    """The conditional test of event rates of k comparisons (an `Inference`).

    In each closed period, given the events of both variants, those of treatment are binomial with its share
    of the units, tilted by the rate ratio: exact, at every look, if each unit's events are Poisson. They
    seldom are, for units differ; the log likelihood is therefore divided by the dispersion, the variance over
    the mean of one unit's count (quasi-likelihood). With an estimated dispersion the test is asymptotic, and
    callers keep a burn-in.

    Attributes
    ----------
    test : Tilted
        Evidence and ends in the log rate ratio.
    n_t, n_c, m : array, shape (k,)
        Pooled over the strata: units and events.

    References
    ----------
    .. [1] Lindon, Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS (conditioning).
    .. [2] McCullagh, Nelder (1989), Generalized Linear Models, 2nd ed., section 9.2 (dispersion).

    Examples
    --------
    >>> test = CountInference.of(
    ...     owner=np.array([0]), n_t=np.array([5000]), n_c=np.array([5000]), x_t=np.array([1210]),
    ...     x_c=np.array([1010]), size=1, delta=np.array([0.1]), dispersion=np.array([1.0]))
    >>> lift = test.two_sided(np.array([0.05])).lift
    >>> [round(float(end[0]), 3) for end in (np.exp(test.log_e), lift.estimate, lift.lower, lift.upper)]
    [751.034, 0.198, 0.06, 0.355]
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
        dispersion: FloatArray,
    ) -> Self:
        """Test many comparisons.

        Parameters
        ----------
        owner : array of int, shape (s,)
            The comparison of each stratum, ascending in [0, size).
        n_t, n_c, x_t, x_c : array of int64, shape (s,)
            Units and their events, whole ones, of treatment and control.
        size : int
            Number of comparisons, k; one without strata has no evidence.
        delta : array, shape (k,)
            Log rate ratio to be found (`log_rate_ratio_of`).
        dispersion : array, shape (k,)
            Variance over mean of one unit's count; below 1 it is taken as 1.

        Returns
        -------
        CountInference
            Of shape (k,).

        Raises
        ------
        InvalidParameterError
            If a count, `delta` or `dispersion` is outside its domain.
        """
        return cls._of(Tables(n_t, n_c, x_t, x_c), Grouping.of(owner, size), delta, dispersion)

    @classmethod
    def running(
        cls,
        *,
        n_t: IntArray,
        n_c: IntArray,
        x_t: IntArray,
        x_c: IntArray,
        delta: float,
        dispersion: FloatArray,
    ) -> Self:
        """Test one comparison as it stood after each of its strata: look i has the strata 0 to i.

        Parameters
        ----------
        n_t, n_c, x_t, x_c : array of int64, shape (k,) or (r, looks)
            As in `of`, in the order of the periods; one series, or r of them, k = r * looks in row order.
        delta : float
            As in `of`.
        dispersion : array, shape (k,)
            As estimated at each look.

        Returns
        -------
        CountInference
            Of shape (k,), at about the cost of one comparison.

        Raises
        ------
        InvalidParameterError
            As in `of`.
        """
        return cls._of(*series_of(n_t, n_c, x_t, x_c), np.full(n_t.size, float(delta)), dispersion)

    @classmethod
    def _of(cls, tables: Tables, grouping: Grouping, delta: FloatArray, dispersion: FloatArray) -> Self:
        if dispersion.shape != delta.shape or not (np.isfinite(dispersion) & (dispersion >= 0)).all():
            raise InvalidParameterError(f"{dispersion=}")
        strata = Binomials.of(tables, grouping, np.maximum(dispersion, 1.0))
        totals = (grouping.total(part).astype(np.float64) for part in (tables.n_t, tables.n_c, tables.both))
        return cls(Tilted.of(strata, delta), *totals)

    @property
    def log_e(self) -> FloatArray:
        """Natural logarithm of the evidence against a rate ratio of 1, shape (k,); 0 where there is none."""
        return self.test.log_e

    def rate_ratio(self, level: FloatArray) -> Intervals:
        """Return the rate ratios not rejected at `level`; 0 and inf where there is no end."""
        ends = self.test.two_sided(level)
        return Intervals(np.exp(ends.estimate), np.exp(ends.lower), np.exp(ends.upper))

    def two_sided(self, level: FloatArray) -> Effects:
        """Return the effects and lifts not rejected at `level`, shape (k,)."""
        return self._effects(self.test.two_sided(level))

    def one_sided(self, level: FloatArray) -> Effects:
        """Return bounds of effect and lift, each missing in at most `level` of all runs, shape (k,)."""
        return self._effects(self.test.one_sided(level))

    def _effects(self, ends: Ends) -> Effects:
        """Return what the rate ratios mean, for the effect at the pooled rate, taken as observed."""
        estimate, lower, upper = (self._effect_at(theta) for theta in (ends.estimate, ends.lower, ends.upper))
        return Effects(
            Intervals(
                estimate,
                np.where(ends.lower == -np.inf, -np.inf, lower),
                np.where(ends.upper == np.inf, np.inf, upper),
            ),
            Intervals(np.expm1(ends.estimate), np.expm1(ends.lower), np.expm1(ends.upper)),
        )

    def _effect_at(self, theta: FloatArray) -> FloatArray:
        """Return treatment's rate less control's, if their ratio is exp(theta), given the pooled events."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rising = self.m * -np.expm1(-np.abs(theta))
            small = np.exp(-np.abs(theta))
            above = rising / (self.n_c * small + self.n_t)
            below = -rising / (self.n_c + self.n_t * small)
        effect = np.where(theta > 0, above, below)
        return np.where(effect == 0, np.finfo(np.float64).tiny * np.sign(theta), effect)
