"""Where the lake lies: in a folder of this machine, or below a URL of an object store."""

import fcntl
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from service.storage.analysis_ports import Leases

MANIFEST = "manifest.json"
# What `write_table` calls its files, in a folder and below a URL; whatever else lies there is not the lake's.
OWN_FILE = re.compile(
    r"(events|exposures|interactions)/day=\d{4}-\d\d-\d\d/\d{8,}(-[ce]\d+)?(-[0-9a-f]{8})?\.(parquet|tmp)",
    re.ASCII,
)
# A query that does not fit its memory writes into a folder of this name below the lake, one for each reader.
SPILL = ".spill-"
# A row group knows its least and greatest value of every column: a scan for one type skips the others.
ROW_GROUP_ROWS = 122_880


class LakeError(Exception):
    """The lake cannot be used as it is, or where it is; what is damaged can be built again from the log."""


class LakeBusyError(Exception):
    """A reader or another writer has the lake just now, and the caller did not want to wait."""


class Index(NamedTuple):
    """The bytes of the manifest, and a tag that changes with them; both are empty when there is none."""

    content: bytes
    tag: str


class Written(NamedTuple):
    """A file that no manifest names yet."""

    path: str
    size: int


class LakePlace(Protocol):
    """What keeps the files; paths are relative to the lake."""

    @property
    def grace_us(self) -> int:
        """For how long what was replaced is kept for readers that hold an older manifest, microseconds."""
        ...

    def index(self) -> Index:
        """Return the manifest."""
        ...

    def replace_index(self, content: bytes, *, before: Index) -> None:
        """Put another manifest in the place of `before`, durably and in one step; for the writer.

        Raises
        ------
        LakeBusyError
            If another writer replaced it meanwhile; nothing was changed.
        """
        ...

    def open(self, path: str) -> AbstractContextManager[Any]:
        """Open a file, as something that pyarrow reads."""
        ...

    def write(self, path: str, table: pa.Table) -> Written:
        """Write a Parquet file whole, durably, as `path` or under a name of its own beside it."""
        ...

    def delete(self, paths: Collection[str]) -> None:
        """Delete files; those that are gone already do not matter."""
        ...

    def strays(self, known: Collection[str]) -> Sequence[str]:
        """Return the lake's own files that are not among `known` and that no writer is about to name."""
        ...

    def writing(self, *, wait: bool) -> AbstractContextManager[None]:
        """Be the only writer.

        Raises
        ------
        LakeBusyError
            If somebody else has the lake and `wait` is false.
        """
        ...

    def reading(self) -> AbstractContextManager[None]:
        """Keep every file that the manifest names."""
        ...

    def location(self, path: str) -> str:
        """Return where a file is, for an engine that opens it itself."""
        ...

    def duckdb_path(self, path: str) -> str:
        """Return what a file is called in DuckDB, after `prepare`."""
        ...

    def prepare(self, connection: Any) -> None:  # noqa: ANN401 - a DuckDB connection
        """Let DuckDB open what `duckdb_path` names."""
        ...

    def stamp(self) -> object:
        """Return what is another value whenever the manifest was replaced."""
        ...

    @property
    def spill(self) -> Path | None:
        """The folder for what does not fit into memory; None: wherever the system puts such files."""
        ...


@dataclass(frozen=True, slots=True)
class LocalLake:
    """A folder. The kernel holds its locks: a process that was killed holds none."""

    folder: Path
    grace_us: int = 0

    def index(self) -> Index:
        """Return the manifest."""
        try:
            return Index((self.folder / MANIFEST).read_bytes(), "")
        except FileNotFoundError:
            return Index(b"", "")

    def replace_index(self, content: bytes, *, before: Index) -> None:  # noqa: ARG002 - the lock is enough
        """Put another manifest in its place, durably and in one step."""
        temporary = self.folder / f"{MANIFEST}.tmp"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / MANIFEST)
        sync_folder(self.folder)

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """Open a file, as something that pyarrow reads."""
        yield self.folder / path

    def write(self, path: str, table: pa.Table) -> Written:
        """Write a Parquet file under a temporary name, sync and rename it."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(".tmp")
        write_parquet(table, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(place)
        for folder in (place.parent, place.parent.parent, self.folder):
            sync_folder(folder)
        return Written(path, place.stat().st_size)

    def delete(self, paths: Collection[str]) -> None:
        """Delete files; those that are gone already do not matter."""
        for path in paths:
            (self.folder / path).unlink(missing_ok=True)

    def strays(self, known: Collection[str]) -> Sequence[str]:
        """Return the lake's own files that are not among `known`: the only writer asks."""
        found = (p.relative_to(self.folder).as_posix() for p in self.folder.glob("*/day=*/*") if p.is_file())
        return [path for path in found if is_own(path) and path not in known]

    @contextmanager
    def writing(self, *, wait: bool) -> Iterator[None]:
        """Be the only one who has the lake."""
        with self._locked(fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB):
            # No reader is there now: what a killed one spilled to disk belongs to nobody.
            for left in self.folder.glob(f"{SPILL}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    def reading(self) -> AbstractContextManager[None]:
        """Keep writers away."""
        return self._locked(fcntl.LOCK_SH)

    def location(self, path: str) -> str:
        """Return where a file is, for an engine that opens it itself."""
        return str(self.folder / path)

    def duckdb_path(self, path: str) -> str:
        """Return what a file is called in DuckDB."""
        return self.location(path)

    def prepare(self, connection: Any) -> None:  # noqa: ANN401 - a DuckDB connection
        """Do nothing: DuckDB reads folders."""

    def stamp(self) -> object:
        """Return what is another value whenever the manifest was replaced."""
        try:
            status = (self.folder / MANIFEST).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    @property
    def spill(self) -> Path:
        """The lake itself: the next writer clears what a killed reader leaves there."""
        return self.folder

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, mode)
            except BlockingIOError as error:
                raise LakeBusyError(f"{self.folder} is being read or written") from error
            yield
        finally:
            os.close(descriptor)


Writable: TypeAlias = Path | LakePlace
"""What a function that writes takes: a folder, or the place of a URL made by `lake_at`, which has leases."""
Where: TypeAlias = Writable | str
"""What a function that reads takes, such as `settings.lake`."""


def at(lake: Where) -> LakePlace:
    """Return the place of a lake; that of a bare URL can only be read."""
    if isinstance(lake, str):
        return _remote(lake, None)
    return LocalLake(lake) if isinstance(lake, Path) else lake


def lake_at(where: Path | str, leases: Leases) -> Writable:
    """Return the lake that the settings name; who writes below a URL holds a lease meanwhile."""
    return where if isinstance(where, Path) else _remote(where, leases)


def _remote(url: str, leases: Leases | None) -> LakePlace:
    # It takes a while to load, and most have a folder.
    from service.lake.remote import RemoteLake  # noqa: PLC0415

    return RemoteLake(url, leases)


def is_own(path: str) -> bool:
    """Say whether a lake may have written this file; the path is relative to it."""
    return OWN_FILE.fullmatch(path) is not None


def write_parquet(table: pa.Table, where: Any) -> None:  # noqa: ANN401 - a path or a buffer, as pyarrow takes it
    """Write a file as all files of the lake are."""
    pq.write_table(table, where, compression="zstd", row_group_size=ROW_GROUP_ROWS)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
