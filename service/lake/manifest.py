"""Which files make up the lake: one manifest, replaced in one step, and who may write it.

A file that the manifest does not name does not exist for a reader, so a process killed at any
point leaves at most strays, which the next writer removes. Files that no lake wrote stay as they are.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from service.clock import to_micros, utc_now
from service.lake.flat import flattened
from service.lake.places import MANIFEST, Index, LakeBusyError, LakeError, Where, Writable, at

FORMAT = 1
MAX_TYPES = 64
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeFile:
    """One immutable Parquet file; `path` is relative to the lake, `day` the UTC day of receipt.

    Its rows occurred from `first_us` to `last_us` and have offsets from `first_seq` to `last_seq`, all
    included; `types` are the types of its events, sorted, and `flat` their properties that have columns of
    their own. What is None is not known: a manifest of an older version, what another dataset does not have,
    more than 64 types.
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
    flat: tuple[str, ...] | None = None

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

    Where readers hold no lock, `replaced` names files that are kept for them and when they were replaced, and
    `listed_us` is when somebody last looked for files that no manifest names. `commit` fills in both.
    """

    offset: int = 0
    generation: int = 0
    erased: int = 0
    anchor_seq: int = 0
    anchor_id: str = ""
    files: tuple[LakeFile, ...] = ()
    replaced: tuple[tuple[str, int], ...] = ()
    listed_us: int = 0

    def of(self, dataset: str) -> tuple[LakeFile, ...]:
        """Return the files of one dataset."""
        return tuple(f for f in self.files if f.dataset == dataset)


def read_manifest(lake: Where) -> Manifest:
    """Return the manifest; that of an empty lake when there is none.

    Raises
    ------
    LakeError
        If the file is there but is not a manifest of this format.
    """
    place = at(lake)
    return _decoded(place.index(), place.location(MANIFEST))


def is_there(lake: Where) -> bool:
    """Say whether anything was ever written to the lake."""
    return bool(at(lake).index().content)


def commit(lake: Writable, manifest: Manifest) -> None:
    """Make `manifest` the truth, durably, then remove what nobody needs any more; for the writer.

    Raises
    ------
    LakeBusyError
        If another writer has replaced the manifest that this one follows; nothing was changed.
    """
    place = at(lake)
    before = place.index()
    old = _decoded(before, place.location(MANIFEST))
    if old.generation >= manifest.generation:
        raise LakeBusyError(f"{place.location(MANIFEST)} has generation {old.generation} meanwhile")
    known, now_us = {f.path for f in manifest.files}, to_micros(utc_now())
    gone = {**dict(old.replaced), **{f.path: now_us for f in old.files if f.path not in known}}
    kept = {path: at_us for path, at_us in gone.items() if at_us > now_us - place.grace_us}
    looks = now_us - old.listed_us >= place.grace_us
    target = replace(
        manifest, replaced=tuple(sorted(kept.items())), listed_us=now_us if looks else old.listed_us
    )
    place.replace_index(_encoded(target), before=before)
    place.delete(gone.keys() - kept.keys())
    if looks:
        place.delete(place.strays(known | kept.keys()))


def needs_care(lake: Where, manifest: Manifest) -> bool:
    """Say whether there is something to delete although nothing new is to be written."""
    grace_us = at(lake).grace_us
    if not grace_us or not manifest.files:
        return False
    oldest_us = min([manifest.listed_us, *(at_us for _, at_us in manifest.replaced)])
    return oldest_us <= to_micros(utc_now()) - grace_us


def _encoded(manifest: Manifest) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True).encode()


def _decoded(index: Index, where: str) -> Manifest:
    if not index.content:
        return Manifest()
    try:
        members = json.loads(index.content)
        if members.pop("format") != FORMAT:
            raise LakeError(f"{where}: not format {FORMAT}; delete the folder to rebuild it from the log")
        files = tuple(_file(entry) for entry in members.pop("files"))
        replaced = tuple((path, at_us) for path, at_us in members.pop("replaced", ()))
        return Manifest(**members, files=files, replaced=replaced)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LakeError(
            f"{where}: unreadable ({error}); delete the folder to rebuild it from the log"
        ) from error


def _file(entry: dict[str, Any]) -> LakeFile:
    types, flat = (_listed(entry.pop(name, None)) for name in ("types", "flat"))
    return LakeFile(**entry, types=types, flat=flat)


def _listed(told: list[str] | None) -> tuple[str, ...] | None:
    return None if told is None else tuple(told)


def write_table(lake: Writable, dataset: str, day: str, name: str, table: pa.Table) -> LakeFile:
    """Write one sorted file; no manifest names it yet."""
    ordered = table.sort_by([(column, "ascending") for column in SORT_KEYS[dataset]])
    flat = None
    if dataset == EVENTS:
        ordered, flat = flattened(ordered)
    written = at(lake).write(f"{dataset}/day={day}/{name}.parquet", ordered)
    occurred, offsets = (pc.min_max(table[column]).as_py() for column in ("occurred_us", "seq"))
    return LakeFile(
        path=written.path,
        dataset=dataset,
        day=day,
        rows=table.num_rows,
        size=written.size,
        first_us=occurred["min"],
        last_us=occurred["max"],
        first_seq=offsets["min"],
        last_seq=offsets["max"],
        types=_types(table) if dataset == EVENTS else None,
        flat=flat,
    )


def _types(table: pa.Table) -> tuple[str, ...] | None:
    found = pc.unique(table["type"]).to_pylist()
    return tuple(sorted(found)) if len(found) <= MAX_TYPES else None


def read_files(
    lake: Where, dataset: str, files: tuple[LakeFile, ...], *, only: Sequence[str] = ()
) -> pa.Table:
    """Return the rows of `files`, in no particular order; of `only` these columns if any are named."""
    schema = SCHEMAS[dataset]
    columns = list(only) or schema.names
    schema = pa.schema([schema.field(name) for name in columns])
    tables = [_whole(read_columns(lake, f, columns), schema) for f in files]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def read_columns(lake: Where, file: LakeFile, columns: Sequence[str]) -> pa.Table:
    """Return these columns of one file, those of them that it has."""
    # ParquetFile and not read_table: the latter would add a column for the folder name `day=...`.
    with at(lake).open(file.path) as source, pq.ParquetFile(source) as parquet:
        return parquet.read(columns=list(columns))


def _whole(table: pa.Table, schema: pa.Schema) -> pa.Table:
    for name in schema.names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table.select(schema.names).cast(schema)


@contextmanager
def writing(lake: Writable, *, wait: bool = True) -> Iterator[Manifest]:
    """Be the only writer: by the kernel's lock, or by a lease where the lake is no folder.

    Raises
    ------
    LakeBusyError
        If somebody else has the lake and `wait` is false.
    """
    with at(lake).writing(wait=wait):
        yield read_manifest(lake)


@contextmanager
def reading(lake: Where) -> Iterator[Manifest]:
    """Keep every file of the manifest where it is."""
    with at(lake).reading():
        yield read_manifest(lake)


def next_generation(manifest: Manifest, *, erased: bool = False) -> Manifest:
    """Return `manifest` with the number that names the files of the next write; say if it takes out rows."""
    return replace(manifest, generation=manifest.generation + 1, erased=manifest.erased + erased)
