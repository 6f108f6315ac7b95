"""Where rows are kept from one verdict to the next: a folder, two files of rows, one state that names them.

The state is replaced atomically and names the only files that count. A process killed at any point leaves the
state before or the state after, and at most files that nobody names, which the next writer sweeps.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from service.lake.places import sync_folder

STATE, LOCK = "state.json", ".lock"
FORMAT = 1


class PartialsError(Exception):
    """What is kept cannot be used as it is; it is made again from the lake."""


class PartialsBusyError(PartialsError):
    """Another process uses the folder just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What of the log was summed up: everything up to `offset`, in a lake that was as told here.

    Attributes
    ----------
    erased : int
        The manifest's counter: another one means that rows were taken out since.
    n_events : int
        Rows of the lake's events up to `offset`.
    anchor_seq, anchor_id
        One event of that history.
    """

    offset: int
    erased: int
    n_events: int
    anchor_seq: int
    anchor_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """One file of rows; its name is relative to the folder."""

    name: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole of what is kept: rows of `delta` take the place of those of `base`.

    `digest` is of what the rows were made by.
    """

    digest: str
    generation: int
    place: Place
    base: RowFile
    delta: RowFile | None


class Folder:
    """The kept rows of one subject; every method is for the holder of its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def state(self) -> State | None:
        """Return what is kept; None if nothing is.

        Raises
        ------
        PartialsError
            If the state cannot be read, or a file that it names is not there whole.
        """
        try:
            members = json.loads((self.path / STATE).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise PartialsError(f"{self.path / STATE}: {error}") from error
        state = _parsed(self.path, members)
        if state is not None:
            for file in (state.base, *([state.delta] if state.delta else [])):
                _check(self.path / file.name, file.rows)
        return state

    def is_older_than(self, erased: int) -> bool:
        """Say whether what is kept was made from a lake whose counter of erasures was another."""
        try:
            state = self.state()
        except PartialsError:
            return True
        return state is not None and state.place.erased != erased

    def forget(self) -> None:
        """Let nothing be kept: the next who asks makes it again."""
        (self.path / STATE).unlink(missing_ok=True)

    def written(self, name: str) -> RowFile:
        """Make a file that was written into `temporary(name)` durable, under its own name."""
        path = self.path / name
        temporary = self.temporary(name)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        return RowFile(name=name, rows=pq.read_metadata(path).num_rows)

    def temporary(self, name: str) -> Path:
        """Return where to write what will be called `name`."""
        return self.path / f"{name}.tmp"

    def commit(self, state: State) -> None:
        """Make `state` the truth, durably, then remove what it does not name."""
        sync_folder(self.path)
        temporary = self.temporary(STATE)
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, **asdict(state)}, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / STATE)
        sync_folder(self.path)
        named = {STATE, LOCK, state.base.name, state.delta.name if state.delta else ""}
        for path in self.path.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[Folder]:
    """Hold the only right to a folder, which is made if there is none; the kernel releases it at death.

    Raises
    ------
    PartialsBusyError
        If another process has it and `wait` is false, or removed it just now.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PartialsBusyError(f"{path} is in use") from error
        if not _is_at(descriptor, path / LOCK):
            raise PartialsBusyError(f"{path} was removed")
        yield Folder(path)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Say whether the open file is the one that lies there now: its holder may have removed the folder."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sweep(home: Path, keep: Collection[str], *, erased: int) -> None:
    """Remove the folders of all subjects but these, and those made before the lake lost rows.

    One that is in use is left for the next time.
    """
    for path in home.glob("*/"):
        with suppress(PartialsBusyError), locked(path) as folder:
            if path.name not in keep or folder.is_older_than(erased):
                shutil.rmtree(path, ignore_errors=True)


def discard(path: Path) -> None:
    """Remove a folder as soon as nobody uses it."""
    if path.exists():
        with suppress(PartialsBusyError), locked(path, wait=True):
            shutil.rmtree(path, ignore_errors=True)


def _parsed(path: Path, members: dict[str, Any]) -> State | None:
    try:
        if members.pop("format") != FORMAT:
            return None
        place, base, delta = (members.pop(name) for name in ("place", "base", "delta"))
        return State(
            place=Place(**place), base=RowFile(**base), delta=RowFile(**delta) if delta else None, **members
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PartialsError(f"{path / STATE}: {error!r}") from error


def _check(path: Path, rows: int) -> None:
    try:
        found = pq.read_metadata(path).num_rows
    except (OSError, ValueError) as error:
        raise PartialsError(f"{path}: {error}") from error
    if found != rows:
        raise PartialsError(f"{path}: {found} rows where {rows} were written")
