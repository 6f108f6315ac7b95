"""The exact distribution of conversions in treatment given the margins: its tilted logarithmic moment.

All that the conversion test needs of the data is K(theta) = log E_0[exp(theta X)], X hypergeometric. With
w = tanh(theta / 4) its derivative, the mean under odds ratio exp(theta), obeys a Riccati equation with
coefficients linear and quadratic in w, and every singularity lies on the unit circle of w: so one short
recursion gives a power series that is exact, whatever the margins (`mean_series`). Far from w = 0, and for a
few units, the sum over the support is taken itself (`centred_log_moment`).
"""

import numpy as np
from scipy.special import gammaln, logsumexp, xlogy

from experiments.inference.interval import FloatArray, IntArray

BUCKETS = (2, 4, 8, 16, 32, 64, 160)  # supports up to these lengths are summed whole
HALF_WINDOW = 80  # around the mode, if the support is longer but the spread below SMOOTH
SMOOTH = 7.0  # standard deviations of X above which the sum is taken at every STRIDE of them
STRIDE = 0.75  # error of that sum: exp(-2 pi^2 / STRIDE^2), 1e-15
STRIDES = 13  # on either side of the mode
EXACT_STIRLING = 16.0  # above it the terms of Stirling's series that are left out are below 1e-14
SMALL_MOVE = 0.5
CHUNK = 1 << 19  # numbers held at once
SERIES_CHUNK = 2048  # strata whose coefficients stay in the processor's cache


def log_moment(theta: FloatArray, n_t: IntArray, n_c: IntArray, m: IntArray) -> FloatArray:
    """Return log E[exp(theta X)], X the conversions in treatment under an odds ratio of 1.

    Parameters
    ----------
    theta : array
        Logarithm of the odds ratio; the arguments broadcast.
    n_t, n_c : array of int
        Units in treatment and in control; at least 0.
    m : array of int
        Conversions in both, between 0 and ``n_t + n_c``.

    Returns
    -------
    array
        To about 1e-12, relative to 1 or to ``theta * m``, whichever is larger.

    References
    ----------
    .. [1] Fisher (1935), "The logic of inductive inference", JRSS 98.
    .. [2] Loader (2000), "Fast and accurate computation of binomial probabilities" (the deviance form).

    Examples
    --------
    One unit in each variant, one conversion: treatment has it with probability 1/2.

    >>> one = np.array(1)
    >>> bool(np.isclose(log_moment(np.array(1.0), one, one, one), np.log((1 + np.e) / 2)))
    True
    """
    tilt, t, c, both = np.broadcast_arrays(theta, n_t, n_c, m)
    margins = [np.asarray(part, dtype=np.int64).ravel() for part in (t, c, both)]
    centred = centred_log_moment(tilt.reshape(-1, 1).astype(np.float64), *margins)
    mean = margins[0] * (margins[2] / np.maximum(margins[0] + margins[1], 1))
    result: FloatArray = (centred[:, 0] + tilt.ravel() * mean).reshape(tilt.shape)
    return result


def centred_log_moment(theta: FloatArray, n_t: IntArray, n_c: IntArray, m: IntArray) -> FloatArray:
    """Return log E[exp(theta (X - E X))]: the same about the mean, without the rounding of large counts.

    Parameters
    ----------
    theta : array, shape (s, q) or (1, q)
        Logarithms of odds ratios.
    n_t, n_c, m : array of int, shape (s,)
        Margins, as in `log_moment`.

    Returns
    -------
    array, shape (s, q)
        Nowhere negative but for rounding; 0 where the margins leave only one value of X.

    Examples
    --------
    >>> one = np.array([1])
    >>> float(centred_log_moment(np.zeros((1, 1)), one, one, one)[0, 0])
    0.0
    """
    rows = np.broadcast_to(theta, (len(m), theta.shape[1]))
    result = np.zeros(rows.shape)
    size = np.minimum(m, n_t) - np.maximum(0, m - n_c) + 1
    shortest = 1
    for longest in BUCKETS:
        chosen = np.flatnonzero((size > shortest) & (size <= longest))
        step = max(1, CHUNK // (longest * max(rows.shape[1], 1)))
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            result[part] = _whole_support(rows[part], n_t[part], n_c[part], m[part], longest)
        shortest = longest
    chosen = np.flatnonzero(size > shortest)
    if len(chosen):
        spread = np.repeat(chosen, rows.shape[1])
        result[chosen] = _long_support(rows[chosen].ravel(), n_t[spread], n_c[spread], m[spread]).reshape(
            len(chosen), -1
        )
    return result


def mean_shift(w: FloatArray, n_t: FloatArray, n_c: FloatArray, m: FloatArray) -> FloatArray:
    """Return by how much x exceeds n_t m / N where x (n_c - m + x) = exp(theta) (n_t - x) (m - x).

    That x is the mode of X up to a unit; divided by the units it gives the rates with this odds ratio that
    agree with the pooled conversions.

    Parameters
    ----------
    w : array
        ``tanh(theta / 4)``, in [-1, 1]; the arguments broadcast.
    n_t, n_c, m : array
        Margins, as floats.

    Returns
    -------
    array
        In conversions; 0 at w = 0, and increasing in w.

    Examples
    --------
    >>> float(mean_shift(np.array(1.0), np.array(10.0), np.array(10.0), np.array(4.0)))
    2.0
    """
    total = np.maximum(n_t + n_c, 1)
    spread = 4 * n_t * (m / total) * (n_c * ((total - m) / total))
    slant = total * (1 + w * w) + 2 * w * (n_t - n_c) * ((total - 2 * m) / total)
    root = np.sqrt(np.maximum(slant * slant - 16 * w * w * spread, 0))
    denominator = slant + root
    shift: FloatArray = 2 * w * spread / np.where(denominator > 0, denominator, 1)
    return shift


def mean_series(n_t: FloatArray, n_c: FloatArray, m: FloatArray, order: int) -> FloatArray:
    """Return the power series in w = tanh(theta / 4) of the mean of X, less its mean under odds ratio 1.

    From E[X (n_c - m + X)] = exp(theta) E[(n_t - X) (m - X)], which makes the mean, nu(w), the solution of
    ``w (1 - w^2) nu' = (N + 2 S w + N w^2) nu - c w - 4 w nu^2`` that is regular at 0. It converges for
    |w| < 1, and its terms are bounded, so that what is left out is of the order of m |w|^order.

    Parameters
    ----------
    n_t, n_c, m : array, shape (s,)
        Margins, as floats; n_t + n_c well above `order`.
    order : int
        The highest power.

    Returns
    -------
    array, shape (order + 1, s)
        The coefficients of w^0, w^1, ...; that of w^0 is 0.

    Examples
    --------
    The first is four times the variance under odds ratio 1, for theta is about 4 w.

    >>> [f"{c:.6f}" for c in mean_series(np.array([500.0]), np.array([500.0]), np.array([100.0]), 2)[:, 0]]
    ['0.000000', '90.090090', '0.000000']
    """
    result = np.zeros((order + 1, len(m)))
    for start in range(0, len(m), SERIES_CHUNK):
        part = slice(start, start + SERIES_CHUNK)
        result[:, part] = _series_of(n_t[part], n_c[part], m[part], order)
    return result


def _series_of(n_t: FloatArray, n_c: FloatArray, m: FloatArray, order: int) -> FloatArray:
    total = n_t + n_c
    slant = 2 * (n_t - n_c) * ((total - 2 * m) / total)
    nu = np.zeros((order + 1, len(m)))
    nu[1] = 4 * n_t * (m / total) * (n_c * ((total - m) / total)) / (total - 1)
    for j in range(2, order + 1):
        last = j - 2  # the products of equal total power j - 1, each pair once
        pairs = last // 2
        product = 8 * np.einsum("ij,ij->j", nu[1 : pairs + 1], nu[last : last - pairs : -1])
        if last % 2:
            product += 4 * nu[pairs + 1] ** 2
        nu[j] = (product - slant * nu[j - 1] - (total + (j - 2)) * nu[j - 2]) / (total - j)
    return nu


def _whole_support(theta: FloatArray, n_t: IntArray, n_c: IntArray, m: IntArray, longest: int) -> FloatArray:
    low = np.maximum(0, m - n_c)
    log_p = np.zeros((len(m), longest))
    log_p[:, 1:] = _log_ratios(low[:, None] + np.arange(longest - 1), n_t, n_c, m)
    log_p = np.cumsum(log_p, axis=1)
    log_p -= logsumexp(log_p, axis=1, keepdims=True)
    offset = np.arange(longest) + (low - n_t * (m / (n_t + n_c)))[:, None]
    exponent = log_p[:, None, :] + theta[:, :, None] * offset[:, None, :]
    largest = exponent.max(axis=2)
    exponent -= largest[:, :, None]
    result: FloatArray = largest + np.log(np.exp(exponent, out=exponent).sum(axis=2))
    return result


def _log_ratios(x: IntArray, n_t: IntArray, n_c: IntArray, m: IntArray) -> FloatArray:
    """Return log P(x + 1) / P(x) under odds ratio 1; -inf off the support. Margins (s,), x (s, length)."""
    t, c, both = n_t[:, None], n_c[:, None], m[:, None]
    inside = (x >= np.maximum(0, both - c)) & (x < np.minimum(both, t))
    at = np.where(inside, x, np.maximum(0, both - c)).astype(np.float64)
    odds = ((t - at) / (at + 1)) * ((both - at) / (c - both + at + 1))
    return np.where(inside, np.log(np.where(inside, odds, 1.0)), -np.inf)


def _long_support(theta: FloatArray, n_t: IntArray, n_c: IntArray, m: IntArray) -> FloatArray:
    """Return the centred logarithmic moment where the support is long, element by element."""
    t, c, both = n_t.astype(np.float64), n_c.astype(np.float64), m.astype(np.float64)
    shift = mean_shift(np.tanh(theta / 4), t, c, both)
    spread = 1 / np.sqrt((1 / np.maximum(_cells(shift, t, c, both), 1e-300)).sum(axis=0))
    result = np.empty(len(theta))
    smooth = spread >= SMOOTH
    for mask, sums in ((smooth, _strided), (~smooth, _windowed)):
        chosen = np.flatnonzero(mask)
        step = CHUNK // (2 * HALF_WINDOW)
        for start in range(0, len(chosen), step):
            i = chosen[start : start + step]
            result[i] = sums(theta[i], shift[i], (t[i], c[i], both[i]))
    return result


Margins = tuple[FloatArray, FloatArray, FloatArray]


def _cells(shift: FloatArray, n_t: FloatArray, n_c: FloatArray, m: FloatArray) -> FloatArray:
    """Return the table's cells at `shift` above the mean, shape (4, e); the outer two grow with it."""
    share = m / (n_t + n_c)
    rest = (n_t + n_c - m) / (n_t + n_c)
    return np.stack([n_t * share + shift, n_c * share - shift, n_t * rest - shift, n_c * rest + shift])


SIGNS = np.array([1.0, -1.0, -1.0, 1.0])


def _strided(theta: FloatArray, shift: FloatArray, margins: Margins) -> FloatArray:
    """Sum by the trapezium rule over the smooth continuation of the probabilities."""
    cells = np.maximum(_cells(shift, *margins), 1.0)
    step = STRIDE / np.sqrt((1 / cells).sum(axis=0))
    move = step[:, None] * np.arange(-STRIDES, STRIDES + 1)
    exponent = np.zeros(move.shape)
    for sign, cell in zip(SIGNS, cells[:, :, None], strict=True):
        change = np.maximum(sign * move / cell, 0.5 / cell - 1)
        there = cell * (1 + change)
        exponent -= (there + 0.5) * np.log1p(change) + _tail(there) - _tail(cell)
    total: FloatArray = _log_weight(theta, shift, margins) + np.log(step) + logsumexp(exponent, axis=1)
    return total


def _windowed(theta: FloatArray, shift: FloatArray, margins: Margins) -> FloatArray:
    """Sum over the integers around the mode, which lies near an end of a long support."""
    n_t, n_c, m = (part.astype(np.int64) for part in margins)
    mean = margins[0] * (margins[2] / (margins[0] + margins[1]))
    centre = np.clip(np.rint(mean + shift).astype(np.int64), np.maximum(0, m - n_c), np.minimum(m, n_t))
    x = centre[:, None] + np.arange(-HALF_WINDOW, HALF_WINDOW)
    steps = _log_ratios(x, n_t, n_c, m) + theta[:, None]
    down = np.cumsum(-steps[:, HALF_WINDOW - 1 :: -1], axis=1)
    up = np.cumsum(steps[:, HALF_WINDOW:], axis=1)
    down = np.where(np.isfinite(down), down, -np.inf)
    terms = np.concatenate([down, np.zeros((len(m), 1)), up], axis=1)
    return _log_weight(theta, centre - mean, margins) + logsumexp(terms, axis=1)


def _log_weight(theta: FloatArray, shift: FloatArray, margins: Margins) -> FloatArray:
    """Return log P(x) + theta (x - E X) at x = E X + shift: deviances, so that large counts do not cancel."""
    n_t, n_c, m = margins
    means = np.maximum(_cells(np.zeros_like(shift), *margins), 1e-300)
    moved = SIGNS[:, None] * shift / means
    cells = np.maximum(means * (1 + moved), 0.0)
    deviance = means * (xlogy(np.maximum(1 + moved, 0), np.maximum(1 + moved, 0)) - moved)
    small = np.abs(moved) < SMALL_MOVE
    near = np.where(small, moved, 0.0)
    deviance = np.where(small, means * ((1 + near) * np.log1p(near) - near), deviance)
    outer = _rest(n_t) + _rest(n_c) + _rest(m) + _rest(n_t + n_c - m) - _rest(n_t + n_c)
    result: FloatArray = theta * shift - deviance.sum(axis=0) + outer - _rest(cells).sum(axis=0)
    return result


def _rest(x: FloatArray) -> FloatArray:
    """Return log x! - x log x + x."""
    large = np.maximum(x, EXACT_STIRLING)
    series = 0.5 * np.log(2 * np.pi * large) + _tail(large)
    small = np.minimum(x, EXACT_STIRLING)
    return np.where(x < EXACT_STIRLING, gammaln(small + 1) - xlogy(small, small) + small, series)


def _tail(x: FloatArray) -> FloatArray:
    """Return the series of Stirling's formula beyond its logarithms."""
    y = 1 / (x * x)
    result: FloatArray = (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x
    return result
