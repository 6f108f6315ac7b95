"""Properties as columns of their own, beside the maps that hold them all: a column is read ten times as fast.

A file has columns for its commonest names. Engines disagree whether `orderId` and `orderid` are one column: a
name is written in small letters, digits and `_`, any other character as its code between two dashes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

MOST = 64
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


def flattened(table: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Add columns of its commonest properties to a table of events; return it with their names, sorted.

    Fewer than MOST names are all that the events have.
    """
    facts, amounts = (_Entries.of(table[name]) for name in ("facts", "amounts"))
    ranked = sorted(facts.places, key=lambda name: (-len(facts.places[name]), name))
    names = tuple(sorted(ranked[:MOST]))
    for name in names:
        table = table.append_column(fact_column(name), facts.column(name))
        if name in amounts.places:
            table = table.append_column(amount_column(name), amounts.column(name))
    return table, names


def fact_column(name: str) -> str:
    """Return the column of a property's canonical JSON text."""
    return f"fact_{_plain(name)}"


def amount_column(name: str) -> str:
    """Return the column of a property's micro-units."""
    return f"amount_{_plain(name)}"


def has_columns(flat: tuple[str, ...] | None, wanted: Iterable[str]) -> bool:
    """Say whether a file with columns of `flat` needs no map for the wanted names; None: not known."""
    return flat is not None and (len(flat) < MOST or set(wanted) <= set(flat))


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of a column of maps: their values, in which row each is, and the places of each name."""

    values: pa.Array
    rows: np.ndarray
    places: Mapping[str, np.ndarray]
    n_rows: int

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "_Entries":
        maps = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        offsets = maps.offsets.to_numpy()
        first, n_entries = offsets[0], offsets[-1] - offsets[0]
        keys = maps.keys.slice(first, n_entries).dictionary_encode()
        codes = keys.indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(keys.dictionary)))
        places = dict(zip(keys.dictionary.to_pylist(), np.split(order, ends[:-1]), strict=False))
        rows = np.repeat(np.arange(len(maps)), np.diff(offsets))
        return cls(maps.items.slice(first, n_entries), rows, places, len(maps))

    def column(self, name: str) -> pa.Array:
        """Return the values of a name, row by row."""
        found = np.full(self.n_rows, -1)
        found[self.rows[self.places[name]]] = self.places[name]
        return self.values.take(pa.array(found, mask=found < 0))


def _plain(name: str) -> str:
    return "".join(letter if letter in PLAIN else f"-{ord(letter):x}-" for letter in name)
