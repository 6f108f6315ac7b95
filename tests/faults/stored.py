"""The truth after a run, read from the database itself and not through the service."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import create_engine, text

# A sum over the parts that a person's rows lie in.
ACTIVITY = "SELECT person_id, event_type, sum(n) AS n FROM person_activity GROUP BY person_id, event_type"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One row of the log, as far as its sender knows it."""

    seq: int
    event_id: str
    type: str
    user_id: str | None
    anonymous_id: str | None
    properties: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One row of the quarantine."""

    event_id: str
    reason: str
    body: str
    encoding: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Everything the check compares with the history."""

    events: Sequence[StoredEvent] = ()
    held: Sequence[Held] = ()
    interactions: Mapping[str, int] = field(default_factory=dict)
    """How many rows each event left."""
    activity: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How often each person had an event of each type."""
    links: frozenset[tuple[str, str]] = frozenset()
    """Which anonymous id was seen with which user."""
    integrity: str = "ok"


def read(url: str) -> Stored:
    """Read all of it; no server runs."""
    engine = create_engine(url)
    sqlite = engine.dialect.name == "sqlite"
    try:
        with engine.connect() as connection:
            integrity = "ok"
            if sqlite:
                found = connection.execute(text("PRAGMA integrity_check")).scalars().all()
                integrity = "; ".join(map(str, found))
            columns = "seq, event_id, type, user_id, anonymous_id, properties"
            events = [
                StoredEvent(**row._mapping)
                for row in connection.execute(text(f"SELECT {columns} FROM event ORDER BY seq"))
            ]
            held = [
                Held(**row._mapping)
                for row in connection.execute(text("SELECT event_id, reason, body, encoding FROM quarantine"))
            ]
            interactions = Counter(
                str(event_id)
                for event_id in connection.execute(text("SELECT event_id FROM interaction")).scalars()
            )
            activity = {
                (row.person_id, row.event_type): int(row.n) for row in connection.execute(text(ACTIVITY))
            }
            links = frozenset(
                (row.from_id, row.user_id)
                for row in connection.execute(text("SELECT from_id, user_id FROM identity_link"))
            )
    finally:
        engine.dispose()
    return Stored(
        events=events,
        held=held,
        interactions=interactions,
        activity=activity,
        links=links,
        integrity=integrity,
    )


def properties_of(event: StoredEvent) -> object:
    """Return the properties as a value."""
    return json.loads(event.properties)
