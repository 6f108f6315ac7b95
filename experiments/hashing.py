"""The hash that decides who gets what, for ever: GrowthBook's version 2 (docs/decisions/0001-hash.md)."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from fnv_hash_fast import fnv1a_32

N_BUCKETS = 10_000
_THOUSAND = 1_000
_HALVES = 3
_OFFSET, _PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF

Hasher: TypeAlias = Callable[[bytes], int]
T = TypeVar("T")


def bucket(salt: str, unit_id: str) -> int:
    """Return the bucket of a unit: always the same for the same salt and id, and even over all ids.

    Buckets under different salts are independent. Text is hashed by UTF-16 code units, as JavaScript sees it,
    so that every GrowthBook SDK computes the same bucket.

    Parameters
    ----------
    salt : str
        For an experiment ``<key>#<phase>``.
    unit_id : str
        What is randomized; not empty.

    Returns
    -------
    int
        In [0, 10000).

    References
    ----------
    .. [1] GrowthBook SDK specification 0.8.0, hash version 2.
    .. [2] Fowler, Noll, Vo, "FNV hash", IETF draft-eastlake-fnv.

    Examples
    --------
    >>> bucket("seed", "a")
    505
    """
    return fnv1a_32(b"%d" % _fnv1a_32_text(salt + unit_id)) % N_BUCKETS


def bucket_v1(salt: str, unit_id: str) -> int:
    """Return the bucket of hash version 1: a thousandth is ten buckets, and like salts are not independent.

    Only for what was split by it elsewhere before (see `experiments.gates.Layer`).

    Parameters
    ----------
    salt : str
        For a namespace of GrowthBook ``__<name>``.
    unit_id : str
        What is randomized; not empty.

    Returns
    -------
    int
        A multiple of 10 in [0, 10000).

    Examples
    --------
    >>> bucket_v1("", "a")
    2200
    """
    return _fnv1a_32_text(unit_id + salt) % _THOUSAND * (N_BUCKETS // _THOUSAND)


def _fnv1a_32_text(text: str) -> int:
    return fnv1a_32(text.encode()) if text.isascii() else _fnv1a_32_utf16(text)


def _fnv1a_32_utf16(text: str) -> int:
    """Hash 16-bit units: FNV-1a as JavaScript's charCodeAt feeds it, half a surrogate pair included."""
    raw = text.encode("utf-16-le", "surrogatepass")
    value = _OFFSET
    for low, high in zip(raw[::2], raw[1::2], strict=True):
        value = ((value ^ (low | high << 8)) * _PRIME) & _MASK
    return value


# --- one salt, prepared for one id after another


def unit_raw(unit_id: str) -> bytes:
    """Return an id as a `Hasher` takes it: UTF-8, half a surrogate pair included."""
    return unit_id.encode("utf-8", "surrogatepass")


def hasher(salt: str) -> Hasher:
    """Return `bucket` under one salt, of ids as `unit_raw` writes them, in half the time.

    Examples
    --------
    >>> hasher("seed")(b"a") == bucket("seed", "a")
    True
    """
    head = unit_raw(salt)

    def number_of(raw: bytes) -> int:
        if raw.isascii():
            return fnv1a_32(b"%d" % fnv1a_32(head + raw)) % N_BUCKETS
        return bucket(salt, _text(raw))

    return number_of if salt.isascii() else lambda raw: bucket(salt, _text(raw))


def hasher_v1(salt: str) -> Hasher:
    """Return `bucket_v1` under one salt, of ids as `unit_raw` writes them."""
    return lambda raw: bucket_v1(salt, _text(raw))


def splitter(salt: str, edges: Sequence[int], answers: Sequence[T]) -> Callable[[bytes], T]:
    """Return what gives a unit the answer of its bucket.

    Parameters
    ----------
    salt : str
        As for `bucket`.
    edges : sequence of int
        In order. Buckets below the first edge get the first answer, and so on.
    answers : sequence
        One more than edges.

    Returns
    -------
    callable
        From an id as `unit_raw` writes it to an answer.

    Examples
    --------
    >>> splitter("seed", [1_000], ["low", "high"])(b"a")
    'low'
    """
    if not salt.isascii():
        return lambda raw: answers[bisect_right(edges, bucket(salt, _text(raw)))]
    head = salt.encode()
    if len(edges) == _HALVES and (edges[0], edges[-1]) == (0, N_BUCKETS):
        return _halver(salt, edges[1], answers[1], answers[2])

    def answer_of(raw: bytes) -> T:
        if raw.isascii():
            # `hasher` written out: a call more would cost a tenth.
            return answers[bisect_right(edges, fnv1a_32(b"%d" % fnv1a_32(head + raw)) % N_BUCKETS)]
        return answers[bisect_right(edges, bucket(salt, _text(raw)))]

    return answer_of


def _halver(salt: str, middle: int, low: T, high: T) -> Callable[[bytes], T]:
    """Return the splitter of two answers that share all buckets, as most experiments do."""
    head = salt.encode()

    def answer_of(raw: bytes) -> T:
        if raw.isascii():
            return low if fnv1a_32(b"%d" % fnv1a_32(head + raw)) % N_BUCKETS < middle else high
        return low if bucket(salt, _text(raw)) < middle else high

    return answer_of


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


# --- many ids at once


@dataclass(frozen=True, slots=True)
class UnitIds:
    """Ids laid out for hashing under one salt after another; made by `laid_out`.

    Attributes
    ----------
    units : array of uint32, shape (longest, n)
        The UTF-16 code units of each id, a column an id; zeros behind its end.
    lengths : array of int, shape (n,)
        How many of them count.
    """

    units: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.intp]


def laid_out(unit_ids: Sequence[str]) -> UnitIds:
    """Prepare ids for `buckets`, once for all salts.

    Parameters
    ----------
    unit_ids : sequence of str
        None of them empty.

    Returns
    -------
    UnitIds
        In the same order.
    """
    raw = [unit_id.encode("utf-16-le", "surrogatepass") for unit_id in unit_ids]
    lengths = np.fromiter((len(text) // 2 for text in raw), np.intp, len(raw))
    width = int(lengths.max(initial=0))
    table = np.frombuffer(b"".join(text.ljust(2 * width, b"\0") for text in raw), "<u2")
    return UnitIds(np.ascontiguousarray(table.reshape(len(raw), width).T, dtype=np.uint32), lengths)


def buckets(salt: str, unit_ids: Sequence[str] | UnitIds) -> npt.NDArray[np.uint16]:
    """Return `bucket` of many ids, some 50 times as fast.

    Parameters
    ----------
    salt : str
        As for `bucket`.
    unit_ids : sequence of str or UnitIds
        None of them empty; lay them out yourself to ask under many salts.

    Returns
    -------
    array of uint16, shape (n,)
        Each in [0, 10000).

    Examples
    --------
    >>> buckets("seed", ["a", "b"]).tolist() == [bucket("seed", "a"), bucket("seed", "b")]
    True
    """
    ids = unit_ids if isinstance(unit_ids, UnitIds) else laid_out(unit_ids)
    first = _absorb(np.full(len(ids.lengths), _fnv1a_32_utf16(salt), np.uint32), ids)
    second = np.full(first.shape, _OFFSET, np.uint32)
    for power in range(9, -1, -1):
        left = first // np.uint32(10**power)
        hashed = (second ^ (left % np.uint32(10) + np.uint32(ord("0")))) * np.uint32(_PRIME)
        # Decimal text has no leading zeros; the last digit is always there.
        second = np.where(left > 0, hashed, second) if power else hashed
    return (second % np.uint32(N_BUCKETS)).astype(np.uint16)


def buckets_v1(salt: str, unit_ids: Sequence[str] | UnitIds) -> npt.NDArray[np.uint16]:
    """Return `bucket_v1` of many ids.

    Parameters
    ----------
    salt : str
        As for `bucket_v1`.
    unit_ids : sequence of str or UnitIds
        None of them empty.

    Returns
    -------
    array of uint16, shape (n,)
        Multiples of 10 in [0, 10000).

    Examples
    --------
    >>> buckets_v1("__page", ["1", "2"]).tolist() == [bucket_v1("__page", "1"), bucket_v1("__page", "2")]
    True
    """
    ids = unit_ids if isinstance(unit_ids, UnitIds) else laid_out(unit_ids)
    state = _absorb(np.full(len(ids.lengths), _OFFSET, np.uint32), ids)
    for unit in np.frombuffer(salt.encode("utf-16-le", "surrogatepass"), "<u2").astype(np.uint32):
        state = (state ^ unit) * np.uint32(_PRIME)
    return (state % np.uint32(_THOUSAND) * np.uint32(N_BUCKETS // _THOUSAND)).astype(np.uint16)


def _absorb(state: npt.NDArray[np.uint32], ids: UnitIds) -> npt.NDArray[np.uint32]:
    """Go on with FNV-1a from `state` over each id."""
    shortest = int(ids.lengths.min(initial=0))
    for i, column in enumerate(ids.units):
        hashed = (state ^ column) * np.uint32(_PRIME)
        state = hashed if i < shortest else np.where(ids.lengths > i, hashed, state)
    return state
