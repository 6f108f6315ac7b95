"""Columns of text made up fast: ids like UUIDs, prices as JSON writes them, maps of a few names."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
DASHES = (8, 13, 18, 23)
LENGTH = 36
# What follows the point of a price: 0 cents is a whole number, 50 cents are ".5".
CENTS = pa.array(["", *(f"{cents / 100:g}"[1:] for cents in range(1, 100))])


def uuids(rng: np.random.Generator, n: int) -> pa.StringArray:
    """Return `n` random texts of 36 characters."""
    chars = HEX[rng.integers(0, 16, (n, LENGTH), dtype=np.uint8)]
    chars[:, DASHES] = ord("-")
    ends = np.arange(n + 1, dtype=np.int32) * LENGTH
    return pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(chars.tobytes()))


def numbered(prefix: str, numbers: npt.NDArray[np.int64]) -> pa.StringArray:
    """Return `prefix` followed by each number."""
    return joined(prefix, pa.array(numbers).cast(pa.string()))


def prices(cents: npt.NDArray[np.int64]) -> pa.StringArray:
    """Return amounts as canonical JSON writes them: 12, 12.5, 12.34."""
    return joined(pa.array(cents // 100).cast(pa.string()), CENTS.take(pa.array(cents % 100)))


def joined(*parts: pa.StringArray | str) -> pa.StringArray:
    """Put texts of equal rows one after the other."""
    return pc.binary_join_element_wise(*parts, "")


def maps(n: int, entries: Mapping[str, pa.Array]) -> pa.MapArray:
    """Return `n` maps with the same names; each name's values, row by row."""
    width = len(entries)
    names = pa.array(list(entries)).take(pa.array(np.tile(np.arange(width), n)))
    order = (np.arange(n)[:, None] + np.arange(width)[None, :] * n).ravel()
    values = pa.concat_arrays(list(entries.values())).take(pa.array(order))
    return pa.MapArray.from_arrays(np.arange(n + 1, dtype=np.int32) * width, names, values)


def repeated(value: object, n: int) -> pa.Array:
    """Return the same value `n` times."""
    return pa.repeat(pa.scalar(value), n)
