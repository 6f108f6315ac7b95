"""From the event log to Parquet, by log offset: what is late by its own clock is never missed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from service.lake.compact import compacted
from service.lake.manifest import (
    EVENTS,
    INTERACTIONS,
    SCHEMAS,
    Manifest,
    commit,
    needs_care,
    next_generation,
    read_files,
    read_manifest,
    reading,
    write_table,
    writing,
)
from service.lake.places import Where, Writable
from service.lake.rows import rows_of
from service.storage.ports import LogReader
from service.storage.records import LoggedEvent

PAGE = 2_000
STEP = 100_000


def export(store: LogReader, lake: Writable, *, limit: int = STEP, wait: bool = True) -> int:
    """Append up to `limit` new events of the log to the lake in one atomic step; return the offset after it.

    Killed at any point, it has done nothing or everything. Only one writer works at a time, others wait.

    Raises
    ------
    LakeBusyError
        If somebody else has the lake and `wait` is false.
    """
    manifest = read_manifest(lake)
    if not needs_care(lake, manifest) and _is_whole(store, manifest):
        # An idle shop is looked at every second: nobody need make room for that.
        return manifest.offset
    with writing(lake, wait=wait) as manifest:
        base = manifest if _same_history(store, manifest) else _emptied(manifest)
        step = _collect(store, after=base.offset, limit=limit)
        if step is None:
            if base is not manifest or needs_care(lake, manifest):
                commit(lake, next_generation(base))
            return base.offset
        target = next_generation(base)
        new = [
            write_table(lake, dataset, day, f"{target.generation:08d}", pa.concat_tables(tables))
            for (dataset, day), tables in sorted(step.tables.items())
        ]
        target = replace(
            target,
            offset=step.last.seq,
            anchor_seq=step.last.seq,
            anchor_id=step.last.received.event.event_id,
            files=compacted(lake, (*base.files, *new), target.generation),
        )
        commit(lake, target)
        return target.offset


def export_all(store: LogReader, lake: Writable) -> int:
    """Export until the end of the log; return the offset after."""
    offset = -1
    while (reached := export(store, lake)) != offset:
        offset = reached
    return offset


def read_interactions(lake: Where) -> pa.Table:
    """Return person_id, item_id, event_type, occurred_us, quantity and event_id, in log order.

    An event counts once: for its best known person.
    """
    with reading(lake) as manifest:
        table = read_files(lake, INTERACTIONS, manifest.of(INTERACTIONS))
    # The item breaks ties inside one event, so that compaction never changes what a trainer sees.
    return table.sort_by([("seq", "ascending"), ("item_id", "ascending")]).drop_columns(["seq"])


def read_persons(lake: Where) -> pa.Table:
    """Return event_id, user_id and anonymous_id of every event, in no particular order."""
    with reading(lake) as manifest:
        return read_files(lake, EVENTS, manifest.of(EVENTS), only=("event_id", "user_id", "anonymous_id"))


@dataclass(frozen=True, slots=True)
class _Step:
    tables: Mapping[tuple[str, str], Sequence[pa.Table]]
    last: LoggedEvent


def _collect(store: LogReader, *, after: int, limit: int) -> _Step | None:
    tables: dict[tuple[str, str], list[pa.Table]] = defaultdict(list)
    n_events, last = 0, None
    while n_events < limit and (page := store.read(after, min(PAGE, limit - n_events))):
        for (dataset, day), rows in rows_of(page).items():
            tables[dataset, day].append(pa.Table.from_pylist(rows, schema=SCHEMAS[dataset]))
        n_events += len(page)
        last = page[-1]
        after = last.seq
    return _Step(tables, last) if last else None


def _emptied(manifest: Manifest) -> Manifest:
    return Manifest(generation=manifest.generation, erased=manifest.erased + 1)


def _is_whole(store: LogReader, manifest: Manifest) -> bool:
    return _same_history(store, manifest) and not store.read(manifest.offset, 1)


def _same_history(store: LogReader, manifest: Manifest) -> bool:
    if not manifest.anchor_seq:
        return manifest.offset == 0
    found = store.read(manifest.anchor_seq - 1, 1)
    return (
        bool(found)
        and found[0].seq == manifest.anchor_seq
        and (found[0].received.event.event_id == manifest.anchor_id)
    )
