"""Functions of a log odds ratio as Chebyshev series in w = tanh(theta / 4), one for each comparison."""

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.polynomial import chebyshev, polynomial

from experiments.inference.interval import FloatArray, IntArray

SHORT = (
    0.5  # up to this width powers lose nothing, for coefficients fall at least as width^order; and are faster
)
NEGLIGIBLE = 1e-13  # coefficients below it, in every comparison, are left off


def nodes(width: float, count: int) -> FloatArray:
    """Return the logarithms of odds ratios at which a series over |w| <= width is fitted.

    Parameters
    ----------
    width : float
        In (0, 1]; 1 is the whole line.
    count : int
        How many; the series has this many terms.

    Returns
    -------
    array, shape (count,)
        Descending.

    Examples
    --------
    >>> [round(float(theta), 3) for theta in nodes(0.5, 3)]
    [1.854, 0.0, -1.854]
    """
    angles = (np.arange(count) + 0.5) * np.pi / count
    grid = width * np.cos(angles)
    if count % 2:
        grid[count // 2] = 0.0
    return 4 * np.arctanh(grid)


@dataclass(frozen=True, slots=True)
class Curve:
    """K(theta) and its first two derivatives for k comparisons.

    K is a series in w over |w| <= width, plus what grows without bound at the ends of the whole line:
    ``low * theta + span * log(1 - share + share * exp(theta))``.

    Attributes
    ----------
    series, slopes, bends : array, shape (terms, k)
        Coefficients of the first part and of its derivatives with respect to w / width: of the powers where
        `width` is at most `SHORT`, else of the Chebyshev polynomials.
    width : float
        In (0, 1].
    low, span : array, shape (k,)
        Zero where there is no second part.
    """

    series: FloatArray
    slopes: FloatArray
    bends: FloatArray
    width: float
    low: FloatArray
    span: FloatArray

    @classmethod
    def fit(cls, values: FloatArray, *, width: float, low: FloatArray, span: FloatArray) -> Self:
        """Return the curves through the values of K at `nodes`.

        Parameters
        ----------
        values : array, shape (count, k)
            In the order of ``nodes(width, count)``.
        width : float
            As given to `nodes`.
        low, span : array, shape (k,)
            Slopes of K at the left end of the whole line, and by how much more it rises at the right end.

        Returns
        -------
        Curve
            Which takes the given values at the nodes.
        """
        count = len(values)
        theta = nodes(width, count)[:, None]
        rest = values - _growth(theta, low, span) if span.any() else values
        order = np.arange(count)
        transform = np.cos(np.outer(order, (order + 0.5) * np.pi / count)) * (2 / count)
        transform[0] /= 2
        series = transform @ rest
        matters = np.flatnonzero((np.abs(series) > NEGLIGIBLE).any(axis=1))
        series = series[: max(int(matters[-1]) + 1 if len(matters) else 0, 3)]
        if width <= SHORT:
            series = _powers(len(series)) @ series
        derivative = polynomial.polyder if width <= SHORT else chebyshev.chebder
        slopes: FloatArray = np.asarray(derivative(series), dtype=np.float64)
        bends: FloatArray = np.asarray(derivative(slopes), dtype=np.float64)
        return cls(series, slopes, bends, width, low, span)

    def take(self, chosen: IntArray) -> "Curve":
        """Return the curves of some of the comparisons."""
        return Curve(
            np.ascontiguousarray(self.series[:, chosen]),
            np.ascontiguousarray(self.slopes[:, chosen]),
            np.ascontiguousarray(self.bends[:, chosen]),
            self.width,
            self.low[chosen],
            self.span[chosen],
        )

    def value(self, theta: FloatArray) -> FloatArray:
        """Return K(theta), theta of shape (k,) or (points, k)."""
        result = self._sum(np.tanh(theta / 4) / self.width, self.series)
        if self.span.any():
            result += _growth(theta, self.low, self.span)
        return result

    def mean_and_variance(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return K'(theta) and K''(theta), theta of shape (k,)."""
        w = np.tanh(theta / 4)
        rate = (1 - w * w) / 4
        slope = self._sum(w / self.width, self.slopes) / self.width
        bend = self._sum(w / self.width, self.bends) / self.width**2
        mean = rate * slope
        variance = rate * rate * bend - rate * w / 2 * slope
        if self.span.any():
            share = _share(self.low, self.span)
            tilted = share / (share + (1 - share) * np.exp(-theta))
            mean += self.low + self.span * tilted
            variance += self.span * tilted * (1 - tilted)
        return mean, np.maximum(variance, 0.0)

    def _sum(self, x: FloatArray, coefficients: FloatArray) -> FloatArray:
        return (_horner if self.width <= SHORT else _clenshaw)(x, coefficients)

    def tail(self) -> FloatArray:
        """Return the size of the last terms, shape (k,): about what the series leaves out."""
        result: FloatArray = np.abs(self.series[-4:]).max(axis=0)
        return result


@cache
def _powers(count: int) -> FloatArray:
    """Return the matrix that turns Chebyshev coefficients into those of powers."""
    matrix = np.zeros((count, count))
    for degree, unit in enumerate(np.eye(count)):
        matrix[: degree + 1, degree] = chebyshev.cheb2poly(unit[: degree + 1])
    return matrix


def _share(low: FloatArray, span: FloatArray) -> FloatArray:
    """Return the share at which the growing part has slope 0 at theta = 0."""
    return np.where(span > 0, -low / np.where(span > 0, span, 1.0), 0.5)


def _growth(theta: FloatArray, low: FloatArray, span: FloatArray) -> FloatArray:
    result: FloatArray = low * theta + span * np.log1p(_share(low, span) * np.expm1(theta))
    return result


def _clenshaw(x: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Sum Chebyshev series by Clenshaw's recurrence: x (k,) or (points, k), coefficients (terms, k)."""
    twice = 2 * x
    last = np.zeros(x.shape)
    this = np.zeros(x.shape)
    spare = np.empty(x.shape)
    for row in coefficients[:0:-1]:
        np.multiply(twice, this, out=spare)
        np.subtract(spare, last, out=spare)
        np.add(spare, row, out=spare)
        last, this, spare = this, spare, last
    result: FloatArray = coefficients[0] + x * this - last
    return result


def _horner(x: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Sum power series, in place; shapes as in `_clenshaw`."""
    result = np.zeros(x.shape)
    for row in coefficients[:0:-1]:
        result += row
        result *= x
    result += coefficients[0]
    return result
