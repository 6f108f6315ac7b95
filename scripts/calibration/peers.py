"""What other platforms would conclude from the same data: their published formulas, for comparison only.

Opportune decides nothing by them. Each says how many standard errors an estimate may lie from zero; the
standard errors are those of `Shares`, by the difference or by the delta method, as each platform takes them.
tests/scripts/test_calibration.py holds them against the platforms' own test cases.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

FloatArray = npt.NDArray[np.float64]

GROWTHBOOK_N_STAR = 5_000  # its default "tuning parameter"


@dataclass(frozen=True, slots=True)
class Shares:
    """Units and conversions so far of both variants, arrays of one shape."""

    n_t: FloatArray
    n_c: FloatArray
    x_t: FloatArray
    x_c: FloatArray

    @property
    def z_absolute(self) -> FloatArray:
        """The difference of the shares in standard errors (unpooled; 0 while nothing varies)."""
        p_t, p_c = self.x_t / np.maximum(self.n_t, 1), self.x_c / np.maximum(self.n_c, 1)
        variance = p_t * (1 - p_t) / np.maximum(self.n_t, 1) + p_c * (1 - p_c) / np.maximum(self.n_c, 1)
        return _over(p_t - p_c, np.sqrt(variance))

    @property
    def z_relative(self) -> FloatArray:
        """The lift in standard errors of the delta method (0 while it is undefined)."""
        n_t, n_c = np.maximum(self.n_t, 1), np.maximum(self.n_c, 1)
        p_t, p_c = self.x_t / n_t, self.x_c / n_c
        some = np.where(p_c > 0, p_c, 1.0)
        variance = p_t * (1 - p_t) / (n_t * some**2) + p_c * (1 - p_c) * p_t**2 / (n_c * some**4)
        return np.where(p_c > 0, _over((p_t - p_c) / some, np.sqrt(variance)), 0.0)

    @property
    def n(self) -> FloatArray:
        """Units of both variants, at least 1."""
        return np.maximum(self.n_t + self.n_c, 1.0)


def growthbook_critical(n: FloatArray, *, alpha: float, n_star: int = GROWTHBOOK_N_STAR) -> FloatArray:
    """Return how many standard errors GrowthBook's sequential interval reaches to each side.

    References
    ----------
    .. [1] growthbook/growthbook, packages/stats/gbstats/frequentist/tests.py, `sequential_interval_halfwidth`
       and `sequential_rho` (MIT); N* = 5,000 by default, of which its documentation says the same.
    """
    rho_sq = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / n_star
    x = n * rho_sq
    result: FloatArray = np.sqrt(n) * np.sqrt(2 * (x + 1) / (n**2 * rho_sq) * np.log(np.sqrt(x + 1) / alpha))
    return result


def statsig_critical(*, alpha: float) -> float:
    """Return Statsig's critical value for balanced variants: the same at every look.

    z* = sqrt((V + tau) / tau * (-2 ln(alpha / 2) - ln(V / (V + tau)))) with tau = z**2 (vt + vc) / (Nt + Nc),
    so that tau / V = z**2 / 2 whatever the number of units. A constant is crossed some day with certainty.

    References
    ----------
    .. [1] statsig-io/docs, experiments/advanced-setup/sequential-testing.

    Examples
    --------
    >>> round(statsig_critical(alpha=0.05), 3)
    3.584
    """
    ratio = float(ndtri(1 - alpha / 2)) ** 2 / 2
    return math.sqrt((1 + 1 / ratio) * (-2 * math.log(alpha / 2) + math.log(1 + ratio)))


def fixed_critical(*, alpha: float) -> float:
    """Return the classical critical value, right for one planned look only."""
    return float(ndtri(1 - alpha / 2))


def _over(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0)
