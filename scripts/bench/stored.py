"""A store that has been filled before the benchmark: through the storage layer, but without its caution."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, create_engine, event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection

from scripts.bench.events import EVENTS_EACH, RANDOM, Source, visitor
from service.storage import rows, schema
from service.storage.commit import EncodedBatch, commit_group
from service.storage.interactions import interactions_of
from service.storage.ports import IngestBatch
from service.storage.records import DEFAULT_TENANT, ReceivedEvent, person_ids
from service.storage.writers import SqliteWriter

TOGETHER = 20_000
IN_A_TRANSACTION = 25
CACHE_KIB = 4 * 1024 * 1024
OLDEST = timedelta(days=30)


def fill(database: Path, n: int) -> int:
    """Bring a migrated SQLite database to `n` events with random ids; return how many visitors they have.

    Visitors and times are random, too. What is there already stays: an interrupted fill goes on.
    """
    engine = create_engine(f"sqlite:///{database}")

    @event.listens_for(engine, "connect")
    def configure(opened: DBAPIConnection, _record: object) -> None:
        cursor = opened.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
            cursor.execute(f"PRAGMA {pragma}")

    with engine.connect() as connection:
        there = connection.execute(select(func.coalesce(func.max(schema.event.c.seq), 0))).scalar_one()
    with engine.connect() as connection:
        for number, batch in enumerate(_batches(int(there), n), 1):
            commit_group(connection, [batch], SqliteWriter())
            if number % IN_A_TRANSACTION == 0:
                _commit(connection)
                print(f"  {int(there) + number * TOGETHER:,} of {n:,} events", flush=True)
        _commit(connection)
    engine.dispose()
    return n // EVENTS_EACH


def _commit(connection: Connection) -> None:
    connection.commit()
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.commit()


def _batches(there: int, n: int) -> Iterator[EncodedBatch]:
    source = Source(RANDOM)
    draw = random.Random()
    now = datetime.now(UTC)
    for begin in range(there, n, TOGETHER):
        events = []
        for _ in range(min(TOGETHER, n - begin)):
            at = now - OLDEST * draw.random()
            made = source.event(visitor(draw.randrange(n // EVENTS_EACH)), at)
            events.append(ReceivedEvent(event=made, received_at=at, source="events", trust="server"))
        batch = IngestBatch(
            events=events,
            interactions=[interactions_of(received.event) for received in events],
            active=[person_ids(received.event) for received in events],
        )
        yield rows.encode(batch, tenant=DEFAULT_TENANT)
