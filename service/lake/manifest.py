"""Which files make up the lake: one manifest, replaced atomically, and the lock around it.

A file that the manifest does not name does not exist for a reader, so a process killed at any
point leaves at most orphans, which the next writer sweeps.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FORMAT = 1
MANIFEST = "manifest.json"
# A row group knows its least and greatest value of every column: a scan for one type skips the others.
ROW_GROUP_ROWS = 122_880
MAX_TYPES = 64
# A query that does not fit its memory writes into a folder of this name below the lake, one for each reader.
SPILL = ".spill-"
EVENTS, EXPOSURES, INTERACTIONS = "events", "exposures", "interactions"

# `facts` holds every top-level property that is no object or list, as canonical JSON text: engines differ on
# JSON paths (Ibis writes `$.x.y` for a property named "x.y"), never on the keys of a map. `amounts` holds the
# numbers in micro-units, rounded once, exactly, at export: a sum is then the same on every engine.
SCHEMAS: Mapping[str, pa.Schema] = {
    EVENTS: pa.schema(
        [
            ("seq", pa.int64()),
            ("event_id", pa.string()),
            ("type", pa.string()),
            ("user_id", pa.string()),
            ("anonymous_id", pa.string()),
            ("occurred_us", pa.int64()),
            ("trust", pa.string()),
            ("properties", pa.string()),
            ("facts", pa.map_(pa.string(), pa.string())),
            ("amounts", pa.map_(pa.string(), pa.int64())),
        ]
    ),
    EXPOSURES: pa.schema(
        [
            ("seq", pa.int64()),
            ("experiment_key", pa.string()),
            ("phase", pa.int64()),
            ("variant_key", pa.string()),
            ("unit_type", pa.string()),
            ("unit_id", pa.string()),
            ("occurred_us", pa.int64()),
            ("revision", pa.int64()),
            ("source", pa.string()),
        ]
    ),
    INTERACTIONS: pa.schema(
        [
            ("seq", pa.int64()),
            ("person_id", pa.string()),
            ("item_id", pa.string()),
            ("event_type", pa.string()),
            ("occurred_us", pa.int64()),
            ("quantity", pa.float64()),
            ("event_id", pa.string()),
        ]
    ),
}

LATE_COLUMNS: Mapping[str, tuple[str, ...]] = {EXPOSURES: ("source",)}
"""Text columns that files of an earlier release lack; there they are null."""

# Rows of one unit lie together, so that a scan for units compresses well and reads few pages.
# Those of one type of event come before: a metric asks for one or two of many.
SORT_KEYS: Mapping[str, tuple[str, ...]] = {
    EVENTS: ("type", "anonymous_id", "user_id", "seq"),
    EXPOSURES: ("experiment_key", "unit_id", "seq"),
    INTERACTIONS: ("person_id", "seq"),
}


class LakeError(Exception):
    """The lake on disk cannot be used as it is; deleting its folder rebuilds it from the log."""


class LakeBusyError(Exception):
    """A reader or another writer has the lake just now, and the caller did not want to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeFile:
    """One immutable Parquet file; `path` is relative to the lake, `day` the UTC day of receipt.

    Its rows occurred from `first_us` to `last_us` and have offsets from `first_seq` to `last_seq`, all
    included; `types` are the types of its events, sorted. What is None is not known: a manifest of an older
    version, types of another dataset or of more than 64.
    """

    path: str
    dataset: str
    day: str
    rows: int
    size: int
    first_us: int | None = None
    last_us: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    types: tuple[str, ...] | None = None

    def may_hold(
        self,
        *,
        types: Collection[str] | None = None,
        after_seq: int | None = None,
        upto_seq: int | None = None,
        first_us: int | None = None,
        last_us: int | None = None,
    ) -> bool:
        """Say whether a row may be of these types, after one offset and up to another, between two moments.

        None asks for nothing; only `after_seq` is not included in what is asked for.
        """
        return not (
            (types is not None and self.types is not None and not set(types) & set(self.types))
            or (after_seq is not None and self.last_seq is not None and self.last_seq <= after_seq)
            or (upto_seq is not None and self.first_seq is not None and self.first_seq > upto_seq)
            or (first_us is not None and self.last_us is not None and self.last_us < first_us)
            or (last_us is not None and self.first_us is not None and self.first_us > last_us)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole lake at one log offset.

    `anchor_seq` and `anchor_id` name the newest event in the lake: if the log no longer holds it (a restore
    from an older backup), the lake belongs to another history and is rebuilt. `erased` grows whenever rows
    are taken out (an erasure, retention, another history): what was summed up before is then out of date.
    """

    offset: int = 0
    generation: int = 0
    erased: int = 0
    anchor_seq: int = 0
    anchor_id: str = ""
    files: tuple[LakeFile, ...] = field(default=())

    def of(self, dataset: str) -> tuple[LakeFile, ...]:
        """Return the files of one dataset."""
        return tuple(f for f in self.files if f.dataset == dataset)


def read_manifest(lake: Path) -> Manifest:
    """Return the manifest; that of an empty lake when there is none.

    Raises
    ------
    LakeError
        If the file is there but is not a manifest of this format.
    """
    path = lake / MANIFEST
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Manifest()
    try:
        members = json.loads(text)
        if members.pop("format") != FORMAT:
            raise LakeError(f"{path}: not format {FORMAT}; delete the folder to rebuild it from the log")
        files = tuple(_file(entry) for entry in members.pop("files"))
        return Manifest(**members, files=files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LakeError(
            f"{path}: unreadable ({error}); delete the folder to rebuild it from the log"
        ) from error


def _file(entry: dict[str, Any]) -> LakeFile:
    types = entry.pop("types", None)
    return LakeFile(**entry, types=None if types is None else tuple(types))


def commit(lake: Path, manifest: Manifest) -> None:
    """Make `manifest` the truth, durably, then remove every file it does not name; for the lock's holder."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True)
    temporary = lake / f"{MANIFEST}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(lake / MANIFEST)
    sync_folder(lake)
    sweep(lake, manifest)


def sweep(lake: Path, manifest: Manifest) -> int:
    """Delete what no manifest names: left-overs of a killed writer and files that were replaced."""
    known = {f.path for f in manifest.files}
    orphans = [p for p in lake.glob("*/*/*") if p.is_file() and p.relative_to(lake).as_posix() not in known]
    for path in orphans:
        path.unlink(missing_ok=True)
    return len(orphans)


def write_table(lake: Path, dataset: str, day: str, name: str, table: pa.Table) -> LakeFile:
    """Write one sorted file under a temporary name, sync and rename it; no manifest names it yet."""
    relative = f"{dataset}/day={day}/{name}.parquet"
    path = lake / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = table.sort_by([(column, "ascending") for column in SORT_KEYS[dataset]])
    temporary = path.with_suffix(".tmp")
    pq.write_table(ordered, temporary, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    for folder in (path.parent, path.parent.parent, lake):
        sync_folder(folder)
    occurred, offsets = (pc.min_max(table[column]).as_py() for column in ("occurred_us", "seq"))
    return LakeFile(
        path=relative,
        dataset=dataset,
        day=day,
        rows=table.num_rows,
        size=path.stat().st_size,
        first_us=occurred["min"],
        last_us=occurred["max"],
        first_seq=offsets["min"],
        last_seq=offsets["max"],
        types=_types(table) if dataset == EVENTS else None,
    )


def _types(table: pa.Table) -> tuple[str, ...] | None:
    found = pc.unique(table["type"]).to_pylist()
    return tuple(sorted(found)) if len(found) <= MAX_TYPES else None


def read_files(
    lake: Path, dataset: str, files: tuple[LakeFile, ...], *, only: Sequence[str] = ()
) -> pa.Table:
    """Return the rows of `files`, in no particular order; of `only` these columns if any are named."""
    schema = SCHEMAS[dataset]
    columns = list(only) or schema.names
    schema = pa.schema([schema.field(name) for name in columns])
    # ParquetFile and not read_table: the latter would add a column for the folder name `day=...`.
    tables = [_whole(pq.ParquetFile(lake / f.path).read(columns=columns), schema) for f in files]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _whole(table: pa.Table, schema: pa.Schema) -> pa.Table:
    for name in schema.names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table.select(schema.names).cast(schema)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(lake: Path, *, wait: bool = True) -> Iterator[Manifest]:
    """Hold the only writer's lock; the kernel releases it when the process dies.

    Raises
    ------
    LakeBusyError
        If somebody else has the lake and `wait` is false.
    """
    with _locked(lake, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB):
        # No reader is there now: what a killed one spilled to disk belongs to nobody.
        for left in lake.glob(f"{SPILL}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield read_manifest(lake)


@contextmanager
def reading(lake: Path) -> Iterator[Manifest]:
    """Hold a reader's lock, so that no file of the manifest is removed meanwhile."""
    with _locked(lake, fcntl.LOCK_SH):
        yield read_manifest(lake)


def next_generation(manifest: Manifest, *, erased: bool = False) -> Manifest:
    """Return `manifest` with the number that names the files of the next write; say if it takes out rows."""
    return replace(manifest, generation=manifest.generation + 1, erased=manifest.erased + erased)


@contextmanager
def _locked(lake: Path, mode: int) -> Iterator[None]:
    lake.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lake / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, mode)
        except BlockingIOError as error:
            raise LakeBusyError(f"{lake} is being read or written") from error
        yield
    finally:
        os.close(descriptor)
