"""Do experiments disturb one another? Whether the buckets under two salts are independent, by counting.

A hash that lets the arms of one experiment lean on those of another biases both, and nothing in their own
numbers shows it: each split looks even. Here the same ids are hashed under every salt that is live, and each
pair is tested by chi-square over a grid of buckets, with ids of several shapes: a weak hash fails on some.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from experiments.allocation import passages
from experiments.definitions import Catalog, Experiment, Flag
from experiments.hashing import N_BUCKETS, UnitIds, buckets, buckets_v1, laid_out
from experiments.lifecycle import TOTAL_BP, Status

GRID = 10
"""Each salt's buckets are cut into this many equal cells: a pair has GRID x GRID."""
N_IDS = 100_000
FALSE_ALARMS = 0.001
"""Chance that a catalog whose salts are all independent raises any alarm, whatever its size."""

Cells = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Splitter:
    """Something that hashes units: `name` as a person knows it, such as ``experiment banner``."""

    name: str
    salt: str
    hash_version: int = 2


Hashing: TypeAlias = Callable[[Splitter, UnitIds], npt.NDArray[np.uint16]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """Two salts whose buckets are not independent, on ids of one shape.

    Attributes
    ----------
    p_value : float
        Of the chi-square test, not corrected for the number of tests.
    excess : float
        Units in the fullest cell of the grid, as a multiple of what independence puts there.
    """

    one: Splitter
    other: Splitter
    shape: str
    p_value: float
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was tested and what was found: `alarms` are worst first, one a pair."""

    splitters: tuple[Splitter, ...]
    n_ids: int
    n_tests: int
    level: float
    smallest: float
    alarms: tuple[Dependence, ...]


def splitters(catalog: Catalog) -> tuple[Splitter, ...]:
    """Return everything live that hashes units: experiments, flags that split, their layers and holdouts.

    Parameters
    ----------
    catalog : Catalog
        One revision; drafts and what is stopped enrol nobody and are left out.

    Returns
    -------
    tuple of Splitter
        In the order of the catalog; holdouts and layers once each, and last.

    Examples
    --------
    >>> half = Flag(key="dark", allocation_bp=5000)
    >>> [s.salt for s in splitters(Catalog(flags={"dark": half, "plain": Flag(key="plain")}))]
    ['dark#1']
    """
    defined: list[Experiment | Flag] = [*catalog.experiments.values(), *catalog.flags.values()]
    live = [d for d in defined if d.status not in (Status.DRAFT, Status.STOPPED)]
    own = [Splitter(_name(d), d.salt) for d in live if _splits(d)]
    shared = [
        Splitter(passage.name, passage.salt, passage.hash_version) for d in live for passage in passages(d)
    ]
    return tuple(dict.fromkeys((*own, *shared)))


def _name(definition: Experiment | Flag) -> str:
    return f"{'experiment' if isinstance(definition, Experiment) else 'flag'} {definition.key}"


def _splits(definition: Experiment | Flag) -> bool:
    if isinstance(definition, Experiment):
        return not definition.shipped
    return definition.allocation_bp < TOTAL_BP or bool(definition.ramp)


# --- ids


@cache
def units_of(shape: str, n: int) -> UnitIds:
    """Return `n` ids of a shape of `SHAPES`, laid out for hashing; the same ones on every machine."""
    return laid_out(list(SHAPES[shape](n)))


def _sequential(n: int) -> Iterator[str]:
    return (str(i) for i in range(1, n + 1))


def _uuids(n: int) -> Iterator[str]:
    return (str(uuid.UUID(bytes=_noise(i), version=4)) for i in range(n))


def _emails(n: int) -> Iterator[str]:
    names = ("ana", "bruno", "carla", "david", "elena", "fatima", "george", "helga", "ivan", "julia")
    hosts = ("gmail.com", "example.org", "web.de", "mail.shop.example")
    for i in range(n):
        first, second, host = _noise(i)[:3]
        yield f"{names[first % 10]}.{names[second % 10]}{i}@{hosts[host % 4]}"


def _emoji(n: int) -> Iterator[str]:
    for i in range(n):
        faces = "".join(chr(0x1F600 + byte % 64) for byte in _noise(i)[:2])
        yield f"{faces}{chr(0x4E00 + i % 5_000)}{i}"


def _noise(i: int) -> bytes:
    return hashlib.blake2b(b"%d" % i, digest_size=16).digest()


SHAPES: Mapping[str, Callable[[int], Iterator[str]]] = {
    "sequential": _sequential,
    "uuid": _uuids,
    "e-mail": _emails,
    "emoji": _emoji,
}


# --- the test


def hashed(splitter: Splitter, ids: UnitIds) -> npt.NDArray[np.uint16]:
    """Return the bucket of each id under one splitter, in [0, 10000)."""
    if splitter.hash_version == 1:
        return buckets_v1(splitter.salt, ids)
    return buckets(splitter.salt, ids)


def dependence(one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> tuple[float, float]:
    """Test whether two columns of buckets of the same ids are independent.

    Parameters
    ----------
    one, other : array of int, shape (n,)
        Buckets in [0, 10000).

    Returns
    -------
    p_value : float
        Of Pearson's chi-square over GRID x GRID cells, the margins as they were seen.
    excess : float
        The fullest cell, as a multiple of what independence puts there.

    Examples
    --------
    >>> numbers = buckets("banner#1", units_of("uuid", 10_000))
    >>> dependence(numbers, numbers) < (1e-300, 11.0)
    True
    """
    return _compare(_cells(one), _cells(other))


def _cells(numbers: npt.NDArray[np.integer]) -> Cells:
    return (numbers // (N_BUCKETS // GRID)).astype(np.uint8)


def _compare(one: Cells, other: Cells) -> tuple[float, float]:
    table = np.bincount(one * np.uint8(GRID) + other, minlength=GRID * GRID).reshape(GRID, GRID)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    table = table[rows > 0][:, columns > 0]
    expected = np.outer(rows[rows > 0], columns[columns > 0]) / len(one)
    if 1 in expected.shape:
        return 1.0, 1.0
    statistic = float(((table - expected) ** 2 / expected).sum())
    freedom = (expected.shape[0] - 1) * (expected.shape[1] - 1)
    return float(chdtrc(freedom, statistic)), float((table / expected).max())


def survey(found: Sequence[Splitter], *, n_ids: int = N_IDS, hash_with: Hashing = hashed) -> Survey:
    """Test every pair of splitters on ids of every shape.

    An alarm is a p-value below `FALSE_ALARMS` divided by the number of tests (Bonferroni), so a larger
    catalog raises no more false alarms than a small one.

    Parameters
    ----------
    found : sequence of Splitter
        From `splitters`.
    n_ids : int
        Ids of each shape.
    hash_with : callable
        Splitter and ids -> buckets; another one only to prove that a bad hash is seen.

    Returns
    -------
    Survey
        Its `alarms` name each dependent pair once, with the shape that shows it best.

    Examples
    --------
    >>> survey([Splitter("a", "a#1"), Splitter("b", "b#1")], n_ids=1_000).alarms
    ()
    """
    n_tests = len(found) * (len(found) - 1) // 2 * len(SHAPES)
    level = FALSE_ALARMS / max(n_tests, 1)
    smallest = 1.0
    alarms: dict[tuple[Splitter, Splitter], Dependence] = {}
    for shape in SHAPES:
        ids = units_of(shape, n_ids)
        cells = [_cells(hash_with(splitter, ids)) for splitter in found]
        for (one, a), (other, b) in combinations(zip(found, cells, strict=True), 2):
            p_value, excess = _compare(a, b)
            smallest = min(smallest, p_value)
            known = alarms.get((one, other))
            if p_value < level and (known is None or excess > known.excess):
                alarms[one, other] = Dependence(
                    one=one, other=other, shape=shape, p_value=p_value, excess=excess
                )
    return Survey(
        splitters=tuple(found),
        n_ids=n_ids,
        n_tests=n_tests,
        level=level,
        smallest=smallest,
        alarms=tuple(sorted(alarms.values(), key=lambda alarm: -alarm.excess)),
    )


def dependent_pairs(found: Sequence[Splitter], *, n_ids: int = 20_000) -> tuple[Dependence, ...]:
    """Return the pairs that are not independent, on a sample small enough to ask before every apply.

    Parameters
    ----------
    found : sequence of Splitter
        From `splitters`.
    n_ids : int
        Ids of each shape.

    Returns
    -------
    tuple of Dependence
        Worst first; empty for a healthy catalog.
    """
    return survey(found, n_ids=n_ids).alarms
