"""Strata, the closed periods of many comparisons in one array, and how they add up to comparisons."""

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from experiments.errors import InvalidParameterError
from experiments.inference.interval import BoolArray, FloatArray, IntArray

Number = TypeVar("Number", np.float64, np.int64)
MAX_COUNT = 10**15  # floats hold every whole number up to here, and sums of some


@dataclass(frozen=True, slots=True)
class Tables:
    """Units and what was counted of them, of treatment and control, in each stratum, shape (s,)."""

    n_t: IntArray
    n_c: IntArray
    x_t: IntArray
    x_c: IntArray

    def __post_init__(self) -> None:
        """Refuse what cannot have been counted."""
        for name in ("n_t", "n_c", "x_t", "x_c"):
            counts = getattr(self, name)
            if counts.ndim != 1 or counts.shape != self.n_t.shape or counts.dtype != np.int64:
                raise InvalidParameterError(f"{name} must be one-dimensional int64 like n_t")
            if len(counts) and (counts.min() < 0 or counts.max() > MAX_COUNT):
                raise InvalidParameterError(f"{name} must lie in [0, {MAX_COUNT}]")

    @property
    def both(self) -> IntArray:
        """What was counted in both variants."""
        return self.x_t + self.x_c

    def excess_of(self, x_t: IntArray) -> FloatArray:
        """Return `x_t` less its share by units of what was counted in both; only where there are units."""
        n_t, n_c = self.n_t.astype(np.float64), self.n_c.astype(np.float64)
        excess: FloatArray = (x_t * n_c - (self.both - x_t) * n_t) / (n_t + n_c)
        return excess

    def only(self, kept: BoolArray | slice) -> "Tables":
        """Return some of the strata."""
        return Tables(self.n_t[kept], self.n_c[kept], self.x_t[kept], self.x_c[kept])


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which strata belong to which of `size` comparisons.

    Attributes
    ----------
    owner : array of int, shape (s,)
        The comparison of each stratum, ascending; empty if `upto` is used.
    size : int
        Number of comparisons.
    since, upto : array of int, shape (size,), or None
        If the comparisons are looks at series: comparison i has the strata since[i] to upto[i] - 1.
    """

    owner: IntArray
    size: int
    since: IntArray | None = None
    upto: IntArray | None = None

    @classmethod
    def of(cls, owner: IntArray, size: int) -> Self:
        """Return the grouping of strata by the number of their comparison.

        Raises
        ------
        InvalidParameterError
            If the owners are not ascending numbers below `size`.
        """
        owner = np.asarray(owner, dtype=np.int64)
        if len(owner) and (owner[0] < 0 or owner[-1] >= size or (np.diff(owner) < 0).any()):
            raise InvalidParameterError(f"owners must ascend within [0, {size})")
        return cls(owner, size)

    @classmethod
    def running(cls, looks: int, series: int = 1) -> Self:
        """Return the grouping whose comparison i has the strata up to i of its series, `looks` in each."""
        since = np.repeat(np.arange(series) * looks, looks)
        return cls(np.empty(0, dtype=np.int64), looks * series, since, np.arange(1, looks * series + 1))

    def total(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Add up values of shape (..., s) to (..., size)."""
        result = np.zeros((*values.shape[:-1], self.size), dtype=values.dtype)
        if not values.shape[-1]:
            return result
        if self.since is not None and self.upto is not None:
            sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype=values.dtype)
            np.cumsum(values, axis=-1, out=sums[..., 1:])
            return np.asarray(sums[..., self.upto] - sums[..., self.since])
        starts = np.flatnonzero(np.diff(self.owner, prepend=-1))
        result[..., self.owner[starts]] = np.add.reduceat(values, starts, axis=-1)
        return result

    def only(self, kept: BoolArray) -> "Grouping":
        """Return the grouping of some of the strata, for the same comparisons."""
        if self.since is None or self.upto is None:
            return Grouping(self.owner[kept], self.size)
        count = np.concatenate([[0], np.cumsum(kept)])
        return Grouping(self.owner, self.size, count[self.since], count[self.upto])

    def select(self, chosen: IntArray) -> tuple[BoolArray | slice, "Grouping"]:
        """Return which strata some of the comparisons (ascending) need, and their grouping."""
        if len(chosen) == self.size:
            return slice(None), self
        if self.since is not None and self.upto is not None:
            since, upto = self.since[chosen], self.upto[chosen]
            return slice(int(upto[-1])), Grouping(self.owner, len(chosen), since, upto)
        wanted = np.zeros(self.size, dtype=np.bool_)
        wanted[chosen] = True
        kept = wanted[self.owner]
        return kept, Grouping(np.searchsorted(chosen, self.owner[kept]), len(chosen))

    def excesses(self, tables: Tables, smallest: IntArray, largest: IntArray) -> tuple[FloatArray, ...]:
        """Return x_t, and the smallest and the largest it could be, less its share by units, in all.

        The first is one of the others to the last bit where the whole numbers are equal.
        """
        counted, least, most = (self.total(part) for part in (tables.x_t, smallest, largest))
        excess, low, high = (self.total(tables.excess_of(part)) for part in (tables.x_t, smallest, largest))
        return np.where(counted == least, low, np.where(counted == most, high, excess)), low, high


def series_of(n_t: IntArray, n_c: IntArray, x_t: IntArray, x_c: IntArray) -> tuple[Tables, Grouping]:
    """Return the tables of one series (looks,) or of several (series, looks), and one comparison a look."""
    looks = n_t.shape[-1]
    tables = Tables(*(part.ravel() for part in (n_t, n_c, x_t, x_c)))
    return tables, Grouping.running(looks, n_t.size // max(looks, 1))
