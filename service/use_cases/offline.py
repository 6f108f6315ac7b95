"""Assignments for a list of units: for e-mail tools, stores, call scripts and packaging. Records nothing."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import IO, Any

import orjson

from experiments.allocation import ANONYMOUS_ID, TARGETING_KEY, unit_id_of
from experiments.definitions import JsonValue
from experiments.identifiers import MAX_IDENTIFIER
from service.use_cases.import_files import ImportFileError, typed_cell
from service.use_cases.launch import UnknownKeyError, definitions, suggest
from service.use_cases.snapshot import ServingSnapshot

HEADER = ("unit", "experiment", "variant", "value", "decision", "phase", "revision")
REQUEST = "request"
ENCODING_ERRORS = "surrogateescape"
NOT_UTF_8 = "not UTF-8: save the file as that"
MAX_CELL = 1 << 20

Row = tuple[str, str, str, str, str, int, int]
Attributes = dict[str, Any]
Complain = Callable[[str], None]
"""Called with what is wrong with a row, its line first."""


class BadListError(Exception):
    """The list cannot be used at all."""


class _BadRowError(Exception):
    """One row cannot be used."""


@dataclass(slots=True)
class Account:
    """How far an assignment went: units read and refused, rows written and enrolled."""

    units: int = 0
    refused: int = 0
    written: int = 0
    enrolled: int = 0


def units_of(snapshot: ServingSnapshot, keys: Sequence[str]) -> dict[str, str]:
    """Return what each of `keys` randomizes.

    Raises
    ------
    UnknownKeyError
        If nothing live has one of the keys; a draft is not live.
    """
    known = definitions(snapshot.loaded)
    served = snapshot.compiled.keys
    for key in keys:
        if key not in served:
            draft = f"it is a draft: `opportune start {key}` first" if key in known else ""
            hint = draft or suggest(key, served) or "nothing is live"
            raise UnknownKeyError(f"nothing live is called '{key}': {hint}")
    return {key: known[key].unit for key in keys}


def assign_list(
    snapshot: ServingSnapshot, units: Mapping[str, str], rows: "UnitList", *, now: datetime
) -> Iterator[Row]:
    """Yield the rows to write: for each unit, in the order of the list, one for each key of `units`.

    All are assigned as of the one moment `now` by the one revision of `snapshot`.
    """
    revision, account = snapshot.state.revision, rows.account
    for attributes, ids in rows.read(frozenset(units.values())):
        for key, unit in units.items():
            found = snapshot.compiled.assign(key, attributes, now=now)
            account.written += 1
            account.enrolled += found.enrolled
            text = _text(found.value)
            yield ids[unit], key, found.variant_key, text, found.decision, found.phase, revision


def write_list(out: IO[str], rows: Iterable[Row]) -> None:
    """Write the header and the rows as CSV, a line feed after each."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class UnitList:
    """A CSV of units with a header: its columns are attributes, as `opportune import` reads cells.

    Cells are text and empty cells are absent; a column named ``...:number`` or ``...:json`` is read as such,
    and a dot in a name leads into an object. A row that cannot be used is told to `complain` and left out;
    bytes that are not UTF-8 are to come as `ENCODING_ERRORS` leaves them.
    """

    def __init__(self, lines: Iterable[str], complain: Complain) -> None:
        self.account = Account()
        self._complain = complain
        csv.field_size_limit(MAX_CELL)
        self._line = ""
        self._reader = csv.reader(self._noted(lines), strict=True)
        try:
            self._columns = next(self._reader, [])
        except csv.Error as error:
            raise BadListError(f"line 1: {error}") from error
        problem = next(_header_problems(self._columns), "")
        if problem:
            raise BadListError(f"line 1: {problem}")
        self._names = set(map(_name_of, self._columns))
        self._plain = not any(_is_typed(name) or "." in name for name in self._columns)

    def check_has(self, units: Iterable[str]) -> None:
        """Raise BadListError unless there is a column for each of `units`."""
        for unit in sorted(set(units)):
            if not {unit, TARGETING_KEY if unit == ANONYMOUS_ID else unit} & self._names:
                there = ", ".join(self._columns)
                one = self._columns[0] if len(self._columns) == 1 else ""
                hint = (
                    "save the file with commas"
                    if set(one) & set(";\t|")
                    else f"rename the column of the ids to {unit}"
                )
                raise BadListError(
                    f"line 1: no column '{unit}', which is what is randomized; there is: {there}; {hint}"
                )

    def read(self, units: frozenset[str]) -> Iterator[tuple[Attributes, Mapping[str, str]]]:
        """Yield the attributes of each usable row and its id of each unit."""
        self.check_has(units)
        while True:
            line = self._reader.line_num + 1
            try:
                cells = next(self._reader, None)
                if cells is None:
                    return
                if not cells:
                    continue
                self.account.units += 1
                attributes = self._attributes(cells, line)
                yield attributes, {unit: _unit_id(unit, attributes, line) for unit in units}
            except _BadRowError as error:
                self._refuse(str(error))
            except csv.Error as error:
                if not self._ended(line):
                    hint = f"everything from line {line} on is unread; is a quote never closed?"
                    raise BadListError(f"line {line}: {error}; {hint}") from error
                self.account.units += 1
                self._refuse(f"line {line}: {error}")

    def _noted(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._line = line
            yield line

    def _ended(self, began: int) -> bool:
        """Return whether the unreadable record ended with its line; if not, what follows is inside it."""
        if self._reader.line_num != began:
            return False
        try:
            return len(list(csv.reader([self._line, "the next"]))) > 1
        except csv.Error:
            return False

    def _refuse(self, why: str) -> None:
        self.account.refused += 1
        self._complain(why)

    def _attributes(self, cells: Sequence[str], line: int) -> Attributes:
        if len(cells) != len(self._columns):
            raise _BadRowError(
                f"line {line}: {len(cells)} cells, the header has {len(self._columns)} columns"
            )
        if not _is_unicode(cells):
            raise _BadRowError(f"line {line}: {NOT_UTF_8}")
        filled = {name: cell for name, cell in zip(self._columns, cells, strict=True) if cell}
        if self._plain:
            return filled
        found: Attributes = {}
        for column, cell in filled.items():
            try:
                name, value = typed_cell(column, cell, REQUEST, f"line {line}")
            except ImportFileError as error:
                raise _BadRowError(str(error)) from error
            _put(found, name, value)
        return found


def _is_unicode(cells: Sequence[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _put(found: Attributes, name: str, value: object) -> None:
    *outer, last = name.split(".")
    for step in outer:
        found = found.setdefault(step, {})
    found[last] = value


def _is_typed(column: str) -> bool:
    return column.rpartition(":")[2] in ("json", "number") and ":" in column


def _name_of(column: str) -> str:
    """Return a column's name without its type."""
    return (column.rpartition(":")[0] or column) if _is_typed(column) else column


def _unit_id(unit: str, attributes: Attributes, line: int) -> str:
    found = unit_id_of(unit, attributes)
    if found is None:
        form = f"1 to {MAX_IDENTIFIER} visible characters"
        raise _BadRowError(f"line {line}: no usable {unit} (an id is {form})")
    return found


def _header_problems(columns: Sequence[str]) -> Iterator[str]:
    if not any(columns):
        yield "expected a header, the names of the columns"
    if not _is_unicode(columns):
        yield NOT_UTF_8
    if "" in columns:
        yield f"column {columns.index('') + 1} has no name"
    twice = {name for name in columns if columns.count(name) > 1}
    if twice:
        yield f"the column '{min(twice)}' is there twice"
    yield from _same_place(columns)
    if any(name.partition(".")[0].partition(":")[0] == REQUEST for name in columns):
        yield f"'{REQUEST}' is what a server knows of a request; a list has none"


def _same_place(columns: Sequence[str]) -> Iterator[str]:
    """Yield columns that would write over each other, such as ``age`` and ``age:number``."""
    places = sorted((_name_of(column).split("."), column) for column in columns)
    for (outer, one), (inner, two) in pairwise(places):
        if inner[: len(outer)] == outer:
            yield f"the columns '{one}' and '{two}' both say what '{'.'.join(outer)}' is: leave one out"
