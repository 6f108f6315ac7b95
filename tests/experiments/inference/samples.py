"""Samples of units as the arrays of moments that the tests of this folder need."""

from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.inference.linear import LinearInference, MomentArrays, Pairs
from experiments.moments import SCALE, Moments

Array = npt.NDArray[np.float64]


def moments_of(*columns: Array) -> Moments:
    """Return the moments of units with these numbers, rounded to micro-units."""
    return Moments.of(*([round(float(v) * SCALE) for v in column] for column in columns))


def one_row(*columns: Array) -> MomentArrays:
    """Return the moments of one sample in floating point: one row."""
    table = np.stack(columns)
    return MomentArrays.from_sums(
        np.array([table.shape[1]]),
        table.sum(axis=1)[None, :].astype(np.float64),
        (table @ table.T)[None, :, :],
    )


def running(*columns: Array) -> MomentArrays:
    """Return moments at every look; each column has shape (runs, looks, units per look), one row per look."""
    table = np.stack(columns, axis=-1)
    n = np.full(table.shape[:2], table.shape[2]).cumsum(axis=1)
    sums = table.sum(axis=2).cumsum(axis=1)
    products = np.einsum("rlui,rluj->rlij", table, table).cumsum(axis=1)
    q = table.shape[-1]
    return MomentArrays.from_sums(n.ravel(), sums.reshape(-1, q), products.reshape(-1, q, q))


def pairs(mean_t: Any, mean_c: Any, var_t: Any, var_c: Any, cov: Any = 0.0, n: Any = 5_000) -> Pairs:
    """Return pairs with `n` units in each variant."""
    parts = np.broadcast_arrays(
        *(np.atleast_1d(part).astype(float) for part in (mean_t, mean_c, var_t, var_c, cov))
    )
    units = np.broadcast_to(np.asarray(n, dtype=np.int64), parts[0].shape)
    return Pairs(
        n_t=units, n_c=units, mean_t=parts[0], mean_c=parts[1], var_t=parts[2], var_c=parts[3], cov=parts[4]
    )


def judged(pairs: Pairs, *, n_star: Any = 10_000, alpha: Any = 0.05) -> LinearInference:
    """Return the test of pairs that are all behind their burn-in."""
    return LinearInference.of(pairs, n_star=n_star, alpha=alpha, ready=np.full(pairs.mean_t.shape, True))
