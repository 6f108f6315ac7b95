"""Two estimated means and the covariance matrix of the estimates, from moments: plain, ratio, CUPED."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from experiments.errors import InvalidParameterError
from experiments.inference.interval import BoolArray, FloatArray, IntArray
from experiments.inference.moment_arrays import MomentArrays
from experiments.moments import MIN_UNITS

WITH_DENOMINATOR = 2  # numbers of a unit
ROUNDING = 1e-12  # a variance left over from parts this much larger is none
SINGULAR = 1e-10  # a direction with a smaller share of a covariate's variance is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The estimated means of treatment and control, and how far they may be off; each of shape (k,).

    Attributes
    ----------
    n_t, n_c : array
        Units.
    mean_t, mean_c : array
        In the metric's unit; nan where there is none.
    var_t, var_c, cov : array
        Variances and covariance of the two *estimates*; nan where the spread of the data is unknown.
    """

    n_t: IntArray
    n_c: IntArray
    mean_t: FloatArray
    mean_c: FloatArray
    var_t: FloatArray
    var_c: FloatArray
    cov: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """What covariates did to k comparisons; each of shape (k,).

    Attributes
    ----------
    variance_ratio : array
        Variance of the adjusted difference over that of the plain one: about 1 - correlation squared; 1 where
        no covariate varies.
    imbalance_z : array
        Treatment minus control in the covariate that differs most, in standard errors of that difference;
        nan where no covariate varies. A covariate from before the exposure differs by chance only.
    """

    variance_ratio: FloatArray
    imbalance_z: FloatArray


def mean_pairs(treatment: MomentArrays, control: MomentArrays) -> Pairs:
    """Return means per unit, adjusted for the covariates where there are any (CUPED).

    Every number of a unit after its value is a covariate x. With one coefficient theta for both variants and
    the covariates' mean over both, ``m_t = y_t - theta (x_t - x)`` and ``m_c = y_c - theta (x_c - x)``. Theta
    is the least-squares coefficient within variants, these weighted so that the variance of m_t - m_c is
    least: not above the plain one, whatever the split (with variants of one size it is the pooled one).
    Covariates must be from before the exposure. Those that do not vary, or only as others do, are left out.

    Parameters
    ----------
    treatment, control : MomentArrays
        k samples each, row by row.

    Returns
    -------
    Pairs
        Variances by influence functions: asymptotic, with a degree of freedom less per covariate and variant.

    References
    ----------
    .. [1] Deng, Xu, Kohavi, Walker (2013), "Improving the sensitivity of online controlled experiments by
       utilizing pre-experiment data", WSDM.
    .. [2] Yang, Tsiatis (2001), "Efficiency study of estimators for a treatment effect in a pretest-posttest
       trial", The American Statistician 55(4): why the weights of theta.

    Examples
    --------
    >>> from experiments.moments import SCALE, Moments
    >>> bought, bought_before = [2 * SCALE, 4 * SCALE, 7 * SCALE], [SCALE, 2 * SCALE, 3 * SCALE]
    >>> control = MomentArrays.of([Moments.of(bought, bought_before)])
    >>> treatment = MomentArrays.of([Moments.of(bought[1:] * 2, bought_before[1:] * 2)])
    >>> pairs = mean_pairs(treatment, control)
    >>> (pairs.mean_t - pairs.mean_c).round(3).tolist()
    [-0.133]
    """
    return _adjusted(treatment, control, _of_means)[0]


def ratio_pairs(treatment: MomentArrays, control: MomentArrays) -> Pairs:
    """Return ratios of sums, value over denominator, adjusted for the covariates where there are any.

    The second number of a unit is the denominator d, further ones are covariates. Each unit counts with its
    influence on the ratio R, ``(y - R d) / mean(d)``, and that is what is projected on the covariates.

    Parameters
    ----------
    treatment, control : MomentArrays
        k samples each, row by row, of at least two numbers a unit.

    Returns
    -------
    Pairs
        nan where the denominator's mean is not above zero.

    Raises
    ------
    InvalidParameterError
        If there is no denominator.

    References
    ----------
    .. [1] Deng, Knoblich, Lu (2018), "Applying the delta method in metric analytics", KDD.

    Examples
    --------
    >>> from experiments.moments import SCALE, Moments
    >>> sales = MomentArrays.of([Moments.of([6 * SCALE, 0, 3 * SCALE], [2 * SCALE, SCALE, 0])])
    >>> ratio_pairs(sales, sales).mean_t.tolist()
    [3.0]
    """
    return _adjusted(treatment, control, _of_ratios)[0]


def adjustment(treatment: MomentArrays, control: MomentArrays, *, is_ratio: bool) -> Adjustment:
    """Return what the covariates did in `ratio_pairs` or in `mean_pairs`.

    Parameters
    ----------
    treatment, control : MomentArrays
        As there.
    is_ratio : bool
        Whether the second number is a denominator.

    Returns
    -------
    Adjustment

    Examples
    --------
    >>> from experiments.moments import Moments
    >>> plain = MomentArrays.of([Moments.of([1, 2, 4])])
    >>> adjustment(plain, plain, is_ratio=False).variance_ratio.tolist()
    [1.0]
    """
    return _adjusted(treatment, control, _of_ratios if is_ratio else _of_means)[1]


@dataclass(frozen=True, slots=True)
class _Sample:
    """An estimate and p covariates of one variant, with the covariances of one unit's influence on them."""

    n: IntArray
    mean: FloatArray
    var: FloatArray
    covariates: FloatArray  # (k, p)
    cross: FloatArray  # (k, p)
    matrix: FloatArray  # (k, p, p)

    def only(self, usable: BoolArray) -> "_Sample":
        """Return it with zeros for the covariates that are not `usable`, shape (k, p)."""
        both = usable[:, :, None] & usable[:, None, :]
        return replace(
            self,
            covariates=np.where(usable, self.covariates, 0.0),
            cross=np.where(usable, self.cross, 0.0),
            matrix=np.where(both, self.matrix, 0.0),
        )

    def spreads(self, theta: FloatArray, rank: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return variance, covariance and variance of the means of the estimate and of theta times x."""
        freedom = np.where(self.n > 1 + rank, self.n - 1.0 - rank, np.nan)
        share = (self.n - 1.0) / freedom / np.maximum(self.n, 1)
        cross = np.einsum("ki,ki->k", theta, self.cross)
        return (
            share * self.var,
            share * cross,
            share * np.einsum("ki,kij,kj->k", theta, self.matrix, theta),
        )


def _of_means(sample: MomentArrays) -> _Sample:
    cov = _covariances(sample)
    return _Sample(
        sample.n, sample.means[:, 0], cov[:, 0, 0], sample.means[:, 1:], cov[:, 0, 1:], cov[:, 1:, 1:]
    )


def _of_ratios(sample: MomentArrays) -> _Sample:
    if np.any((sample.n > 0) & np.isnan(sample.means[:, 1])):
        raise InvalidParameterError("a ratio needs a denominator")
    below = np.where(sample.means[:, 1] > 0, sample.means[:, 1], np.nan)
    ratio = sample.means[:, 0] / below
    cov = _covariances(sample)
    parts = cov[:, 0, 0], ratio**2 * cov[:, 1, 1]
    var = parts[0] + parts[1] - 2 * ratio * cov[:, 0, 1]
    var = np.where(var <= ROUNDING * (parts[0] + parts[1]), 0.0, var) / below**2
    cross = (cov[:, 0, 2:] - ratio[:, None] * cov[:, 1, 2:]) / below[:, None]
    return _Sample(sample.n, ratio, var, sample.means[:, 2:], cross, cov[:, 2:, 2:])


def _covariances(sample: MomentArrays) -> FloatArray:
    freedom = np.where(sample.n >= MIN_UNITS, sample.n - 1.0, np.nan)
    return np.asarray(sample.scatter / freedom[:, None, None])


def _adjusted(
    treatment: MomentArrays, control: MomentArrays, of: Callable[[MomentArrays], _Sample]
) -> tuple[Pairs, Adjustment]:
    width = max(treatment.width, control.width, WITH_DENOMINATOR)
    t, c = of(treatment.widened(width)), of(control.widened(width))
    n_t, n_c = np.maximum(t.n, 1), np.maximum(c.n, 1)
    matrix = t.matrix / n_t[:, None, None] + c.matrix / n_c[:, None, None]
    errors = np.sqrt(np.maximum(np.einsum("kii->ki", matrix), 0.0))
    usable = errors > 0
    t, c = t.only(usable), c.only(usable)
    cross = t.cross / n_t[:, None] + c.cross / n_c[:, None]
    theta, rank = _coefficients(matrix, cross, errors, usable)

    apart = t.covariates - c.covariates
    shift = np.einsum("ki,ki->k", theta, apart)
    share_t, share_c = n_t / (n_t + n_c), n_c / (n_t + n_c)
    (y_t, yx_t, x_t), (y_c, yx_c, x_c) = t.spreads(theta, rank), c.spreads(theta, rank)
    # The mean of x over both variants moves m_t and m_c together, by each variant's share in it.
    pairs = Pairs(
        n_t=t.n,
        n_c=c.n,
        mean_t=t.mean - share_c * shift,
        mean_c=c.mean + share_t * shift,
        var_t=y_t - 2 * share_c * yx_t + share_c**2 * (x_t + x_c),
        var_c=y_c - 2 * share_t * yx_c + share_t**2 * (x_t + x_c),
        cov=share_t * yx_t + share_c * yx_c - share_t * share_c * (x_t + x_c),
    )
    plain = t.var / n_t + c.var / n_c
    left = y_t + y_c - 2 * (yx_t + yx_c) + x_t + x_c
    z = np.where(usable, apart, 0.0) / np.where(usable, errors, 1.0)
    return pairs, Adjustment(
        variance_ratio=np.where(plain > 0, left, np.nan) / np.where(plain > 0, plain, 1.0),
        imbalance_z=np.where(usable.any(axis=1), _farthest(z), np.nan),
    )


def _farthest(z: FloatArray) -> FloatArray:
    """Return the number farthest from zero of each row, with its sign; 0 for a row of none."""
    low, high = z.min(axis=1, initial=0.0), z.max(axis=1, initial=0.0)
    return np.asarray(np.where(high >= -low, high, low))


def _coefficients(
    matrix: FloatArray, cross: FloatArray, errors: FloatArray, usable: BoolArray
) -> tuple[FloatArray, IntArray]:
    """Return theta, shape (k, p), and how many directions of the covariates it rests on, shape (k,)."""
    scale = np.where(usable, errors, np.inf)
    correlation = np.nan_to_num(matrix / (scale[:, :, None] * scale[:, None, :]))
    values, vectors = np.linalg.eigh(correlation)
    kept = values > SINGULAR
    along = np.einsum("kji,kj->ki", vectors, np.nan_to_num(cross / scale))
    weights = np.where(kept, along / np.where(kept, values, 1.0), 0.0)
    return np.einsum("kij,kj->ki", vectors, weights) / scale, kept.sum(axis=1)
