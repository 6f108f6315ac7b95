"""Import files whose columns a plan explains: read whole before anything is stored, then stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from service.clock import Clock
from service.storage.ports import Store
from service.use_cases.exposures import ExposureBook
from service.use_cases.import_events import EXAMPLES, ImportReport, store_rows
from service.use_cases.import_files import (
    ImportFileError,
    Progress,
    columns_of,
    read_rows,
    separator_hint,
)
from service.use_cases.import_mapping import IDS, ExperimentAt, Mapper, Plan

SHOWN = 2


@dataclass(slots=True)
class Preview:
    """What a file gives: how many events, and the first of them.

    `not_enrolled` rows are of units outside the experiment, `columns_left` are columns that are not taken.
    """

    events: int = 0
    not_enrolled: int = 0
    columns_left: tuple[str, ...] = ()
    first: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file, what its rows are, and what stands between its cells if it is CSV."""

    path: Path
    plan: Plan
    separator: str = ","


def preview(store: Store, file: PlannedFile, *, progress: Progress) -> Preview:
    """Read a whole file and store nothing.

    Raises
    ------
    ImportFileError
        If a column is missing or cells cannot be read; the message tells the first few.
    """
    _check_columns(file)
    mapper = Mapper(file.plan, _experiment_at(store))
    found = Preview()
    problems: list[str] = []
    n_problems = 0
    for place, row in enumerate(_rows(file, progress), 1):
        try:
            event = mapper.event(row)
            _check_members(event)
        except ValueError as error:
            n_problems += 1
            if len(problems) < EXAMPLES:
                problems.append(f"  row {place}, {error}")
            continue
        found.events += event is not None
        found.not_enrolled += event is None
        if event is not None and len(found.first) < SHOWN:
            found.first.append(event)
    if n_problems:
        told = "\n".join(problems) + ("\n  ..." if n_problems > len(problems) else "")
        rows = "1 row" if n_problems == 1 else f"{n_problems} rows"
        there = columns_of(file.path, separator=file.separator) or ()
        hint = f"\n {separator_hint(file.path)}" if len(there) == 1 else ""
        raise ImportFileError(f"{file.path}: {rows} cannot be read, nothing was stored:\n{told}{hint}")
    found.columns_left = tuple(sorted(mapper.columns_left))
    return found


def import_planned(store: Store, file: PlannedFile, *, clock: Clock, progress: Progress) -> ImportReport:
    """Store what the rows of one file tell; repeating it after a stop is harmless.

    Raises
    ------
    StoreUnavailableError
        If the store gives up; repeating the import goes on.
    """
    mapper = Mapper(file.plan, _experiment_at(store))
    events = (event for row in _rows(file, progress) if (event := mapper.event(row)) is not None)
    return store_rows(store, events, clock=clock)


def _rows(file: PlannedFile, progress: Progress) -> Iterator[dict[str, Any]]:
    return read_rows(file.path, separator=file.separator, progress=progress)


def _check_members(event: Mapping[str, Any] | None) -> None:
    if event is None:
        return
    needed = {"type": ("type",), "user_id or anonymous_id": IDS, "occurred_at": ("occurred_at",)}
    missing = [words for words, names in needed.items() if not any(event.get(name) for name in names)]
    if missing:
        raise ValueError(f"it has no {', no '.join(missing)}: say what gives it (--map or --set)")


def _check_columns(file: PlannedFile) -> None:
    there = columns_of(file.path, separator=file.separator)
    if there is not None and not there:
        raise ImportFileError(f"{file.path}: the file is empty; expected a header of column names")
    missing = [column for column in file.plan.columns if there is not None and column not in there]
    if there is not None and missing:
        hint = separator_hint(file.path) if len(there) == 1 else ""
        raise ImportFileError(
            f"{file.path}: there is no column '{missing[0]}'; there are: {', '.join(there)}.{hint}"
        )


def _experiment_at(store: Store) -> ExperimentAt:
    """Return what tells the unit and the phase of exposures that do not: what was live at their time."""
    return partial(ExposureBook().experiment_at, store, live=store.live_state().revision)
