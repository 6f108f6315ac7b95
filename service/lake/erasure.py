"""Take one person out of the lake: by the ids of its rows, and by the events that named the person."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from service.lake.manifest import (
    EVENTS,
    EXPOSURES,
    INTERACTIONS,
    LakeFile,
    Manifest,
    commit,
    next_generation,
    read_columns,
    read_files,
    write_table,
    writing,
)
from service.lake.places import Writable
from service.storage.naming import ALIASED, previous_in

OWN_IDS: Mapping[str, tuple[str, ...]] = {
    EVENTS: ("user_id", "anonymous_id"),
    EXPOSURES: ("unit_type", "unit_id"),
    INTERACTIONS: ("person_id",),
}


def erase(lake: Writable, *, user_ids: Iterable[str], anonymous_ids: Iterable[str]) -> int:
    """Rewrite the files that hold rows of one person without them; return the rows removed.

    An event that names the person goes from all three datasets, under whatever id they know it: the log
    no longer has it. Call this after the log itself was erased: an export that runs meanwhile is waited for
    and then cleaned too.
    """
    with writing(lake) as manifest:
        person = _Person.of(user_ids, anonymous_ids)
        named = [_seqs(lake, file, person) for file in manifest.of(EVENTS)]
        person = replace(person, events=pa.concat_arrays([pa.array([], pa.int64()), *named]))
        target = next_generation(manifest, erased=True)
        kept: list[LakeFile] = []
        for index, file in enumerate(manifest.files):
            kept += _without(lake, file, person, name=f"{target.generation:08d}-e{index}")
        removed = sum(f.rows for f in manifest.files) - sum(f.rows for f in kept)
        if removed:
            commit(lake, _anchored(lake, replace(target, files=tuple(kept))))
        return removed


@dataclass(frozen=True, slots=True)
class _Person:
    users: pa.Array
    visitors: pa.Array
    persons: pa.Array
    events: pa.Array

    @classmethod
    def of(cls, user_ids: Iterable[str], anonymous_ids: Iterable[str]) -> "_Person":
        users, visitors = sorted(set(user_ids)), sorted(set(anonymous_ids))
        persons = [*(f"u:{user}" for user in users), *(f"a:{visitor}" for visitor in visitors)]
        return cls(
            users=pa.array(users, pa.string()),
            visitors=pa.array(visitors, pa.string()),
            persons=pa.array(persons, pa.string()),
            events=pa.array([], pa.int64()),
        )

    def named_in(self, dataset: str, table: pa.Table) -> pa.ChunkedArray:
        """Say for each row whether its own ids are the person's."""
        if dataset == EVENTS:
            return pc.or_(_among(table["user_id"], self.users), _among(table["anonymous_id"], self.visitors))
        if dataset == INTERACTIONS:
            return _among(table["person_id"], self.persons)
        user = pc.and_(pc.equal(table["unit_type"], "user_id"), _among(table["unit_id"], self.users))
        visitor = pc.equal(table["unit_type"], "anonymous_id")
        return pc.or_(user, pc.and_(visitor, _among(table["unit_id"], self.visitors)))


def _among(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=values)


def _seqs(lake: Writable, file: LakeFile, person: _Person) -> pa.Array:
    """Return the log offsets of the events in `file` that name the person, aliases of their ids too."""
    table = read_columns(lake, file, ["seq", "type", *OWN_IDS[EVENTS]])
    own = table.filter(person.named_in(EVENTS, table))["seq"].combine_chunks()
    if not pc.any(pc.equal(table["type"], ALIASED), min_count=0).as_py():
        return own
    whole = read_columns(lake, file, ["seq", "type", "properties"])
    ids = {*person.users.to_pylist(), *person.visitors.to_pylist()}
    replaced = [
        row["seq"]
        for row in whole.filter(pc.equal(whole["type"], ALIASED)).to_pylist()
        if previous_in(ALIASED, orjson.loads(row["properties"])) in ids
    ]
    return pa.concat_arrays([own, pa.array(replaced, pa.int64())])


def _without(lake: Writable, file: LakeFile, person: _Person, *, name: str) -> list[LakeFile]:
    """Return `file`, or the one that takes its place, or nothing when every row went."""
    # The ids alone tell whether a file is concerned; few are, and only those are read whole.
    ids = read_columns(lake, file, ["seq", *OWN_IDS[file.dataset]])
    goes = pc.or_(_among(ids["seq"], person.events), person.named_in(file.dataset, ids))
    if not pc.any(goes, min_count=0).as_py():
        return [file]
    rest = read_files(lake, file.dataset, (file,)).filter(pc.invert(goes))
    return [write_table(lake, file.dataset, file.day, name, rest)] if rest.num_rows else []


def _anchored(lake: Writable, manifest: Manifest) -> Manifest:
    # The newest event may have been the person's own: the newest that is left takes its place.
    newest = (0, "")
    for file in manifest.of(EVENTS):
        if file.last_seq is not None and file.last_seq < newest[0]:
            continue
        seq = pc.max(read_columns(lake, file, ["seq"])["seq"]).as_py()
        if seq > newest[0]:
            table = read_columns(lake, file, ["seq", "event_id"])
            newest = (seq, table["event_id"][pc.index(table["seq"], seq).as_py()].as_py())
    return replace(manifest, anchor_seq=newest[0], anchor_id=newest[1])
