"""What every test gives, whatever its metric: evidence, and intervals that invert the same test."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Intervals:
    """One interval for each comparison, shape (k,).

    Attributes
    ----------
    estimate : array
        nan where it does not exist, as a lift over a mean of zero.
    lower, upper : array
        -inf or inf where the set has no end on that side; both nan where nothing can be said.
    """

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True)
class Effects:
    """The difference, treatment minus control in the metric's unit, and the lift: a fraction, at least -1."""

    effect: Intervals
    lift: Intervals


class Inference(Protocol):
    """One test applied to k comparisons of a treatment with control, at one look.

    The e-value and the intervals are two readings of one test: whatever the level,
    ``log_e >= -log(level)`` exactly when `two_sided` at that level excludes zero, as effect and as lift
    (where there is a lift at all), on the same side.
    """

    @property
    def log_e(self) -> FloatArray:
        """Natural logarithm of the evidence against "no difference", shape (k,); nan where none can be had.

        Its exponential is (asymptotically, behind the burn-in) at most 1 on average at every stopping time.
        """
        ...

    def two_sided(self, level: FloatArray) -> Effects:
        """Return the values not rejected at `level`, shape (k,): the share of runs that ever miss."""
        ...

    def one_sided(self, level: FloatArray) -> Effects:
        """Return a lower and an upper bound, each of which misses in at most `level` of all runs, ever."""
        ...
