"""Who has done what, in a form that assignment can ask: people as fingerprints, what holds for them as bits.

The worker builds it as one file, every web worker maps the same pages, and a look-up reads two or three
numbers. Layout, in the byte order of the machine that wrote it: a preamble, a header in JSON, the slots (one
64-bit fingerprint each, 0 where there is none), the masks (one per slot). Slots are an open-addressing table
kept in the order of the fingerprints, so that a stranger is found missing as soon as a larger one is seen.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experiments.errors import ExperimentError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Fingerprints: TypeAlias = "NDArray[np.uint64]"
Masks: TypeAlias = "NDArray[np.uint8]"

MAGIC = b"OPMEMBR1"
LOAD = 0.6
"""Share of the slots in use: a look-up then passes two on average."""

_PREAMBLE = struct.Struct("=8sI16s")
_SLOT = 8
_first_number = struct.Struct("<Q").unpack_from
_HALF = 32
_FROZEN = "frozen:"
_PREFIXES = {"anonymous_id": "a:", "user_id": "u:"}

KNOWN_AS = "\0known_as"
"""Attribute by which a service says whose history may count, as `person_of` writes them; whom the ids name,
where it says nothing. No client can send it: NUL is refused at the door."""


class MembershipError(ExperimentError, ValueError):
    """The bytes are no membership file, or a damaged one."""


def person_of(unit: str, unit_id: str) -> str:
    """Return the text under which a unit is known: ``a:<id>``, ``u:<id>``, or ``<unit>:<id>`` for others.

    Parameters
    ----------
    unit : str
        Attribute that names the unit, such as ``anonymous_id`` or ``store_id``.
    unit_id : str
        Its value.

    Returns
    -------
    str

    Examples
    --------
    >>> person_of("anonymous_id", "v-1"), person_of("user_id", "maria"), person_of("store_id", "7")
    ('a:v-1', 'u:maria', 'store_id:7')
    """
    return _PREFIXES.get(unit, f"{unit}:") + unit_id


def frozen_name(experiment: str, phase: int) -> str:
    """Return the name of the bit that units exposed to one phase of an experiment have.

    Parameters
    ----------
    experiment : str
        Key of the experiment.
    phase : int
        Its phase.

    Returns
    -------
    str

    Examples
    --------
    >>> frozen_name("free-shipping", 2)
    'frozen:free-shipping#2'
    """
    return f"{_FROZEN}{experiment}#{phase}"


def unit_name(unit: str) -> str:
    """Return the name of the bit that everybody has who is known by that kind of id, so that one can count.

    Parameters
    ----------
    unit : str
        ``anonymous_id`` or ``user_id``; the file keeps no such bit for others.

    Returns
    -------
    str

    Examples
    --------
    >>> unit_name("user_id")
    'unit:user_id'
    """
    return f"unit:{unit}"


class Membership:
    """What holds for whom, read in place from a buffer; it never changes and copies nothing.

    Parameters
    ----------
    buffer : bytes or mmap
        What `build_membership` returned. It is kept for as long as this object lives.

    Attributes
    ----------
    names : mapping of str to int
        Fact key or ``frozen:<experiment>#<phase>`` -> bit mask with one bit set.
    as_of : str
        When it was made, ISO 8601; empty if the builder did not say.
    offset : int
        The newest event of the log that it knows.
    digest : str
        Of names, people and masks: two that say the same of everybody have the same.

    Raises
    ------
    MembershipError
        If the buffer is damaged, cut short or something else.

    Examples
    --------
    >>> known = Membership(build_membership(["tea", "lapsed"], {"a:v-1": 1, "u:maria": 3}))
    >>> known.bits("u:maria") & known.names["lapsed"], known.bits("a:stranger")
    (2, 0)
    """

    __slots__ = ("_capacity", "_masks", "_slots", "_width", "as_of", "count", "digest", "names", "offset")

    def __init__(self, buffer: "ReadableBuffer") -> None:
        view = memoryview(buffer).toreadonly().cast("B")
        header, start = _read_header(view)
        try:
            names: list[str] = header["names"]
            self._capacity: int = header["capacity"]
            n_slots: int = header["slots"]
            self.count: int = header["count"]
            self.as_of: str = header["as_of"]
            self.offset: int = header["offset"]
            self.digest: str = header["digest"]
        except KeyError as error:
            raise MembershipError(f"the header does not say {error}") from error
        self._width = _width(len(names))
        end = start + n_slots * _SLOT
        if len(view) != end + n_slots * self._width:
            raise MembershipError(f"it is {len(view)} bytes long, its header tells of another length")
        if _digest(names, view[start:]) != self.digest:
            raise MembershipError("the table is damaged: it has another digest than its header says")
        self._slots = view[start:end].cast("Q")
        self._masks = view[end:]
        self.names: Mapping[str, int] = MappingProxyType({name: 1 << i for i, name in enumerate(names)})

    def bits(self, person: str) -> int:
        """Return the bits of one person, 0 for whoever is not known.

        Parameters
        ----------
        person : str
            As `person_of` writes it.

        Returns
        -------
        int
            Compare with the masks in `names`.
        """
        wanted = _fingerprint(person)
        slots = self._slots
        place = (wanted >> _HALF) * self._capacity >> _HALF
        while 0 < (found := slots[place]) < wanted:
            place += 1
        if found != wanted:
            return 0
        width = self._width
        if width == 1:
            return self._masks[place]
        return int.from_bytes(self._masks[place * width : (place + 1) * width], "little")

    def mask_counts(self) -> Mapping[int, int]:
        """Return how many people have each combination of bits; it reads the whole table.

        Returns
        -------
        mapping of int to int
            Bits -> people, without the combinations that nobody has.
        """
        taken = np.frombuffer(self._slots, np.uint64) != 0
        masks = np.frombuffer(self._masks, np.uint8).reshape(len(taken), self._width)[taken]
        rows, counts = np.unique(masks, axis=0, return_counts=True)
        return {int.from_bytes(row.tobytes(), "little"): int(n) for row, n in zip(rows, counts, strict=True)}


def build_membership(
    names: Sequence[str], members: Mapping[str, int], *, as_of: str = "", offset: int = 0
) -> bytes:
    """Return the file that says which of `names` hold for whom.

    Parameters
    ----------
    names : sequence of str
        What bit 0, bit 1, ... stand for; no name twice.
    members : mapping of str to int
        Person -> bits. People without a bit are left out.
    as_of : str
        When this was true, ISO 8601.
    offset : int
        The newest event of the log that was looked at.

    Returns
    -------
    bytes
        About 15 bytes per person with up to eight names.

    Examples
    --------
    >>> Membership(build_membership(["tea"], {"a:v-1": 1})).bits("a:v-1")
    1
    """
    width = _width(len(names))
    held = b"".join(bits.to_bytes(width, "little") for bits in members.values())
    masks = np.frombuffer(held, np.uint8).reshape(len(members), width)
    return b"".join(tables(names, fingerprints(members), masks, as_of=as_of, offset=offset))


def fingerprints(people: Iterable[str]) -> Fingerprints:
    """Return the number that stands for each person: 64 bits of BLAKE2b, from which nobody reads an id.

    Parameters
    ----------
    people : iterable of str
        As `person_of` writes them.

    Returns
    -------
    array of uint64, shape (people,)
        Never 0.
    """
    return np.fromiter((_fingerprint(person) for person in people), np.uint64)


def tables(
    names: Sequence[str], prints: Fingerprints, masks: Masks, *, as_of: str = "", offset: int = 0
) -> tuple[bytes, bytes, bytes]:
    """Return the file of `build_membership` in three pieces, made from arrays.

    Parameters
    ----------
    names : sequence of str
        What bit 0, bit 1, ... stand for; no name twice.
    prints : array of uint64, shape (people,)
        See `fingerprints`. The same one twice adds up its bits.
    masks : array of uint8, shape (people, bytes per mask)
        Bits of each person, eight in a byte, the lowest first, as ``numpy.packbits`` of order ``little``.
    as_of, offset
        As for `build_membership`.

    Returns
    -------
    tuple of bytes
        To be written one after the other.
    """
    held = masks.any(axis=1)
    prints, masks = _distinct(prints[held], masks[held])
    capacity = int(len(prints) / LOAD) + 1
    order = np.arange(len(prints))
    wanted = ((prints >> np.uint64(_HALF)) * np.uint64(capacity) >> np.uint64(_HALF)).astype(np.int64)
    # Everybody sits in the slot wanted or in the next one that is free, and the last slot of all stays free.
    places = order + np.maximum.accumulate(wanted - order) if len(order) else order
    n_slots = max(capacity, int(places[-1]) + 1 if len(places) else 0) + 1
    slots = np.zeros(n_slots, np.uint64)
    slots[places] = prints
    spread = np.zeros((n_slots, masks.shape[1]), np.uint8)
    spread[places] = masks
    table = (slots.tobytes(), spread.tobytes())
    header = {
        "names": list(names),
        "count": len(prints),
        "capacity": capacity,
        "slots": n_slots,
        "as_of": as_of,
        "offset": offset,
        "digest": _digest(names, *table),
    }
    return (_written_header(header), *table)


def _distinct(prints: Fingerprints, masks: Masks) -> tuple[Fingerprints, Masks]:
    order = np.argsort(prints, kind="stable")
    prints, masks = prints[order], masks[order]
    if not len(prints):
        return prints, masks
    first = np.flatnonzero(np.concatenate(([True], prints[1:] != prints[:-1])))
    return prints[first], np.bitwise_or.reduceat(masks, first, axis=0)


def _fingerprint(person: str) -> int:
    try:
        raw = person.encode()
    except UnicodeEncodeError:  # half a surrogate pair, from a stranger's attributes: a look-up never raises
        raw = person.encode("utf-8", "surrogatepass")
    # The first bytes of a whole digest: to ask for a short one takes half as long again.
    first: int = _first_number(blake2b(raw).digest())[0]
    return first or 1


def _width(n_names: int) -> int:
    return max(1, -(-n_names // 8))


def _digest(names: Sequence[str], *table: "ReadableBuffer") -> str:
    digest = blake2b(json.dumps(list(names)).encode(), digest_size=16)
    for piece in table:
        digest.update(piece)
    return digest.hexdigest()


def _written_header(header: Mapping[str, object]) -> bytes:
    text = json.dumps(header).encode()
    # Slots are read as 64-bit numbers: they begin at a multiple of eight.
    text += b" " * (-(_PREAMBLE.size + len(text)) % _SLOT)
    return _PREAMBLE.pack(MAGIC, len(text), blake2b(text, digest_size=16).digest()) + text


def _read_header(view: memoryview) -> tuple[dict[str, Any], int]:
    if len(view) < _PREAMBLE.size:
        raise MembershipError(f"{len(view)} bytes are no membership file")
    magic, length, digest = _PREAMBLE.unpack_from(view)
    end = _PREAMBLE.size + length
    if magic != MAGIC:
        raise MembershipError("this is no membership file of this version")
    text = bytes(view[_PREAMBLE.size : end])
    if len(text) != length or blake2b(text, digest_size=16).digest() != digest:
        raise MembershipError("the header is damaged or cut short")
    return json.loads(text), end


NOBODY = Membership(build_membership((), {}))
"""Knows no fact and nobody."""
