"""Evidence and intervals for one-parameter families: a mixture of likelihood ratios, and its inversion.

Conversions given the margins and counts given their total have a log likelihood ``theta X - K(theta)`` with a
known, exact K. The evidence against theta0 is the likelihood ratio averaged over alternatives around theta0:
half of them at theta0 +- delta, half normal about theta0 with standard deviation delta. Under theta0 it is a
nonnegative martingale with mean 1, so the values of theta0 whose evidence is below 1 / level hold the truth
at every look with probability 1 - level (Ville's inequality). K comes as node values summed over strata;
everything after that is arithmetic on k comparisons at once.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from experiments.inference.curves import Curve
from experiments.inference.interval import BoolArray, FloatArray, IntArray

LIMIT = 10.0  # an end whose odds or rate ratio is beyond exp(LIMIT) is given as unbounded
BEYOND = 30.0  # where an estimate is looked for
NEAR, NEAR_NODES = 0.5, 30  # |theta| <= 2.2: all that most comparisons need
MIDDLE, FAR_NODES = 0.905, 64  # |theta| <= 6
SMALL_TAIL = 1e-9  # of a series that is trusted over the whole line
STEPS = 0.72 * np.arange(-13, 14)  # of the quadrature, in standard deviations of the integrand
REACH = float(STEPS[-1])
ROOT_2_PI = float(np.sqrt(2 * np.pi))
LEGENDRE = np.polynomial.legendre.leggauss(48)
TOLERANCE = 1e-10
NOISE = 256 * float(np.finfo(np.float64).eps)  # of K', relative to the range of X
FADED = 40.0  # below exp(-FADED) of its start nothing of an integrand matters
FREE_STEPS = 12  # of Newton's method before every other one halves the bracket, which ends the search


class Strata(Protocol):
    """The data of k comparisons, each summed over its strata, everything about the mean under theta = 0.

    Attributes
    ----------
    excess : array, shape (k,)
        X less its mean.
    low, high : array, shape (k,)
        The smallest and the largest X there can be, less its mean; both 0: no information.
    near : array, shape (k,)
        Up to which ``abs(theta)`` the sums at the nodes of the `NEAR` window give K.
    """

    @property
    def excess(self) -> FloatArray: ...  # noqa: D102

    @property
    def low(self) -> FloatArray: ...  # noqa: D102

    @property
    def high(self) -> FloatArray: ...  # noqa: D102

    @property
    def near(self) -> FloatArray: ...  # noqa: D102

    def sums(self, theta: FloatArray, chosen: IntArray) -> FloatArray:
        """Return K at `theta` (q,) for some of the comparisons, shape (q, number chosen)."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """An interval of log odds ratios or log rate ratios for each comparison, shape (k,)."""

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True)
class Mixture:
    """The evidence as a function of theta0 for k comparisons, as far out as their curves are good.

    Attributes
    ----------
    curve : Curve
        K.
    excess, delta : array, shape (k,)
        X less its mean; the alternative to be found.
    limit : array, shape (k,)
        The largest ``abs(theta0)`` that can be asked for; negative: none.
    whole : bool
        Whether `limit` is that of the method and not of the curve.
    """

    curve: Curve
    excess: FloatArray
    delta: FloatArray
    limit: FloatArray
    whole: bool

    @classmethod
    def within(cls, curve: Curve, excess: FloatArray, delta: FloatArray, reach: FloatArray) -> Self:
        """Return the mixture for curves good for ``abs(theta) <= reach``, if that is within their width."""
        reach = np.minimum(reach, 4 * np.arctanh(curve.width))
        known = np.maximum(reach, 0.0)
        information = np.minimum.reduce([curve.mean_and_variance(at)[1] for at in (-known, 0 * known, known)])
        spread = 1 / np.sqrt(1 / delta**2 + information)
        limit = reach - np.maximum(REACH * spread, delta)
        return cls(curve, excess, delta, limit, whole=False)

    def take(self, chosen: IntArray) -> "Mixture":
        """Return the mixture of some of the comparisons."""
        return Mixture(
            self.curve.take(chosen), self.excess[chosen], self.delta[chosen], self.limit[chosen], self.whole
        )

    def centre(self, mode: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the theta0 whose likelihood times normal density peaks at `mode`, and its derivative."""
        mean, variance = self.curve.mean_and_variance(mode)
        return mode - self.delta**2 * (self.excess - mean), 1 + self.delta**2 * variance

    def peak(self, theta0: FloatArray, precision: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return where log likelihood - precision (theta - theta0)^2 / 2 peaks; and whether within reach.

        Newton's method, kept within a bracket. Where the peak is beyond reach, the nearest end of it.
        """
        bound = np.full(len(self.limit), BEYOND) if self.whole else np.maximum(self.limit, 0.0)
        low, high = -bound, bound.copy()
        at = np.clip(theta0, low, high)
        noise = NOISE * (np.abs(self.excess) + self.curve.span)
        steps, settled = 0, np.zeros(len(at), dtype=np.bool_)
        while not settled.all():
            steps += 1
            mean, variance = self.curve.mean_and_variance(at)
            slope = precision * (at - theta0) - self.excess + mean
            low, high = np.where(slope < 0, at, low), np.where(slope >= 0, at, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = at - slope / (precision + variance)
            # Strictly inside: Newton's method can step from one end of the bracket to the other and back.
            inside = (step > low) & (step < high) & (steps <= FREE_STEPS or steps % 2 == 0)
            moved = np.where(inside, step, (low + high) / 2)
            moved = np.where(np.abs(slope) <= noise, at, moved)
            settled = ~(np.abs(moved - at) > TOLERANCE * (1 + np.abs(at)))
            at = moved
        found = bound - np.abs(at) > 2 * TOLERANCE * (1 + bound)
        return at, found

    def log_e(self, theta0: FloatArray, mode: FloatArray, side: int) -> tuple[FloatArray, FloatArray]:
        """Return the logarithm of the evidence against theta0 and its derivative, shape (k,).

        Parameters
        ----------
        theta0 : array, shape (k,)
            Log ratios.
        mode : array, shape (k,)
            About where the integrand peaks (see `centre`).
        side : int
            0: alternatives on both sides of theta0; 1: above only; -1: below only.

        Returns
        -------
        log_e : array
            Natural logarithm.
        slope : array
            By how much it grows with theta0.
        """
        spread = 1 / np.sqrt(1 / self.delta**2 + self.curve.mean_and_variance(mode)[1])
        if side == 0:
            points = mode + spread * STEPS[:, None]
            weights = spread * (STEPS[1] - STEPS[0])
            moved = theta0 + np.stack([self.delta, -self.delta])
            halves = 1
        else:
            start, end = self._half(theta0, mode, spread, side)
            points = (start + end) / 2 + (end - start) / 2 * LEGENDRE[0][:, None]
            weights = (end - start) / 2 * LEGENDRE[1][:, None]
            moved = theta0 + side * self.delta[None, :]
            halves = 2
        here = self.excess * theta0 - self.curve.value(theta0)
        single = self.excess * moved - self.curve.value(moved) - here
        distance = points - theta0
        mixed = self.excess * points - self.curve.value(points) - here - (distance / self.delta) ** 2 / 2
        largest = np.maximum(mixed.max(axis=0), single.max(axis=0))
        mixed = np.exp(mixed - largest) * weights * (halves / (2 * ROOT_2_PI * self.delta))
        single = np.exp(single - largest) / (2 * len(moved))
        total = mixed.sum(axis=0) + single.sum(axis=0)
        pull = (mixed * distance).sum(axis=0) / self.delta**2
        pull += (single * (self.excess - self.curve.mean_and_variance(moved)[0])).sum(axis=0)
        # The half of a normal density that starts at theta0 moves its edge too.
        if side:
            pull -= side * np.exp(-largest) / (ROOT_2_PI * self.delta)
        slope = pull / total - (self.excess - self.curve.mean_and_variance(theta0)[0])
        return largest + np.log(total), slope

    def _half(
        self, theta0: FloatArray, mode: FloatArray, spread: FloatArray, side: int
    ) -> tuple[FloatArray, FloatArray]:
        """Return from where to where the integrand on one side of theta0 matters."""
        start, end = mode - REACH * spread, mode + REACH * spread
        steepness = np.abs(self.excess - self.curve.mean_and_variance(theta0)[0])
        # Where the peak lies far on the other side only the slope down from theta0 is left.
        slope = np.minimum(REACH * self.delta, FADED / np.maximum(steepness, 1 / self.delta))
        if side > 0:
            beyond = end <= theta0
            return np.maximum(start, theta0), np.where(beyond, theta0 + slope, end)
        beyond = start >= theta0
        return np.where(beyond, theta0 - slope, start), np.minimum(end, theta0)
