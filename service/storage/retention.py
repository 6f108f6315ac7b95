"""What is kept for how long; links, consents, items and revisions are kept until somebody is erased."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from sqlalchemy import Select, delete, func, or_, select

from service.clock import to_micros
from service.storage import schema
from service.storage.control import Connections
from service.storage.merging import merge
from service.storage.outbox import prune_messages
from service.storage.paging import PAGE_ROWS, delete_in_pages
from service.storage.ports import Keep
from service.storage.steering import prune_steering
from service.storage.sweep import sweep_activity, sweep_interactions

DAY_US = 86_400_000_000
# At most this many pages of a table at once: a backlog is worked off by the calls that follow.
PRUNE_PAGES = 400
TOLD_DAYS = 90
"""Messages that wait for nothing, and what was decided about phases that are over, are kept for so long."""
MOST_AT_ONCE = PRUNE_PAGES * PAGE_ROWS
"""Whoever deletes so many rows of a table may have left some."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the rule about a verdict snapshot looks at."""

    number: int
    as_of_us: int
    decision: str


def superseded(history: Sequence[Kept], *, newest: int) -> list[int]:
    """Return the numbers of the snapshots of one phase, oldest first, that nobody needs any more.

    Kept are the `newest` ones, every change of the decision and the last of each UTC day of `as_of`.
    Applying the rule again to what is left removes nothing.
    """
    older = history[: max(0, len(history) - newest)]
    kept = {row.number for row in (*history[:1], *history[-1:])}
    for before, row in pairwise(history):
        if row.decision != before.decision:
            kept.add(row.number)
        if row.as_of_us // DAY_US != before.as_of_us // DAY_US:
            kept.add(before.number)
    return [row.number for row in older if row.number not in kept]


class SqlRetention:
    """The Retention port."""

    def prune(self: Connections, *, now: datetime, keep: Keep, exported: int) -> Mapping[str, int]:
        """Delete what has served its time, in short transactions; return rows deleted by table."""
        moment = to_micros(now)
        sign_in, session, slate, bad = schema.sign_in, schema.session, schema.slate, schema.quarantine
        deleted = {
            table.name: delete_in_pages(
                self.writing, table.c[key], (over,), tenant=self.tenant, pages=PRUNE_PAGES
            )
            for table, key, over in (
                (sign_in, "sha256", or_(sign_in.c.used_us.is_not(None), sign_in.c.expires_us <= moment)),
                (session, "sha256", session.c.expires_us <= moment),
                (slate, "slate_id", slate.c.created_us < _before(now, days=keep.slates)),
                (bad, "digest", bad.c.received_us < _before(now, days=keep.quarantine)),
            )
        }
        before_us = _before(now, days=keep.interactions)
        deleted["interaction"] = sweep_interactions(self, before_us=before_us, pages=PRUNE_PAGES)
        deleted["person_activity"] = sweep_activity(self, before_us=before_us, pages=PRUNE_PAGES)
        merge(self)
        deleted["event"] = _forget_events(self, before_us=_before(now, days=keep.events), until=exported)
        deleted["verdict_snapshot"] = sum(
            _forget(self, experiment, phase, newest=keep.verdicts)
            for experiment, phase in _long_histories(self, over=keep.verdicts)
        )
        told_us = _before(now, days=TOLD_DAYS)
        deleted["outbox"] = prune_messages(self, before_us=told_us)
        deleted["steering"] = prune_steering(self, before_us=told_us)
        return deleted

    def sizes(self: Connections) -> Mapping[str, int]:
        """Return the bytes that each part of the database takes on its disk."""
        with self.reading() as connection:
            if connection.dialect.name == "postgresql":
                whole = connection.exec_driver_sql("SELECT pg_database_size(current_database())")
                return {"database": int(whole.scalar_one())}
            file = connection.exec_driver_sql("PRAGMA database_list").one()[2]
        return {"database": _bytes(Path(file)), "write_ahead_log": _bytes(Path(f"{file}-wal"))}


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _before(now: datetime, *, days: int) -> int:
    return to_micros(now - timedelta(days=days))


def _forget_events(store: Connections, *, before_us: int, until: int) -> int:
    """Delete the oldest events up to offset `until`, but never the newest: it tells where the log ends."""
    table = schema.event
    oldest = (
        select(table.c.seq, table.c.received_us)
        .where(schema.residual(table.c.tenant) == store.tenant, table.c.seq <= until)
        .order_by(table.c.seq)
        .limit(PAGE_ROWS + 1)
    )
    deleted = 0
    for _ in range(PRUNE_PAGES):
        with store.reading() as connection:
            page = connection.execute(oldest).all()
        old = [row.seq for row in page[:-1] if row.received_us < before_us]
        if not old:
            break
        with store.writing() as connection:
            deleted += connection.execute(delete(table).where(table.c.seq.in_(old))).rowcount
    return deleted


def _long_histories(store: Connections, *, over: int) -> list[tuple[str, int]]:
    table = schema.verdict_snapshot
    query = (
        select(table.c.experiment, table.c.phase)
        .where(table.c.tenant == store.tenant)
        .group_by(table.c.experiment, table.c.phase)
        .having(func.count() > over)
    )
    with store.reading() as connection:
        return [(row.experiment, row.phase) for row in connection.execute(query)]


def _forget(store: Connections, experiment: str, phase: int, *, newest: int) -> int:
    table = schema.verdict_snapshot
    mine = (table.c.tenant == store.tenant, table.c.experiment == experiment, table.c.phase == phase)
    query = select(table.c.number, table.c.as_of_us, table.c.decision).where(*mine).order_by(table.c.number)
    with store.reading() as connection:
        history = [Kept(row.number, row.as_of_us, row.decision) for row in connection.execute(query)]
        decided = set(connection.execute(_decided(store.tenant, experiment, phase)).scalars())
    deleted = 0
    for page in _pages(n for n in superseded(history, newest=newest) if n not in decided):
        with store.writing() as connection:
            deleted += connection.execute(delete(table).where(*mine, table.c.number.in_(page))).rowcount
    return deleted


def _decided(tenant: str, experiment: str, phase: int) -> Select[int]:
    """Ask for the snapshots that decisions name: they stay for as long as the decisions do."""
    table = schema.decision
    return select(table.c.verdict).where(
        table.c.tenant == tenant, table.c.experiment == experiment, table.c.phase == phase
    )


def _pages(numbers: Iterable[int]) -> Iterator[list[int]]:
    every = list(numbers)
    for start in range(0, len(every), PAGE_ROWS):
        yield every[start : start + PAGE_ROWS]
