"""Sufficient statistics of a metric, in whole numbers: they add up, and to the same digit on every engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import add
from typing import Self

from experiments.errors import InvalidParameterError

SCALE = 1_000_000
MIN_UNITS = 2


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sums and products of a unit's numbers, in micro-units (a conversion is 0 or 1,000,000).

    Attributes
    ----------
    n : int
        Units, those with value 0 included.
    total : int
        Sum of the values, in micro-units.
    total_sq : int
        Sum of the squared values, in micro-units squared; outgrows 64 bits.
    others : tuple of int
        Sums of the p other numbers of a unit, in micro-units: first a ratio's denominator, then covariates.
    products : tuple of int
        Sums of products, in micro-units squared: the value with each other number (p), then every two of the
        others, each pair once and row by row (p * (p + 1) / 2).
    bins : tuple of (int, int)
        Units by bin of `experiments.histogram`, ascending, without empty bins; of a quantile only.
    """

    n: int
    total: int
    total_sq: int
    others: tuple[int, ...] = ()
    products: tuple[int, ...] = ()
    bins: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        # Cauchy-Schwarz: no data have other sums. It also keeps the variance from being negative.
        if self.n < 0 or self.total_sq < 0 or self.total * self.total > self.n * self.total_sq:
            raise InvalidParameterError(f"no values have {self.n=}, {self.total=}, {self.total_sq=}")
        p = len(self.others)
        if len(self.products) != p + p * (p + 1) // 2:
            raise InvalidParameterError(f"{p} other numbers have no {len(self.products)} products")

    def __add__(self, other: Self) -> "Moments":
        if self.n and other.n and len(self.others) != len(other.others):
            raise InvalidParameterError("moments of different numbers cannot be added")
        return Moments(
            self.n + other.n,
            self.total + other.total,
            self.total_sq + other.total_sq,
            _added(self.others, other.others),
            _added(self.products, other.products),
            _merged(self.bins, other.bins),
        )

    @classmethod
    def of(cls, values: Sequence[int], *others: Sequence[int]) -> "Moments":
        """Return the moments of `values`, one whole number of micro-units per unit, and of its other numbers.

        Examples
        --------
        >>> Moments.of([0, SCALE, SCALE]).mean
        0.6666666666666666
        >>> Moments.of([1, 2], [3, 4]).products
        (11, 25)
        """
        columns = (values, *others)
        pairs = [(0, j) for j in range(1, len(columns))]
        pairs += [(i, j) for i in range(1, len(columns)) for j in range(i, len(columns))]
        return cls(
            len(values),
            sum(values),
            sum(v * v for v in values),
            tuple(sum(column) for column in others),
            tuple(sum(a * b for a, b in zip(columns[i], columns[j], strict=True)) for i, j in pairs),
        )

    @property
    def mean(self) -> float:
        """Mean per unit in the metric's unit; 0 without units."""
        return self.total / (self.n * SCALE) if self.n else 0.0

    @property
    def var(self) -> float:
        """Unbiased variance between units in the metric's unit squared; 0 below two units."""
        if self.n < MIN_UNITS:
            return 0.0
        # Whole numbers until the one division: no digits cancel, whatever the size of the mean.
        return (self.n * self.total_sq - self.total * self.total) / (self.n * (self.n - 1) * SCALE * SCALE)

    @property
    def effective_n(self) -> float:
        """How many equal values would carry this sum: the number of conversions, or of orders that matter."""
        return self.total * self.total / self.total_sq if self.total_sq else 0.0


def _added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(add, one, other)) if one and other else one or other


def _merged(
    one: tuple[tuple[int, int], ...], other: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    if not one or not other:
        return one or other
    counts = dict(one)
    for number, n in other:
        counts[number] = counts.get(number, 0) + n
    return tuple(sorted(counts.items()))


NOTHING = Moments(0, 0, 0)
