"""Take out of the lake what the log need not keep either: whole UTC days of receipt."""

from dataclasses import replace
from datetime import date

import pyarrow.compute as pc

from service.lake.manifest import (
    EVENTS,
    INTERACTIONS,
    LakeFile,
    Manifest,
    commit,
    is_there,
    next_generation,
    read_columns,
    writing,
)
from service.lake.places import Writable


def forget(lake: Writable, *, events_before: date, interactions_before: date) -> int:
    """Drop the days before these from the lake; return the rows dropped.

    An exposure goes with its event. The newest event stays, however old: the lake is known by it.

    Raises
    ------
    LakeBusyError
        If somebody reads or writes the lake just now.
    """
    if not is_there(lake):
        return 0
    with writing(lake, wait=False) as manifest:
        gone = [
            file
            for file in manifest.files
            if file.day < str(interactions_before if file.dataset == INTERACTIONS else events_before)
            and not _holds_the_newest(lake, manifest, file)
        ]
        if gone:
            kept = tuple(file for file in manifest.files if file not in gone)
            commit(lake, replace(next_generation(manifest, erased=True), files=kept))
        return sum(file.rows for file in gone)


def _holds_the_newest(lake: Writable, manifest: Manifest, file: LakeFile) -> bool:
    # A replayed event lies on the day it first came, under the newest offset.
    if file.dataset != EVENTS:
        return False
    if file.last_seq is not None:
        return file.last_seq >= manifest.anchor_seq
    offsets = read_columns(lake, file, ["seq"])["seq"]
    return bool(pc.max(offsets).as_py() >= manifest.anchor_seq)
