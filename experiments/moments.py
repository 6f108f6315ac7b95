"""Sufficient statistics of a metric, in whole numbers: they add up, and to the same digit on every engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from experiments.errors import InvalidParameterError

SCALE = 1_000_000
MIN_UNITS = 2


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of one value per unit, in micro-units (a conversion is 0 or 1,000,000).

    Attributes
    ----------
    n : int
        Units, those with value 0 included.
    total : int
        Sum of the values, in micro-units.
    total_sq : int
        Sum of the squared values, in micro-units squared; outgrows 64 bits.
    """

    n: int
    total: int
    total_sq: int

    def __post_init__(self) -> None:
        # Cauchy-Schwarz: no data have other sums. It also keeps the variance from being negative.
        if self.n < 0 or self.total_sq < 0 or self.total * self.total > self.n * self.total_sq:
            raise InvalidParameterError(f"no values have {self.n=}, {self.total=}, {self.total_sq=}")

    def __add__(self, other: Self) -> "Moments":
        return Moments(self.n + other.n, self.total + other.total, self.total_sq + other.total_sq)

    @classmethod
    def of(cls, values: Sequence[int]) -> "Moments":
        """Return the moments of `values`, one whole number of micro-units per unit.

        Examples
        --------
        >>> Moments.of([0, SCALE, SCALE]).mean
        0.6666666666666666
        """
        return cls(len(values), sum(values), sum(v * v for v in values))

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


NOTHING = Moments(0, 0, 0)
