"""A/A experiments on one stream of visitors, judged after every closed day, by two methods.

Both variants of each experiment are the same, so every winner is a false one. The visitors, their days and
their conversions are the same for all experiments; only the split differs, by the product's own hash.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from scipy.special import ndtr, ndtri

from experiments.errors import InvalidParameterError
from experiments.hashing import N_BUCKETS, buckets, laid_out
from experiments.inference.conversion import ConversionInference, log_odds_of
from experiments.inference.interval import BoolArray, FloatArray, IntArray

ALPHA = 0.05
POWER = 0.8
MAX_EXPERIMENTS = 999  # three digits in a salt
ID_BYTES = 6
WEEK = 7  # days whose visitors are hashed together, for speed
NODES = 160  # of the quadrature in `expected_false_winners`


@dataclass(frozen=True, slots=True, kw_only=True)
class RacePlan:
    """How many experiments run on how large a stream.

    Attributes
    ----------
    experiments : int
        In [1, 999]; k below.
    days : int
        Closed days, each followed by a look; at least 1.
    visitors : int
        New visitors on an average day; at least 1.
    rate : float
        Chance that a visitor converts; in (0, 1).

    Raises
    ------
    InvalidParameterError
        If a number is outside its domain.

    Examples
    --------
    >>> round(RacePlan().mde, 3)
    0.1
    """

    experiments: int = 100
    days: int = 28
    visitors: int = 1_000
    rate: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 1 <= self.experiments <= MAX_EXPERIMENTS or min(self.days, self.visitors) < 1:
            raise InvalidParameterError(f"{self.experiments=}, {self.days=}, {self.visitors=}")
        if not 0 < self.rate < 1:
            raise InvalidParameterError(f"{self.rate=}")

    @property
    def mde(self) -> float:
        """The lift that a single look at the end would find with power .8: what our test is tuned to."""
        z = float(ndtri(1 - ALPHA / 2) + ndtri(POWER))
        return z * math.sqrt(4 * (1 - self.rate) / (self.rate * self.days * self.visitors))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Every experiment after one closed day.

    Attributes
    ----------
    day : int
        From 1.
    visitors, conversions : int
        In the stream so far.
    classical : array, shape (k,)
        The two-sided p-value of two proportions, right for a single look.
    ours : array, shape (k,)
        The p-value of the verdicts, valid at every look.
    """

    day: int
    visitors: int
    conversions: int
    classical: FloatArray
    ours: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Whom one method calls a winner.

    Attributes
    ----------
    first_day : array of int, shape (k,)
        The first day after which an experiment had p < .05; 0 if none.
    ever : array of int, shape (days,)
        Experiments with p < .05 after that day or an earlier one: whoever acts on what is seen has acted.
    now : array of int, shape (days,)
        Experiments with p < .05 after that very day.
    """

    first_day: IntArray
    ever: IntArray
    now: IntArray

    @classmethod
    def of(cls, p_values: FloatArray) -> Self:
        """Count winners.

        Parameters
        ----------
        p_values : array, shape (days, k)
            After each day; at least one day.

        Returns
        -------
        Tally
            At the level `ALPHA`.

        Examples
        --------
        >>> tally = Tally.of(np.array([[0.2, 0.04], [0.3, 0.06]]))
        >>> tally.first_day.tolist(), tally.ever.tolist(), tally.now.tolist()
        ([0, 1], [1, 1], [1, 0])
        """
        below: BoolArray = p_values < ALPHA
        first = np.where(below.any(axis=0), below.argmax(axis=0) + 1, 0)
        ever = np.logical_or.accumulate(below, axis=0).sum(axis=1)
        return cls(first_day=first, ever=ever, now=below.sum(axis=1))


def run(plan: RacePlan, rng: np.random.Generator) -> Iterator[Look]:
    """Let the days pass: after each, judge all experiments by what had happened until then.

    Parameters
    ----------
    plan : RacePlan
        The size of the race.
    rng : numpy.random.Generator
        Draws the visitors: how many come, their ids, who converts. The split is not drawn, it is hashed.

    Yields
    ------
    Look
        One for each day, as soon as it is computed.

    Examples
    --------
    >>> looks = list(run(RacePlan(experiments=3, days=2), np.random.default_rng(1)))
    >>> [look.day for look in looks], looks[-1].ours.shape
    ([1, 2], (3,))
    """
    salts = [f"peeking-{i:03d}#1" for i in range(1, plan.experiments + 1)]
    delta = np.full(plan.experiments, float(log_odds_of(np.array(plan.rate), np.array(plan.mde))))
    counts = np.zeros((4, plan.experiments, plan.days), dtype=np.int64)
    visitors = conversions = 0
    for day in range(plan.days):
        if day % WEEK == 0:
            week = slice(day, min(day + WEEK, plan.days))
            counts[:, :, week] = _week(plan, salts, week.stop - week.start, rng)
        n_t, n_c, x_t, x_c = counts[:, 0, day].tolist()
        visitors += n_t + n_c
        conversions += x_t + x_c
        until = counts[:, :, : day + 1]
        yield Look(
            day=day + 1,
            visitors=visitors,
            conversions=conversions,
            classical=_classical(until.sum(axis=2)),
            ours=_ours(until, delta),
        )


def expected_false_winners(looks: int) -> FloatArray:
    """Return the chance that the classical p-value is below .05 at one of the first looks.

    Parameters
    ----------
    looks : int
        At least 1, after equal numbers of units each; many units.

    Returns
    -------
    array, shape (looks,)
        By the first look, the first two, and so on.

    Raises
    ------
    InvalidParameterError
        If `looks` is below 1.

    References
    ----------
    .. [1] Armitage, McPherson, Rowe (1969), "Repeated significance tests on accumulating data", JRSS A 132,
       table 2.

    Examples
    --------
    >>> expected_false_winners(10)[[0, 1, 4, 9]].round(3).tolist()
    [0.05, 0.083, 0.142, 0.193]
    """
    if looks < 1:
        raise InvalidParameterError(f"{looks=}")
    node, weight = np.polynomial.legendre.leggauss(NODES)
    edge = float(ndtri(1 - ALPHA / 2))
    # Mass and place of the sum of `look` standard normal increments that never left the edges.
    at, mass = np.zeros(1), np.ones(1)
    inside = np.empty(looks)
    for look in range(looks):
        reach = edge * math.sqrt(look + 1)
        there = reach * node
        step = np.exp(-0.5 * (there[:, None] - at) ** 2) / math.sqrt(2 * math.pi)
        at, mass = there, reach * weight * (step @ mass)
        inside[look] = mass.sum()
    result: FloatArray = 1 - inside
    return result


def _week(plan: RacePlan, salts: Sequence[str], days: int, rng: np.random.Generator) -> IntArray:
    """Draw the visitors of some days and split them; return n_t, n_c, x_t, x_c, shape (4, k, days)."""
    arrivals = rng.poisson(plan.visitors, days)
    total, width = int(arrivals.sum()), 2 * ID_BYTES
    text = rng.bytes(ID_BYTES * total).hex()
    converts = rng.random(total) < plan.rate
    ids = laid_out([text[start : start + width] for start in range(0, len(text), width)])
    treated = np.stack([buckets(salt, ids) >= N_BUCKETS // 2 for salt in salts])
    result = np.zeros((4, len(salts), days), dtype=np.int64)
    for day, (start, end) in enumerate(pairwise([0, *np.cumsum(arrivals).tolist()])):
        chosen, converted = treated[:, start:end], converts[start:end]
        n_t, x_t = chosen.sum(axis=1), (chosen & converted).sum(axis=1)
        result[:, :, day] = n_t, end - start - n_t, x_t, converted.sum() - x_t
    return result


def _classical(totals: IntArray) -> FloatArray:
    """Return the p-values of the pooled z test, shape (k,); 1 where it is not defined."""
    n_t, n_c, x_t, x_c = totals.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (x_t + x_c) / (n_t + n_c)
        z = (x_t / n_t - x_c / n_c) / np.sqrt(pooled * (1 - pooled) * (1 / n_t + 1 / n_c))
    result: FloatArray = np.where(np.isfinite(z), 2 * ndtr(-np.abs(z)), 1.0)
    return result


def _ours(until: IntArray, delta: FloatArray) -> FloatArray:
    """Return the p-values of the verdicts from n_t, n_c, x_t, x_c of each day so far, shape (4, k, days)."""
    k, days = until.shape[1:]
    n_t, n_c, x_t, x_c = until.reshape(4, k * days)
    owner = np.repeat(np.arange(k), days)
    test = ConversionInference.of(owner=owner, n_t=n_t, n_c=n_c, x_t=x_t, x_c=x_c, size=k, delta=delta)
    result: FloatArray = np.exp(-np.maximum(test.log_e, 0.0))
    return result
