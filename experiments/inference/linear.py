"""The asymptotic test of a difference of two estimated means: amounts or ratios, with covariates or not."""

from dataclasses import dataclass

import numpy as np

from experiments.inference.fieller import lift_intervals
from experiments.inference.interval import BoolArray, Effects, FloatArray, Intervals
from experiments.inference.moment_arrays import MomentArrays
from experiments.inference.normal import (
    Numbers,
    critical_values,
    log_e_values,
    one_sided_critical_values,
)
from experiments.inference.pairs import (
    ROUNDING,
    Adjustment,
    Pairs,
    adjustment,
    mean_pairs,
    ratio_pairs,
)
from experiments.sequential import MAX_LOG_E

__all__ = [
    "Adjustment",
    "LinearInference",
    "MomentArrays",
    "Pairs",
    "adjustment",
    "mean_pairs",
    "ratio_pairs",
]

SMALLEST = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearInference:
    """A treatment against control in k comparisons at one look. Intervals and e-value never disagree.

    Asymptotic: keep the first look behind a burn-in, which `ready` tells. Until then, and where nothing
    varies, estimates are all there is.

    Attributes
    ----------
    pairs : Pairs
        Estimated means and the covariance matrix of the estimates.
    n_star : array, shape (k,)
        Planned units of both variants together.
    alpha : array, shape (k,)
        What the mixture is tuned to; a level is chosen when an interval is asked for.
    errors : array, shape (k,)
        Standard errors of the effects; nan where no evidence can be had.
    log_e : array, shape (k,)
        Logarithm of the evidence against "no difference", at most `MAX_LOG_E`.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), Annals of Statistics 52(6), Theorem 2.2.
    .. [2] Fieller (1954), "Some problems in interval estimation", JRSS B 16(2).
    .. [3] docs/decisions/0003-statistics.md, "Burn-in".

    Examples
    --------
    >>> from experiments.moments import Moments
    >>> control = MomentArrays.of([Moments(10_000, 500 * 10**6, 500 * 10**12)])
    >>> treatment = MomentArrays.of([Moments(10_000, 600 * 10**6, 600 * 10**12)])
    >>> seen = LinearInference.of(
    ...     mean_pairs(treatment, control), n_star=20_000, alpha=0.05, ready=np.array([True])
    ... )
    >>> lift = seen.two_sided(np.array([0.05])).lift
    >>> round(lift.estimate.item(), 3), bool(lift.lower[0] > 0), bool(seen.log_e[0] >= np.log(20))
    (0.2, True, True)
    """

    pairs: Pairs
    n_star: FloatArray
    alpha: FloatArray
    errors: FloatArray
    log_e: FloatArray

    @classmethod
    def of(cls, pairs: Pairs, *, n_star: Numbers, alpha: Numbers, ready: BoolArray) -> "LinearInference":
        """Weigh the evidence of k comparisons.

        Parameters
        ----------
        pairs : Pairs
            From `mean_pairs` or `ratio_pairs`.
        n_star : array, shape (k,), or int
            At least 1; planned before launch.
        alpha : array, shape (k,), or float
            In (0, 1); in (0, 0.5) where one-sided bounds are wanted.
        ready : array of bool, shape (k,)
            False before the burn-in: no evidence and no interval.

        Returns
        -------
        LinearInference

        Raises
        ------
        InvalidParameterError
            If `n_star` or `alpha` is outside its domain.
        """
        shape = pairs.mean_t.shape
        planned = np.broadcast_to(np.asarray(n_star, dtype=np.float64), shape)
        tuned = np.broadcast_to(np.asarray(alpha, dtype=np.float64), shape)
        separate = pairs.var_t + pairs.var_c
        variance = separate - 2 * pairs.cov
        varies = ready & (variance > ROUNDING * separate) & np.isfinite(pairs.mean_t - pairs.mean_c)
        errors = np.sqrt(np.where(varies, variance, np.nan))
        z = (pairs.mean_t - pairs.mean_c) / errors
        log_e = np.minimum(log_e_values(z, _units(pairs), n_star=planned, alpha=tuned), MAX_LOG_E)
        return cls(pairs=pairs, n_star=planned, alpha=tuned, errors=errors, log_e=log_e)

    def two_sided(self, level: FloatArray) -> Effects:
        """Return effect and lift, each with all values that are not rejected at `level`.

        Parameters
        ----------
        level : array, shape (k,)
            Share of runs in which the interval ever misses the truth; in (0, 1).

        Returns
        -------
        Effects
            They exclude zero exactly where ``log_e >= -log(level)``.

        Raises
        ------
        InvalidParameterError
            If `level` is outside its domain.
        """
        critical = critical_values(_units(self.pairs), n_star=self.n_star, alpha=self.alpha, level=level)
        rejected = self.log_e >= -np.log(level)
        effect = self.pairs.mean_t - self.pairs.mean_c
        return self._effects(critical, above=rejected & (effect > 0), below=rejected & (effect < 0))

    def one_sided(self, level: FloatArray) -> Effects:
        """Return effect and lift, each with a lower and an upper bound that spend `level` alone.

        Parameters
        ----------
        level : array, shape (k,)
            Share of runs in which that one bound ever misses the truth; in (0, 1).

        Returns
        -------
        Effects

        Raises
        ------
        InvalidParameterError
            If `level` is outside its domain, or `alpha` not below 0.5.
        """
        critical = one_sided_critical_values(
            _units(self.pairs), n_star=self.n_star, alpha=self.alpha, level=level
        )
        effect, reach = self.pairs.mean_t - self.pairs.mean_c, critical * self.errors
        return self._effects(critical, above=effect > reach, below=effect < -reach)

    def _effects(self, critical: FloatArray, *, above: BoolArray, below: BoolArray) -> Effects:
        effect, reach = self.pairs.mean_t - self.pairs.mean_c, critical * self.errors
        lift = lift_intervals(self.pairs, np.where(np.isnan(self.errors), np.nan, critical))
        return Effects(
            _agreed(Intervals(effect, effect - reach, effect + reach), above, below),
            _agreed(lift, above, below),
        )


def _units(pairs: Pairs) -> FloatArray:
    return np.asarray(np.maximum(pairs.n_t + pairs.n_c, 1), dtype=np.float64)


def _agreed(found: Intervals, above: BoolArray, below: BoolArray) -> Intervals:
    """Let the test say on which side of zero an end lies: equal formulas may differ in the last digit."""
    lower = np.where(above, np.maximum(found.lower, SMALLEST), np.minimum(found.lower, 0.0))
    upper = np.where(below, np.minimum(found.upper, -SMALLEST), np.maximum(found.upper, 0.0))
    return Intervals(found.estimate, lower, upper)
