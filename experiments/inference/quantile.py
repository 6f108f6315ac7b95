"""The quantile test: do two variants share their median (or another quantile)? Exact, from histograms.

The quantile q of a variant is read off its histogram as if the units of a bin lay evenly in it. So it differs
from the plain one by less than a bin, 2 %, and alike for both variants. If q is the quantile at p, the share
of units below it has the mean p, and a beta-binomial mixture (`experiments.inference.bernoulli`) tells how
much the units speak against that. Where q cuts a bin, not the number of its units below q is known, but its
mean given the bins; the mixture is convex, so its value at the mean is never too large (Jensen).

The evidence against a common quantile is the product of both variants' evidence at the q where it is least.
The pairs (q of control, q of treatment) whose product stays below 1/level hold the true pair through the
whole run; an interval runs over their differences, or their ratios. So it excludes zero exactly when the test
rejects. Nothing is asymptotic; units have to be independent and alike over time.

Speed: evidence grows on both sides of a sample quantile, so the pairs not rejected have an edge that only
ever rises. It is followed by bisection through the few places that can matter, not through all pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from experiments.errors import InvalidParameterError
from experiments.histogram import N_BINS
from experiments.inference.bernoulli import least_evident, log_mixture, log_one_sided_mixture
from experiments.inference.interval import BoolArray, Effects, FloatArray, IntArray, Intervals
from experiments.inference.places import (
    PARTS,
    Places,
    cumulated,
    placed,
    places_of,
    read_off,
    sample_quantiles,
)
from experiments.moments import SCALE

__all__ = ["QuantileInference", "sample_quantiles"]

WIDTHS = (32, 128, 512, 2**40)  # narrow comparisons are not padded to the widest one
HAIR = 1e-9  # above zero by less than can be told


@dataclass(frozen=True, slots=True)
class _Arm:
    """One variant.

    Attributes
    ----------
    below : array, shape (k, 1025)
        Units below each bin, and in all.
    middle : array, shape (k,)
        The number of units below q that speaks least against q; its place is `home`.
    place : array of int, shape (k,)
        Of the sample quantile, whose value is `estimate`.
    """

    places: Places
    below: FloatArray
    quantile: FloatArray
    v_opt: FloatArray
    alpha: float
    middle: FloatArray
    home: IntArray
    place: IntArray
    estimate: FloatArray

    @classmethod
    def of(
        cls, counts: IntArray, quantile: FloatArray, *, n_star: FloatArray, alpha: float, parts: int
    ) -> Self:
        places, below = places_of(parts), cumulated(counts)
        n, v_opt = below[:, -1], n_star / 2 * quantile * (1 - quantile)
        middle = least_evident(n, quantile, v_opt=v_opt, alpha_opt=alpha)
        home, place = (_place(below, units, parts) for units in (middle, quantile * n))
        estimate = read_off(below, quantile)
        return cls(places, below, quantile, v_opt, alpha, middle, home, place, estimate)

    def evidence(self, rows: IntArray, at: IntArray) -> FloatArray:
        """Return the log evidence against a quantile in each place, both of shape (r, w): least at `home`."""
        within = np.clip(self.middle[rows, None], *self._reach(rows, at))
        n, p, v_opt = self.below[rows, -1:], self.quantile[rows, None], self.v_opt[rows, None]
        s, v = within - p * n, p * (1 - p) * n
        return log_mixture(s, v, g=p, h=1 - p, v_opt=v_opt, alpha_opt=self.alpha)

    def against_above(self, rows: IntArray, at: IntArray) -> FloatArray:
        """Return the log evidence against a quantile in each place or further up; grows with the place."""
        return self.evidence(rows, np.maximum(at, self.home[rows, None]))

    def against_below(self, rows: IntArray, at: IntArray) -> FloatArray:
        """Return the log evidence against a quantile in each place or further down; falls with the place."""
        return self.evidence(rows, np.minimum(at, self.home[rows, None]))

    def only_against_above(self, rows: IntArray, at: IntArray) -> FloatArray:
        """Return the same as `against_above`, from a mixture that looks to that side only."""
        n, p, v_opt = self.below[rows, -1:], self.quantile[rows, None], self.v_opt[rows, None]
        s, v = self._reach(rows, at)[0] - p * n, p * (1 - p) * n
        return log_one_sided_mixture(s, v, g=p, h=1 - p, v_opt=v_opt, alpha_opt=self.alpha)

    def only_against_below(self, rows: IntArray, at: IntArray) -> FloatArray:
        """Return the same as `against_below`, from a mixture that looks to that side only."""
        n, p, v_opt = self.below[rows, -1:], self.quantile[rows, None], self.v_opt[rows, None]
        s, v = p * n - self._reach(rows, at)[1], p * (1 - p) * n
        return log_one_sided_mixture(s, v, g=1 - p, h=p, v_opt=v_opt, alpha_opt=self.alpha)

    def _reach(self, rows: IntArray, at: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the units below each place, and those up to its upper end."""
        number = self.places.number[at]
        before = self.below[rows[:, None], number]
        held = self.below[rows[:, None], number + 1] - before
        return before + self.places.since[at] * held, before + self.places.until[at] * held


Evidence = Callable[[IntArray, IntArray], FloatArray]


@dataclass(frozen=True, slots=True)
class QuantileInference:
    """Compare a quantile of k treatments with control's; made by `of`. See `Inference`.

    Exact at every look and any number of units: it needs no burn-in. A lift does not exist where control's
    sample quantile is zero or less.
    """

    log_e: FloatArray
    _treatment: _Arm
    _control: _Arm

    @classmethod
    def of(
        cls,
        *,
        counts_t: IntArray,
        counts_c: IntArray,
        quantile: FloatArray,
        n_star: FloatArray,
        alpha: float,
        parts: int = PARTS,
    ) -> Self:
        """Take the histograms of both variants.

        Parameters
        ----------
        counts_t, counts_c : array of int, shape (k, 1024)
            Units by bin of `experiments.histogram`.
        quantile : array, shape (k,)
            Which quantile; in (0, 1).
        n_star : array, shape (k,)
            Planned units that have a value, both variants together, where the test is sharpest; above 0.
        alpha : float
            The level it is tuned to; in (0, 0.5).
        parts : int
            In which a bin is cut; 1 for the published test, which assumes nothing of what lies in a bin, and
            whose intervals end with whole bins.

        Returns
        -------
        QuantileInference

        Raises
        ------
        InvalidParameterError
            If an argument is outside its domain.

        References
        ----------
        .. [1] Howard, Ramdas (2022), "Sequential estimation of quantiles with applications to A/B testing and
           best-arm identification", Bernoulli 28(3), section 5 (the two-sample test).

        Examples
        --------
        >>> from experiments.histogram import bin_of
        >>> def histogram(values):
        ...     return np.bincount([bin_of(v * SCALE) for v in values], minlength=N_BINS)[None, :]
        >>> test = QuantileInference.of(
        ...     counts_t=histogram(range(101, 1101)),
        ...     counts_c=histogram(range(1, 1001)),
        ...     quantile=np.array([0.5]),
        ...     n_star=np.array([200.0]),
        ...     alpha=0.05,
        ... )
        >>> lift = test.two_sided(np.array([0.05])).lift
        >>> [round(float(end[0]), 2) for end in (lift.lower, lift.estimate, lift.upper)]
        [0.02, 0.2, 0.42]
        """
        shape = (len(quantile), N_BINS)
        if counts_t.shape != shape or counts_c.shape != shape or n_star.shape != quantile.shape:
            raise InvalidParameterError(f"{counts_t.shape=}, {counts_c.shape=}, {quantile.shape=}")
        if min(counts_t.min(initial=0), counts_c.min(initial=0)) < 0:
            raise InvalidParameterError("a bin holds less than no units")
        inside = np.all((quantile > 0) & (quantile < 1)) and np.all(n_star > 0)
        if not inside or not 0 < alpha < 1 / 2 or parts < 1:
            raise InvalidParameterError(f"{quantile=}, {n_star=}, {alpha=}, {parts=}")
        treatment, control = (
            _Arm.of(counts, quantile, n_star=n_star, alpha=alpha, parts=parts)
            for counts in (counts_t, counts_c)
        )
        return cls(_against_common(treatment, control), treatment, control)

    def two_sided(self, level: FloatArray) -> Effects:
        """Return the differences and lifts of all pairs not rejected at `level`, shape (k,)."""
        threshold = self._threshold(level)
        t, c = self._treatment, self._control
        difference, ratio = _least(c.against_above, t.against_below, threshold, first=c)
        mirrored = _least(t.against_above, c.against_below, threshold, first=t)
        found = self._effects(difference, ratio, mirrored)
        # A float apart from the threshold, rounding must not part the test and its interval.
        side = np.where(self.log_e >= threshold, np.sign(t.home - c.home), 0)
        return Effects(_agreeing(found.effect, side), _agreeing(found.lift, side))

    def one_sided(self, level: FloatArray) -> Effects:
        """Return bounds from mixtures that look to one side only, each spending `level`, shape (k,)."""
        threshold = self._threshold(level)
        t, c = self._treatment, self._control
        difference, ratio = _least(c.only_against_above, t.only_against_below, threshold, first=c)
        mirrored = _least(t.only_against_above, c.only_against_below, threshold, first=t)
        return self._effects(difference, ratio, mirrored)

    def _threshold(self, level: FloatArray) -> FloatArray:
        if not np.all((level > 0) & (level < 1)):
            raise InvalidParameterError(f"no interval has {level=}")
        return np.broadcast_to(-np.log(level), self.log_e.shape)

    def _effects(
        self, difference: FloatArray, ratio: FloatArray, mirrored: tuple[FloatArray, FloatArray]
    ) -> Effects:
        treatment, control = self._treatment.estimate, self._control.estimate
        with np.errstate(divide="ignore"):
            upper_ratio = 1 / mirrored[1]
        none = np.isnan(self.log_e)
        undefined = none | ~(control > 0)
        estimate = np.full_like(control, np.nan)
        np.divide(treatment, control, out=estimate, where=~undefined)
        effect = (treatment - control, difference / SCALE, -mirrored[0] / SCALE)
        lift = (estimate - 1, ratio - 1, upper_ratio - 1)
        return Effects(
            Intervals(*(np.where(none, np.nan, values) for values in effect)),
            Intervals(*(np.where(undefined, np.nan, values) for values in lift)),
        )


def _place(below: FloatArray, units: FloatArray, parts: int) -> IntArray:
    number, share = placed(below, units)
    part = np.clip(np.ceil(np.nan_to_num(share) * parts) - 1, 0, parts - 1)
    place: IntArray = number * parts + part.astype(np.int64)
    return place


def _against_common(one: _Arm, other: _Arm) -> FloatArray:
    """Return the least evidence that a common quantile leaves, shape (k,); nan where a variant is empty."""
    # Beyond the two sample quantiles the evidence of both variants grows: the least lies between them.
    first, last = np.minimum(one.home, other.home), np.maximum(one.home, other.home)
    least = np.full(len(first), np.nan)
    seen = np.flatnonzero((one.below[:, -1] > 0) & (other.below[:, -1] > 0))
    for rows in _alike(seen, last - first + 1):
        at = _window(first[rows], last[rows])
        least[rows] = (one.evidence(rows, at) + other.evidence(rows, at)).min(axis=1)
    return least


def _least(
    rising: Evidence, falling: Evidence, threshold: FloatArray, *, first: _Arm
) -> tuple[FloatArray, FloatArray]:
    """Return the least difference and the least ratio of the second variant to the first, not rejected.

    Not rejected is the pair of places (i, j) when rising(i) + falling(j) < threshold: for each place i
    of the first variant all places of the second from some place on.
    """
    everyone, places, some_i = np.arange(len(threshold)), first.places, first.place

    def rise(at: IntArray) -> FloatArray:
        return rising(everyone, at[:, None])[:, 0]

    def fall(at: IntArray) -> FloatArray:
        return falling(everyone, at[:, None])[:, 0]

    ends = np.zeros_like(some_i), np.full_like(some_i, len(places) - 1)
    at_most, at_least = fall(ends[1]), rise(ends[0])
    last_i = _first(lambda i: rise(i) + at_most >= threshold, *ends)
    last_i -= rise(last_i) + at_most >= threshold
    first_j = _first(lambda j: at_least + fall(j) < threshold, *ends)
    # One pair sets the limit to beat: the first at its sample quantile, the second as low as that allows.
    at_some = rise(some_i)
    some_j = _first(lambda j: at_some + fall(j) < threshold, first_j, ends[1])
    difference = places.low[some_j] - places.high[some_i]
    ratio = _ratio(places.low[some_j], places.high[some_i])
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.fmin(places.low[first_j] - difference, places.low[first_j] / ratio)
        reach = np.fmax(places.high[last_i] + difference, places.high[last_i] * ratio)
    first_i = np.minimum(np.searchsorted(places.high, worth), some_i)
    last_j = np.clip(np.searchsorted(places.low, reach), some_j, ends[1])
    for rows in _alike(everyone, np.maximum(last_i - first_i, last_j - first_j) + 1):
        i, j = _window(first_i[rows], last_i[rows]), _window(first_j[rows], last_j[rows])
        lowest, found = _frontier(rising(rows, i), falling(rows, j), threshold[rows])
        low = np.where(found, places.low[np.take_along_axis(j, lowest, axis=1)], np.inf)
        high = np.where(found, places.high[i], 0.0)
        difference[rows] = np.minimum(difference[rows], (low - high).min(axis=1))
        ratio[rows] = np.minimum(ratio[rows], _ratio(low, high).min(axis=1))
    return difference, ratio


def _frontier(rising: FloatArray, falling: FloatArray, threshold: FloatArray) -> tuple[IntArray, BoolArray]:
    """Return for each column of `rising` the first of `falling` with a sum below the threshold, if any."""
    low = np.zeros(rising.shape, dtype=np.int64)
    high = np.full(rising.shape, falling.shape[1] - 1)
    limit = threshold[:, None]
    for _ in range(int(falling.shape[1]).bit_length()):
        middle = (low + high) // 2
        below = rising + np.take_along_axis(falling, middle, axis=1) < limit
        low, high = np.where(below, low, np.minimum(middle + 1, high)), np.where(below, middle, high)
    return low, rising + np.take_along_axis(falling, low, axis=1) < limit


def _first(holds: Callable[[IntArray], BoolArray], low: IntArray, high: IntArray) -> IntArray:
    """Return the first place in [low, high] from which on a condition holds; `high` if it never does."""
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) // 2
        yes = holds(middle)
        low, high = np.where(yes, low, np.minimum(middle + 1, high)), np.where(yes, middle, high)
    return low


def _alike(rows: IntArray, width: IntArray) -> Iterator[IntArray]:
    """Yield the rows in groups of similar width."""
    narrower = 0
    for limit in WIDTHS:
        group = rows[(width[rows] > narrower) & (width[rows] <= limit)]
        if len(group):
            yield group
        narrower = limit


def _window(first: IntArray, last: IntArray) -> IntArray:
    """Return the places from first to last, one row each; the shorter rows repeat their last one."""
    longest = int((last - first).max()) + 1
    places: IntArray = np.minimum(first[:, None] + np.arange(longest), last[:, None])
    return places


def _ratio(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return low / high; 0 for 0 / 0, where every ratio is possible."""
    ratio = np.full(low.shape, np.inf)
    np.divide(low, high, out=ratio, where=high > 0)
    return np.where(low == 0, 0.0, ratio)


def _agreeing(found: Intervals, side: IntArray) -> Intervals:
    """Return the interval, beyond zero on the side given, or with zero inside where side is 0."""
    lower = np.where(side > 0, np.maximum(found.lower, HAIR), np.minimum(found.lower, 0.0))
    upper = np.where(side < 0, np.minimum(found.upper, -HAIR), np.maximum(found.upper, 0.0))
    return Intervals(found.estimate, lower, upper)
