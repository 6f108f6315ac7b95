"""Rows of one subject in two files: a large base, and a small delta that each refresh writes anew."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import ibis.expr.types as ir

from service.lake.engines.duckdb import DuckDBEngine
from service.lake.partials_folder import Folder, PartialsError, RowFile, State, locked
from service.lake.partials_place import is_part, n_events, place_of
from service.log import logger

# The delta is written whole at each refresh and joined at each reading: past this share of the base, or this
# many rows beside a small one, both become a new base.
DELTA_SHARE = 0.1
DELTA_ROWS = 20_000
# Where so many of all events are new, reading them all is cheaper than telling old rows from new.
NEW_SHARE = 0.3


class Subject(Protocol):
    """What rows are kept of."""

    @property
    def digest(self) -> str:
        """What the rows are made by: rows of another digest are of no use."""
        ...

    def whole(self, engine: DuckDBEngine) -> ir.Table:
        """Return all rows, from the whole lake."""
        ...

    def together(self, base: ir.Table, delta: ir.Table) -> ir.Table:
        """Return all rows, from both files."""
        ...

    def changed(
        self, engine: DuckDBEngine, *, after: int, rows: ir.Table, delta: ir.Table | None
    ) -> AbstractContextManager[ir.Table]:
        """Return the new delta: `delta` with what the events after an offset change of all `rows`."""
        ...


@contextmanager
def kept_rows(engine: DuckDBEngine, path: Path, subject: Subject) -> Iterator[ir.Table]:
    """Return the rows of a subject as the lake tells them now, as far as possible from what a folder keeps.

    Raises
    ------
    PartialsBusyError
        If another process has the folder.
    """
    with locked(path) as folder:
        try:
            state = _usable(engine, folder, subject)
            if state is None:
                state = _made(engine, folder, subject)
            elif state.place.offset < engine.offset:
                state = _grown(engine, folder, subject, state)
            yield _rows(engine, folder, subject, state)
        except Exception:
            # Whatever it was, rows that cannot be read or grown today will not be tomorrow.
            folder.forget()
            raise


def _usable(engine: DuckDBEngine, folder: Folder, subject: Subject) -> State | None:
    try:
        state = folder.state()
    except PartialsError as error:
        logger().warning("partials_broken", folder=folder.path.name, problem=str(error))
        return None
    if state is None or state.digest != subject.digest or not is_part(engine, state.place):
        return None
    n_new = n_events(engine) - state.place.n_events
    return state if n_new <= n_events(engine) * NEW_SHARE else None


def _made(engine: DuckDBEngine, folder: Folder, subject: Subject) -> State:
    base = _write(engine, folder, "00000001-base.parquet", subject.whole(engine))
    state = State(digest=subject.digest, generation=1, place=place_of(engine), base=base, delta=None)
    folder.commit(state)
    return state


def _grown(engine: DuckDBEngine, folder: Folder, subject: Subject, before: State) -> State:
    number = before.generation + 1
    base = _read(engine, folder, before.base)
    old = _read(engine, folder, before.delta) if before.delta else None
    rows = base if old is None else subject.together(base, old)
    with subject.changed(engine, after=before.place.offset, rows=rows, delta=old) as changed:
        delta: RowFile | None = _write(engine, folder, f"{number:08d}-delta.parquet", changed)
    whole = before.base
    if delta and delta.rows > max(DELTA_ROWS, DELTA_SHARE * whole.rows):
        merged = subject.together(base, _read(engine, folder, delta))
        whole, delta = _write(engine, folder, f"{number:08d}-base.parquet", merged), None
    state = State(digest=before.digest, generation=number, place=place_of(engine), base=whole, delta=delta)
    folder.commit(state)
    return state


def _rows(engine: DuckDBEngine, folder: Folder, subject: Subject, state: State) -> ir.Table:
    base = _read(engine, folder, state.base)
    return subject.together(base, _read(engine, folder, state.delta)) if state.delta else base


def _read(engine: DuckDBEngine, folder: Folder, file: RowFile) -> ir.Table:
    table: ir.Table = engine.connection.read_parquet(str(folder.path / file.name))
    return table


def _write(engine: DuckDBEngine, folder: Folder, name: str, rows: ir.Table) -> RowFile:
    engine.connection.to_parquet(rows, folder.temporary(name), compression="zstd")
    return folder.written(name)
