"""Whether what was summed up of the lake is still a part of it: rows are only added, or all begins anew."""

from service.lake.engine import ALWAYS
from service.lake.engines.duckdb import DuckDBEngine
from service.lake.manifest import EVENTS
from service.lake.partials_folder import Place


def place_of(engine: DuckDBEngine) -> Place:
    """Return the whole of the lake that `engine` has open."""
    manifest = engine.manifest
    return Place(
        offset=manifest.offset,
        erased=manifest.erased,
        n_events=n_events(engine),
        anchor_seq=manifest.anchor_seq,
        anchor_id=manifest.anchor_id,
    )


def is_part(engine: DuckDBEngine, place: Place) -> bool:
    """Say whether the lake up to the offset of `place` is what it was then.

    The counter of what was taken out tells nearly always. A lake that was made again from a log that had lost
    events meanwhile has fewer rows; one of another history has another event at the anchor.
    """
    manifest = engine.manifest
    if place.offset > manifest.offset or place.erased != manifest.erased:
        return False
    return n_after(engine, place.offset) == n_events(engine) - place.n_events and _has_anchor(engine, place)


def since_when(engine: DuckDBEngine, n: int) -> int:
    """Return a moment since when at least `n` events of the lake have occurred, as far as its files tell."""
    dated = [(file.first_us, file.rows) for file in engine.manifest.of(EVENTS) if file.first_us is not None]
    found = 0
    for first_us, rows in sorted(dated, reverse=True):
        found += rows
        if found >= n:
            return first_us
    return ALWAYS[0]


def n_after(engine: DuckDBEngine, offset: int) -> int:
    """Count the events of the lake that are newer than `offset`."""
    files = engine.manifest.of(EVENTS)
    # A merge of small files puts old rows beside new ones: only in such a file need they be told apart.
    whole = [file for file in files if file.first_seq is not None and file.first_seq > offset]
    mixed = [file for file in files if file not in whole and file.may_hold(after_seq=offset)]
    if not mixed:
        return sum(file.rows for file in whole)
    newer = engine.since(offset).table(EVENTS)
    (row,) = engine.rows(newer.aggregate(n=newer.count()))
    return int(row["n"])


def n_events(engine: DuckDBEngine) -> int:
    """Count the events of the lake."""
    return sum(file.rows for file in engine.manifest.of(EVENTS))


def _has_anchor(engine: DuckDBEngine, place: Place) -> bool:
    if (place.anchor_seq, place.anchor_id) == (engine.manifest.anchor_seq, engine.manifest.anchor_id):
        return True
    events = engine.since(place.anchor_seq - 1, upto=place.anchor_seq).table(EVENTS)
    return [row["event_id"] for row in engine.rows(events.select("event_id"))] == [place.anchor_id]
