"""How SQLite answers the statements of the store: by a key or an index, never by sorting the log."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from hashlib import md5
from typing import Any

import pytest
from sqlalchemy import Engine, event

from service.storage.ports import IngestBatch, Keep
from service.storage.records import AppendStatus
from service.storage.sql import SqlStore
from service.storage.sqlite import LOOK_FROM, LOOK_TOGETHER
from tests.service.storage.facts import NOW, a_bad_event, a_batch, an_event, file_of

SHOPPING = ("Order Completed", "Order Refunded", "Product Added", "Product Viewed")

# Small by their nature: a shop's revisions, switches, keys and items.
READ_WHOLE = {"catalog_revision", "kill_switch", "api_key", "sign_in", "session"}
EVENTS = 20_000
# From one part of a table to the next.
STEP = re.compile(r"SCAN parts|USING PRIMARY KEY \(tenant=\?( AND part>\?)?\)")

Statement = tuple[str, Sequence[Any]]


@pytest.fixture
def store(sqlite_store: SqlStore) -> SqlStore:
    """Give a store on SQLite: what is tested here only a file has."""
    return sqlite_store


@contextmanager
def statements() -> Iterator[list[Statement]]:
    seen: list[Statement] = []

    def note(_connection: object, _cursor: object, sql: str, parameters: Any, *_rest: object) -> None:
        many = bool(parameters) and isinstance(parameters[0], tuple)
        seen.append((sql, parameters[0] if many else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plan(store: SqlStore, statement: Statement) -> list[str]:
    with closing(sqlite3.connect(file_of(store))) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement[0]}", statement[1])]


@pytest.fixture(params=["never analysed", "analysed"])
def large(request: pytest.FixtureRequest, store: SqlStore) -> SqlStore:
    with closing(sqlite3.connect(file_of(store))) as connection:
        connection.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO event (tenant, event_id, type, person_id, user_id, anonymous_id,
            occurred_us, received_us, source, trust, properties)
            SELECT 'default', hex(i * 7919), 'x', 'u:' || i % 900, i % 900, NULL, i, i, 's', 't', '{}'
            FROM n""",
            (EVENTS,),
        )
        if request.param == "analysed":
            connection.execute("ANALYZE")
        connection.commit()
    return store


def test_the_log_is_read_by_its_own_key_and_never_sorted(large: SqlStore) -> None:
    with statements() as seen:
        large.read(17_000, 5_000)
        large.last_seq()
        large.append(a_batch(an_event("e1"), an_event("e1")))
        large.delete_person([], user_ids=["u1"], anonymous_ids=["a1"])

    of_the_log = [s for s in seen if "FROM event" in s[0]]
    plans = [line for statement in of_the_log for line in plan(large, statement)]
    assert len(of_the_log) >= 6
    searches = [line for line in plans if line.startswith(("SCAN event", "SEARCH event"))]
    # The newest offset is one step into the key: SQLite calls that a plain SEARCH.
    assert all(line == "SEARCH event" or "INTEGER PRIMARY KEY" in line for line in searches), searches
    assert not [line for line in plans if "TEMP B-TREE" in line]
    assert any("rowid>?" in line for line in searches)


def test_scattered_ids_of_a_large_batch_are_looked_for_before_its_turn(store: SqlStore) -> None:
    scattered = [
        an_event(md5(b"%d" % n, usedforsecurity=False).hexdigest()) for n in range(LOOK_TOGETHER + 1)
    ]
    in_order = [an_event(f"019aabcd-{n:04}") for n in range(LOOK_TOGETHER + 1)]
    with statements() as seen:
        told = [
            store.append(IngestBatch(events=events))
            for events in (scattered, in_order, scattered[:LOOK_FROM], scattered[: LOOK_FROM - 1])
        ]

    looks = [one for one in seen if "event_id IN" in one[0]]
    assert [len(parameters) - 1 for _, parameters in looks] == [LOOK_TOGETHER, 1, LOOK_FROM]
    assert [line for look in looks for line in plan(store, look)] == [
        "SEARCH event USING COVERING INDEX sqlite_autoindex_event_1 (tenant=? AND event_id=?)"
    ] * 3
    assert set(told[0]) == set(told[1]) == {AppendStatus.ACCEPTED}
    assert set(told[2]) == set(told[3]) == {AppendStatus.DUPLICATE}


def test_every_other_statement_is_answered_by_a_key_or_an_index(large: SqlStore) -> None:
    with statements() as seen:
        large.quarantine_counts()
        large.quarantine_reasons()
        large.quarantined(after=(NOW, ""))
        large.quarantined(reason="x", after=(NOW, ""), oldest_first=True)
        large.quarantined_event("abcdef")
        large.quarantined_exposures("x")
        large.quarantined_exposures("x", 1)
        large.append(IngestBatch(quarantined=[a_bad_event("{}")]))
        large.append(IngestBatch(replayed=[one.digest for one in large.quarantined()]))
        large.latest_verdict("x")
        large.verdict_history("x", 1, 30)
        large.verdict("x", 1, 1)
        large.verdict_outlines("x", 1, 30)
        large.verdict_turns("x", 1, 30)
        large.live_state()
        large.add_revision({}, "d", by="x", now=NOW)
        large.set_killed("x", killed=True, by="x", now=NOW)
        large.use_sign_in("x", now=NOW)
        large.session("x", now=NOW)
        large.revisions_since(NOW - timedelta(days=30))
        large.all_items()
        large.delete_person([], user_ids=["u1"], anonymous_ids=["a1"])

    asked = [
        s for s in seen if s[0].split()[0] in ("SELECT", "UPDATE", "DELETE") and "FROM event" not in s[0]
    ]
    assert len(asked) >= 15
    for statement in asked:
        told = plan(large, statement)
        scans = [line for line in told if line.startswith("SCAN") and not STEP.search(line)]
        assert not [line for line in scans if "CONSTANT ROW" not in line], statement
        assert not [line for line in told if "TEMP B-TREE" in line], statement


def test_a_person_is_looked_for_in_each_part_and_nothing_but_theirs_is_sorted(large: SqlStore) -> None:
    large.append(a_batch(an_event("e1")))
    with statements() as seen:
        large.recent_of_types("u:1", SHOPPING, 50)
        large.items_of_types("u:1", SHOPPING)
        large.activity("u:1")
        large.delete_person([], user_ids=["u1"], anonymous_ids=["a1"])

    told = [
        line
        for statement in seen
        if re.search("(FROM|,) (interaction|person_activity)", statement[0])
        for line in plan(large, statement)
        if line.startswith(("SCAN", "SEARCH"))
    ]
    searches = [line for line in told if not STEP.search(line)]
    assert len(told) - len(searches) >= 5 * 3
    assert len(searches) >= 6
    assert all("(tenant=? AND part=? AND person_id=?" in line for line in searches), searches


def test_pruning_finds_old_slates_by_their_time(large: SqlStore) -> None:
    with statements() as seen:
        large.prune(now=NOW, keep=Keep(), exported=0)

    plans = {line for statement in seen if "slate" in statement[0] for line in plan(large, statement)}
    assert "SEARCH slate USING INDEX slate_by_time (tenant=? AND created_us<?)" in plans
    assert not [line for line in plans if line.startswith("SCAN")]
