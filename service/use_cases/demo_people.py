"""Simulated people for the demo shop: the one generator of scripts/simulate.py and scripts/calibrate_demo.py.

The data holds orders and no visits, so people are bootstrapped. A person is a real customer drawn with
replacement among those known at the cut-off, arrives at a random time whether they buy or not, and lives
that customer's real orders of the 30 days. Everything is a function of the seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from uuid import UUID

import numpy as np
import numpy.typing as npt

from experiments.errors import InvalidParameterError
from service.clock import to_micros
from service.use_cases.demo_data import CUTOFF, DAYS, MICROS, DemoOrder

DAY_US = 86_400 * MICROS
SHARE_RETURNING = 0.4

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class World:
    """What really happened: customers known at the cut-off, what they did before, and in the 30 days after.

    `later` is in time order; `later_start[i]:later_start[i + 1]` are the rows of `later_by_customer` (indices
    into `later`) of customer `i`.
    """

    customers: tuple[int, ...]
    countries: tuple[str, ...]
    last_order: tuple[DemoOrder, ...]
    later: tuple[DemoOrder, ...]
    later_start: IntArray
    later_by_customer: IntArray

    @classmethod
    def of(cls, orders: Sequence[DemoOrder]) -> "World":
        """Split `orders`, which are in time order, at the cut-off."""
        cutoff_us = to_micros(CUTOFF)
        last = {o.customer_id: o for o in orders if o.occurred_us < cutoff_us and not o.refund}
        customers = tuple(sorted(last))
        index = {customer_id: i for i, customer_id in enumerate(customers)}
        later = tuple(o for o in orders if o.occurred_us >= cutoff_us and o.customer_id in index)
        owner = np.fromiter((index[o.customer_id] for o in later), np.int64, len(later))
        counts = np.bincount(owner, minlength=len(customers))
        return cls(
            customers=customers,
            countries=tuple(last[c].country for c in customers),
            last_order=tuple(last[c] for c in customers),
            later=later,
            later_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            later_by_customer=np.argsort(owner, kind="stable").astype(np.int64),
        )

    @cached_property
    def later_refund(self) -> BoolArray:
        """Which of `later` are refunds; shape (n_later,)."""
        return np.fromiter((o.refund for o in self.later), np.bool_, len(self.later))

    @cached_property
    def later_revenue(self) -> IntArray:
        """What each of `later` is worth in micro-pounds, rounded to pence as sent; shape (n_later,)."""
        amounts = (round(round(o.revenue_milli / 1000, 2) * MICROS) for o in self.later)
        return np.fromiter(amounts, np.int64, len(self.later))

    @cached_property
    def later_us(self) -> IntArray:
        """When each of `later` happened, in microseconds since the cut-off; shape (n_later,)."""
        cutoff_us = to_micros(CUTOFF)
        return np.fromiter((o.occurred_us - cutoff_us for o in self.later), np.int64, len(self.later))


@dataclass(frozen=True, kw_only=True)
class People:
    """Who arrives and when; row `i` of every array is person `i`, and people are in order of arrival.

    Attributes
    ----------
    customer_index : (n_people,)
        Whose life the person lives: an index into `World.customers`.
    arrival_us : (n_people,)
        First visit, in microseconds since the cut-off.
    return_us : (n_people,)
        Second visit, later than the first; -1 for none.
    coin : (n_people,)
        Uniform on [0, 1): decides whether a planted lift takes this person's purchases away.
    """

    seed: int
    customer_index: IntArray
    arrival_us: IntArray
    return_us: IntArray
    coin: npt.NDArray[np.float64]

    @classmethod
    def draw(cls, world: World, *, n_people: int, n_days: int, seed: int) -> "People":
        """Draw `n_people` that arrive, uniformly, within the first `n_days` days after the cut-off.

        Raises
        ------
        InvalidParameterError
            If a number lies outside its domain.
        """
        if n_people < 1 or not 1 <= n_days <= DAYS or seed < 0:
            raise InvalidParameterError(f"{n_people=}, {n_days=} (1..{DAYS}), {seed=}")
        rng = np.random.default_rng([seed, n_people, n_days])
        end_us = n_days * DAY_US
        arrival_us = np.sort(rng.integers(0, end_us, n_people))
        later_us = arrival_us + 1 + (rng.random(n_people) * (end_us - arrival_us - 1)).astype(np.int64)
        returns = (rng.random(n_people) < SHARE_RETURNING) & (later_us < end_us)
        return cls(
            seed=seed,
            customer_index=rng.integers(0, len(world.customers), n_people),
            arrival_us=arrival_us,
            return_us=np.where(returns, later_us, -1),
            coin=rng.random(n_people),
        )

    def __len__(self) -> int:
        return len(self.arrival_us)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The anonymous ids: 122 bits in the form of a UUID, so that nobody guesses a neighbour's."""
        key = f"demo-people-{self.seed}".encode()
        digests = (blake2b(i.to_bytes(8, "big"), digest_size=16, key=key).digest() for i in range(len(self)))
        return tuple(str(UUID(bytes=digest, version=4)) for digest in digests)


@dataclass(frozen=True, kw_only=True)
class Lives:
    """Every order that every person lives, flat: in row `j`, `person[j]` has order `order_index[j]`."""

    person: IntArray
    order_index: IntArray
    occurred_us: IntArray

    @classmethod
    def of(cls, world: World, people: People) -> "Lives":
        """Give each person all later orders of the customer, those before the arrival included."""
        starts = world.later_start[people.customer_index]
        counts = world.later_start[people.customer_index + 1] - starts
        person = np.repeat(np.arange(len(people)), counts)
        within = np.arange(len(person)) - np.repeat(np.cumsum(counts) - counts, counts)
        order_index = world.later_by_customer[np.repeat(starts, counts) + within]
        return cls(person=person, order_index=order_index, occurred_us=world.later_us[order_index])


def loses_purchases(
    coin: npt.NDArray[np.float64], *, is_control: BoolArray, is_treatment: BoolArray, lift: float
) -> BoolArray:
    """Plant a lift of the unit's conversion: tell who loses all purchases from the arrival on.

    With `lift` >= 0 a control person loses them with probability 1 - 1/(1 + lift), so the treatment converts
    exactly (1 + lift) times as often, in expectation. A negative lift takes from the treatment instead.
    Orders before the arrival stay: an experiment cannot change the past. Refunds stay: they concern earlier
    purchases.

    Raises
    ------
    InvalidParameterError
        If `lift` is not above -1 and at most 10.
    """
    if not -1 < lift <= 10:  # noqa: PLR2004 - the documented domain
        raise InvalidParameterError(f"{lift=}: expected more than -1 and at most 10")
    if lift >= 0:
        return is_control & (coin < 1 - 1 / (1 + lift))
    return is_treatment & (coin < -lift)
