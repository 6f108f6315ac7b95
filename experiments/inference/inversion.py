"""Which log ratios the mixture does not reject: the search for both ends, for all comparisons together."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import numpy as np

from experiments.errors import InvalidParameterError
from experiments.inference.curves import Curve, nodes
from experiments.inference.interval import BoolArray, FloatArray, IntArray
from experiments.inference.tilted import (
    FAR_NODES,
    FREE_STEPS,
    LIMIT,
    MIDDLE,
    NEAR,
    NEAR_NODES,
    SMALL_TAIL,
    Ends,
    Mixture,
    Strata,
)

CLOSE = 1e-9  # of the logarithm of the evidence to its threshold; of an end, in standard errors
ROUNDING = 8 * float(np.finfo(np.float64).eps)
SMALLEST = float(np.finfo(np.float64).tiny)

Attempt: TypeAlias = Callable[[Mixture, IntArray], tuple[FloatArray, BoolArray]]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Curves of K that reach ever further and cost ever more, for k comparisons.

    Attributes
    ----------
    strata : Strata
        The data.
    delta : array, shape (k,)
        The effect to be found, as a log ratio; above 0.
    near : Mixture
        What most comparisons need; the others are fitted when asked for.
    """

    strata: Strata
    delta: FloatArray
    near: Mixture

    @classmethod
    def of(cls, strata: Strata, delta: FloatArray) -> Self:
        """Fit the near curves of all comparisons."""
        zero = np.zeros(len(delta))
        sums = strata.sums(nodes(NEAR, NEAR_NODES), np.arange(len(delta)))
        curve = Curve.fit(sums, width=NEAR, low=zero, span=zero)
        return cls(strata, delta, Mixture.within(curve, strata.excess, delta, strata.near))

    def climb(self, attempt: Attempt, *, rows: int, otherwise: float) -> FloatArray:
        """Try with the near curves, then further ones, until every comparison is done: the last always is.

        Parameters
        ----------
        attempt : function
            Takes a mixture and the numbers of its comparisons (c,); returns values (rows, c) and which are
            final.
        rows : int
            Values for each comparison.
        otherwise : float
            The value of comparisons without information, which are not tried.

        Returns
        -------
        array, shape (rows, k)
            The final values.
        """
        result = np.full((rows, len(self.delta)), otherwise)
        left = np.flatnonzero(self.strata.high > self.strata.low)
        for fitted in (self.near.take, self._well_behaved, self._middle, self._whole):
            if not len(left):
                break
            mixture = fitted(left)
            usable = np.flatnonzero(mixture.limit > 0)
            if not len(usable):
                continue
            chosen = left[usable]
            values, done = attempt(mixture.take(usable), chosen)
            result[:, chosen[done]] = values[:, done]
            left = np.setdiff1d(left, chosen[done], assume_unique=True)
        return result

    def _whole(self, chosen: IntArray) -> Mixture:
        sums = self.strata.sums(nodes(1.0, FAR_NODES), chosen)
        low, high = self.strata.low[chosen], self.strata.high[chosen]
        curve = Curve.fit(sums, width=1.0, low=low, span=high - low)
        limit = np.full(len(chosen), LIMIT)
        return Mixture(curve, self.strata.excess[chosen], self.delta[chosen], limit, whole=True)

    def _well_behaved(self, chosen: IntArray) -> Mixture:
        """Return curves over the whole line, usable where their series has converged: where data are few."""
        mixture = self._whole(chosen)
        return replace(mixture, limit=np.where(mixture.curve.tail() <= SMALL_TAIL, LIMIT, -1.0))

    def _middle(self, chosen: IntArray) -> Mixture:
        zero = np.zeros(len(chosen))
        sums = self.strata.sums(nodes(MIDDLE, FAR_NODES), chosen)
        curve = Curve.fit(sums, width=MIDDLE, low=zero, span=zero)
        return Mixture.within(
            curve, self.strata.excess[chosen], self.delta[chosen], zero + 4 * np.arctanh(MIDDLE)
        )


@dataclass(frozen=True, slots=True)
class Tilted:
    """The mixture test of k comparisons at one look.

    Attributes
    ----------
    ladder : Ladder
        The data and their curves.
    log_e : array, shape (k,)
        Logarithm of the evidence against theta = 0; 0 where the data say nothing.
    """

    ladder: Ladder
    log_e: FloatArray

    @classmethod
    def of(cls, strata: Strata, delta: FloatArray) -> Self:
        """Weigh the evidence against theta = 0.

        Parameters
        ----------
        strata : Strata
            The data of k comparisons.
        delta : array, shape (k,)
            The effect to be found, as a log ratio: above 0, finite.

        Returns
        -------
        Tilted
            With intervals to be asked for.

        Raises
        ------
        InvalidParameterError
            If `delta` is outside its domain.
        """
        if delta.shape != strata.excess.shape or not (np.isfinite(delta) & (delta > 0)).all():
            raise InvalidParameterError(f"{delta=}")
        ladder = Ladder.of(strata, delta)
        return cls(ladder, ladder.climb(_evidence_at_zero, rows=1, otherwise=0.0)[0])

    def two_sided(self, level: FloatArray) -> Ends:
        """Return the log ratios whose evidence is below ``1 / level``, shape (k,).

        They exclude 0 exactly when ``log_e >= -log(level)``, and on the side to which the data point.

        Parameters
        ----------
        level : array, shape (k,)
            Share of runs in which the interval may ever miss; in (0, 1).

        Returns
        -------
        Ends
            Unbounded beyond a ratio of exp(`LIMIT`); the estimate nan where the data say nothing.

        Raises
        ------
        InvalidParameterError
            If `level` is outside its domain.
        """
        target = self._log_threshold(level)
        rejected = self.log_e >= target
        rising = self.ladder.strata.excess > 0

        def attempt(mixture: Mixture, chosen: IntArray) -> tuple[FloatArray, BoolArray]:
            estimate, centre, bound, found = _estimate(mixture)
            ends = []
            for sign in (-1, 1):
                cut = rejected[chosen] & (rising[chosen] == (sign < 0))
                inner = np.where(rejected[chosen] | (sign * centre > 0), centre, 0.0)
                outer = np.where(cut, 0.0, sign * bound)
                ends.append(search_end(mixture, Hunt(target[chosen], sign, 0), inner, outer))
            return np.stack([estimate, ends[0][0], ends[1][0]]), found & ends[0][1] & ends[1][1]

        estimate, lower, upper = self.ladder.climb(attempt, rows=3, otherwise=np.nan)
        # What rounding may have moved across 0 gets the sign that the evidence and the data give it.
        lower = np.where(rejected & rising, np.maximum(lower, SMALLEST), np.minimum(lower, 0.0))
        upper = np.where(rejected & ~rising, np.minimum(upper, -SMALLEST), np.maximum(upper, 0.0))
        return self._finish(estimate, lower, upper)

    def one_sided(self, level: FloatArray) -> Ends:
        """Return a lower and an upper bound of the log ratio, each of which may miss in `level` of all runs.

        The lower one tests each value against larger ones only: half at + delta, half half-normal.

        Parameters
        ----------
        level : array, shape (k,)
            In (0, 1).

        Returns
        -------
        Ends
            As in `two_sided`.

        Raises
        ------
        InvalidParameterError
            If `level` is outside its domain.
        """
        target = self._log_threshold(level)

        def attempt(mixture: Mixture, chosen: IntArray) -> tuple[FloatArray, BoolArray]:
            estimate, centre, bound, found = _estimate(mixture)
            lower, upper = (
                search_end(mixture, Hunt(target[chosen], sign, -sign), centre, sign * bound)
                for sign in (-1, 1)
            )
            return np.stack([estimate, lower[0], upper[0]]), found & lower[1] & upper[1]

        return self._finish(*self.ladder.climb(attempt, rows=3, otherwise=np.nan))

    def _log_threshold(self, level: FloatArray) -> FloatArray:
        if level.shape != self.log_e.shape or not ((level > 0) & (level < 1)).all():
            raise InvalidParameterError(f"{level=}")
        threshold: FloatArray = -np.log(level)
        return threshold

    def _finish(self, estimate: FloatArray, lower: FloatArray, upper: FloatArray) -> Ends:
        """Say what is unbounded; keep the estimate inside, and on the side to which the data point."""
        strata = self.ladder.strata
        silent = strata.high == strata.low
        estimate = np.where((strata.excess > 0) == (estimate > 0), estimate, 0.0)
        estimate = np.where(strata.excess == strata.low, -np.inf, estimate)
        estimate = np.where(strata.excess == strata.high, np.inf, estimate)
        return Ends(
            np.where(silent, np.nan, estimate),
            np.where(silent, -np.inf, lower),
            np.where(silent, np.inf, upper),
        )


def _evidence_at_zero(mixture: Mixture, _: IntArray) -> tuple[FloatArray, BoolArray]:
    zero = np.zeros(len(mixture.delta))
    mode, found = mixture.peak(zero, 1 / mixture.delta**2)
    return mixture.log_e(zero, mode, 0)[0][None, :], found


def _estimate(mixture: Mixture) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Return the maximum of the likelihood; cut to the limit; the limit; and whether this is final."""
    zero = np.zeros(len(mixture.delta))
    estimate, found = mixture.peak(zero, zero)
    return estimate, np.clip(estimate, -mixture.limit, mixture.limit), mixture.limit, found | mixture.whole


@dataclass(frozen=True, slots=True)
class Hunt:
    """What is looked for: where the evidence reaches `target`, below the estimate (sign -1) or above it (1).

    `side` is that of the alternatives, as in `Mixture.log_e`.
    """

    target: FloatArray
    sign: int
    side: int


def search_end(
    mixture: Mixture, hunt: Hunt, inner: FloatArray, outer: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return the end between `inner`, which is not rejected, and `outer`, and where it is final.

    Not final: `outer` is not rejected either, although there may be an end beyond the reach of the curves.
    An estimate beyond the limit is cut to it, and may be rejected there: then the end lies at the limit.
    """
    precision = 1 / mixture.delta**2
    at_inner, at_outer = mixture.peak(inner, precision)[0], mixture.peak(outer, precision)[0]
    height, _ = mixture.log_e(outer, at_outer, hunt.side)
    # Zero is the outer end only if it is rejected; another curve found that.
    reached = ((height >= hunt.target) | (outer == 0)) & (inner != outer)
    end = np.where(reached, outer, hunt.sign * np.inf)
    beyond = np.flatnonzero((np.abs(inner) >= mixture.limit) & reached)
    if len(beyond):
        there, _ = mixture.take(beyond).log_e(inner[beyond], at_inner[beyond], hunt.side)
        beyond = beyond[there >= hunt.target[beyond]]
        end[beyond] = inner[beyond]
    todo = np.setdiff1d(np.flatnonzero(reached), beyond, assume_unique=True)
    if len(todo):
        part = replace(hunt, target=hunt.target[todo])
        within = np.minimum(inner, outer)[todo], np.maximum(inner, outer)[todo]
        end[todo] = _between(mixture.take(todo), part, (at_inner[todo], at_outer[todo]), height[todo], within)
    return end, reached | mixture.whole


def _between(
    mixture: Mixture,
    hunt: Hunt,
    bracket: tuple[FloatArray, FloatArray],
    height: FloatArray,
    within: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Solve by Newton's method, kept within the bracket, in the mode of the integrand: theta0 follows.

    The square root of the logarithm of the evidence is nearly straight there, so a few steps do. Of huge
    counts the theta0 of a mode is rounded by much: it is cut to `within`.
    """
    a, b = bracket
    least, most = within
    target = hunt.target
    _, variance = mixture.curve.mean_and_variance(a)
    lift = np.log1p(mixture.delta**2 * variance) / 2 + np.log(2.0)
    goal = np.sqrt(target + lift)
    at = a + (b - a) * goal / np.maximum(np.sqrt(np.maximum(height + lift, 0.0)), goal)
    end, left = np.empty(len(a)), np.arange(len(a))
    steps = 0
    while len(left):
        theta0, rate = mixture.centre(at)
        theta0 = np.clip(theta0, least, most)
        height, slope = mixture.log_e(theta0, at, hunt.side)
        end[left] = theta0
        outside = height >= target
        a, b = np.where(outside, a, at), np.where(outside, at, b)
        root = np.sqrt(np.maximum(height + lift, SMALLEST))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = at - (root - goal) * 2 * root / (slope * rate)
        steps += 1
        inside = ((newton - a) * (newton - b) <= 0) & (steps <= FREE_STEPS or steps % 2 == 0)
        moved = np.where(inside, newton, (a + b) / 2)
        # The evidence of huge counts is rounded by more than CLOSE: then stop when nothing moves any more.
        still = np.abs(moved - at) > CLOSE * mixture.delta / rate**1.5 + ROUNDING * np.abs(at)
        going = np.flatnonzero((np.abs(height - target) > CLOSE) & still)
        left = left[going]
        at, a, b, target, lift, goal, least, most = (
            part[going] for part in (moved, a, b, target, lift, goal, least, most)
        )
        mixture = mixture.take(going) if len(going) < len(outside) else mixture
    return end
