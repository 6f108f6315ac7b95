"""Moments of many samples as arrays, centred in whole numbers so that no digits cancel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from experiments.errors import InvalidParameterError
from experiments.inference.interval import FloatArray, IntArray
from experiments.moments import SCALE, Moments

# Whole numbers of any size (dtype object), or of any other dtype where rounding does no harm.
AnyArray: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class MomentArrays:
    """Moments of k samples, each unit with q numbers: the value, a ratio's denominator, covariates.

    Attributes
    ----------
    n : array, shape (k,)
        Units.
    means : array, shape (k, q)
        In the metric's unit; nan without units, and for a number that the units of a sample do not have.
    scatter : array, shape (k, q, q)
        Sums of products of deviations from the means; nan likewise.
    """

    n: IntArray
    means: FloatArray
    scatter: FloatArray

    @classmethod
    def of(cls, moments: Sequence[Moments]) -> "MomentArrays":
        """Return k moments as arrays; the sums become floats only after the centring, so no digits cancel.

        Parameters
        ----------
        moments : sequence of Moments
            They may hold different numbers of covariates.

        Returns
        -------
        MomentArrays

        Examples
        --------
        >>> far = MomentArrays.of([Moments.of([10**15 - SCALE, 10**15, 10**15 + SCALE])])
        >>> far.means.tolist(), far.scatter.tolist()
        ([[1000000000.0]], [[[2.0]]])
        """
        width = 1 + max((len(m.others) for m in moments), default=0)
        n = np.array([m.n for m in moments], dtype=np.int64)
        means, scatter = np.full((len(n), width), np.nan), np.full((len(n), width, width), np.nan)
        p = np.array([len(m.others) for m in moments], dtype=np.int64)
        for q in np.unique(p) + 1:
            rows = np.flatnonzero(p == q - 1)
            some = [moments[row] for row in rows.tolist()]
            means[rows, :q], scatter[rows, :q, :q] = _centred(
                np.array([m.n for m in some], dtype=object),
                np.array([(m.total, *m.others) for m in some], dtype=object),
                np.array([(m.total_sq, *m.products) for m in some], dtype=object),
                SCALE,
            )
        return cls(n, means, scatter)

    @classmethod
    def from_sums(cls, n: AnyArray, sums: AnyArray, products: AnyArray, *, scale: int = 1) -> "MomentArrays":
        """Return moments from arrays of sums, as a simulation or a query has them.

        Parameters
        ----------
        n : array, shape (k,)
        sums : array, shape (k, q)
        products : array, shape (k, q, q)
            Sums of products, not centred. Of whole numbers (Python's, as dtype object, may have any size) no
            digits cancel; of floats those that the mean squared has over the variance do.
        scale : int
            How many of the sums' units make one of the metric's: `experiments.moments.SCALE` for micro-units.

        Returns
        -------
        MomentArrays

        Raises
        ------
        InvalidParameterError
            If the shapes do not fit together.

        Examples
        --------
        >>> MomentArrays.from_sums(np.array([2]), np.array([[4.0]]), np.array([[[10.0]]])).scatter.item()
        2.0
        """
        q = sums.shape[-1]
        if sums.shape != (*n.shape, q) or products.shape != (*n.shape, q, q):
            raise InvalidParameterError(f"{n.shape=}, {sums.shape=}, {products.shape=}")
        upper = products[(..., *np.triu_indices(q))]
        if all(part.dtype.kind in "iu" for part in (n, sums, upper)):
            n, sums, upper = n.astype(object), sums.astype(object), upper.astype(object)
        means, scatter = _centred(n, sums, upper, scale)
        return cls(n.astype(np.int64), means, scatter)

    @property
    def width(self) -> int:
        """How many numbers a unit has, q."""
        return int(self.means.shape[1])

    def widened(self, width: int) -> "MomentArrays":
        """Return it with numbers that no unit has, up to `width`."""
        more = max(width - self.width, 0)
        means = np.pad(self.means, ((0, 0), (0, more)), constant_values=np.nan)
        scatter = np.pad(self.scatter, ((0, 0), (0, more), (0, more)), constant_values=np.nan)
        return MomentArrays(self.n, means, scatter)


def _centred(n: AnyArray, sums: AnyArray, products: AnyArray, scale: int) -> tuple[FloatArray, FloatArray]:
    """Return means and scatter; `products` holds each pair of numbers once, row by row."""
    q = sums.shape[1]
    first, second = np.triu_indices(q)
    size = np.where(n == 0, 1, n)[:, None]
    means = np.where(n[:, None] == 0, np.nan, (sums / (size * scale)).astype(np.float64))
    upper = (size * products - sums[:, first] * sums[:, second]) / (size * scale * scale)
    upper = np.where(n[:, None] == 0, np.nan, upper.astype(np.float64))
    scatter = np.empty((len(n), q, q))
    scatter[:, first, second] = scatter[:, second, first] = upper
    return means, scatter
