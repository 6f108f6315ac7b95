"""The check itself: it sees whatever it is there to see."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.batches import STORED
from tests.faults.check import violations
from tests.faults.history import History, Operation, Outcome, Sent
from tests.faults.stored import Held, Stored, StoredEvent


def an_event(event_id: str, **other: Any) -> Sent:
    value = {
        "event_id": event_id,
        "type": "Product Viewed",
        "anonymous_id": "v",
        "properties": {"item_id": "tea"},
        **other,
    }
    return Sent(event_id=event_id, raw=json.dumps(value).encode(), expected=STORED)


GOOD, BAD = an_event("e1"), replace(an_event("bad"), expected=frozenset({"quarantined"}), kind="old")
ROW = StoredEvent(
    seq=1,
    event_id="e1",
    type="Product Viewed",
    user_id=None,
    anonymous_id="v",
    properties='{"item_id": "tea"}',
)
HELD = Held(event_id="bad", reason="too_old", body=BAD.raw.decode(), encoding=None)
FINE = Stored(events=[ROW], held=[HELD], interactions={"e1": 1}, activity={("a:v", "Product Viewed"): 1})


def a_history(
    *told: tuple[str, str], outcome: Outcome = Outcome.OK, status: int = 202, events: tuple[Sent, ...] = ()
) -> History:
    history = History(1, "sqlite")
    add(history, *told, outcome=outcome, status=status, events=events or (GOOD, BAD))
    return history


def add(history: History, *told: tuple[str, str], events: tuple[Sent, ...], **how: Any) -> Operation:
    operation = history.invoke("w0", "/v1/events", events)
    operation.told = told
    operation.outcome = how.get("outcome", Outcome.OK)
    operation.status = how.get("status", 202)
    return operation


TOLD = (("accepted", ""), ("quarantined", "too_old"))


def check(history: History, stored: Stored, *, settled: bool = True, clock_moved: bool = False) -> str:
    return "\n".join(violations(history, stored, settled=settled, clock_moved=clock_moved))


def test_a_history_that_is_as_promised_has_no_violations() -> None:
    assert check(a_history(*TOLD), FINE) == ""


@pytest.mark.parametrize(
    ("stored", "seen"),
    [
        (replace(FINE, events=[], interactions={}, activity={}), "lost: e1 was told accepted"),
        (replace(FINE, held=[]), "lost: bad (old) was told too_old"),
        (replace(FINE, events=[replace(ROW, user_id="u")]), "torn: links are not those of the events"),
        (replace(FINE, links=frozenset({("a:v", "u")})), "torn: links are not those of the events"),
        (replace(FINE, events=[ROW, replace(ROW, seq=2)]), "twice: e1 is stored 2 times"),
        (replace(FINE, held=[HELD, HELD]), "twice: 2 rows in quarantine"),
        (replace(FINE, events=[replace(ROW, user_id="thief")]), "invented: e1 is stored as nobody sent it"),
        (replace(FINE, events=[ROW, replace(ROW, event_id="x")]), "invented: x"),
        (replace(FINE, held=[HELD, replace(HELD, body="{}")]), "invented: quarantine holds"),
        (replace(FINE, interactions={}), "torn: e1 has 0 interactions"),
        (replace(FINE, interactions={"e1": 1, "x": 1}), "torn: interactions without their event x"),
        (replace(FINE, activity={}), "torn: activity is not that of the events"),
        (replace(FINE, integrity="row 7 missing"), "integrity: row 7 missing"),
        (replace(FINE, held=[HELD, replace(HELD, body=GOOD.raw.decode())]), "is in 2 places"),
    ],
)
def test_a_store_that_breaks_a_promise_is_seen(stored: Stored, seen: str) -> None:
    assert seen in check(a_history(*TOLD), stored)


def test_what_was_never_answered_has_its_place_only_if_it_was_sent_until_it_was() -> None:
    history = a_history(outcome=Outcome.UNKNOWN, status=503)

    assert check(history, Stored(), settled=False) == ""
    assert "is in 0 places" in check(history, Stored())


def test_a_batch_that_was_refused_for_good_leaves_nothing() -> None:
    history = a_history(outcome=Outcome.FAIL, status=0)

    assert check(history, Stored()) == ""
    assert "invented: e1" in check(history, FINE)


def test_nobody_is_told_twice_that_an_event_is_new() -> None:
    history = a_history(*TOLD)
    add(history, ("accepted", ""), events=(GOOD,))

    assert check(history, FINE) == "twice: e1 was told accepted 2 times"


def test_a_duplicate_was_sent_before() -> None:
    first_time = a_history(("duplicate", ""), events=(GOOD,))
    again = a_history(events=(GOOD,), outcome=Outcome.UNKNOWN, status=503)
    add(again, ("duplicate", ""), events=(GOOD,))
    stored = replace(FINE, held=[])

    assert "no duplicate: e1 was sent once" in check(first_time, stored)
    assert check(again, stored) == ""


@pytest.mark.parametrize("status", [400, 413, 500])
def test_an_answer_of_another_kind_is_seen(status: int) -> None:
    assert f"status {status}" in check(a_history(outcome=Outcome.FAIL, status=status), Stored())


def test_a_good_event_in_quarantine_is_seen_unless_the_clock_was_wrong() -> None:
    history = a_history(("quarantined", "in_future"), events=(GOOD,))
    held = Held(event_id="e1", reason="in_future", body=GOOD.raw.decode(), encoding=None)

    assert "good event told quarantined in_future" in check(history, Stored(held=[held]))
    assert check(history, Stored(held=[held]), clock_moved=True) == ""


def test_an_operation_that_never_ended_is_seen() -> None:
    assert "never ended" in check(a_history(outcome=Outcome.INVOKED, status=0), Stored(), settled=False)


def test_a_history_is_kept_as_lines_of_json(tmp_path: Path) -> None:
    history = a_history(*TOLD)
    with history.blow("kill workers", interrupts=False) as blow:
        blow.note = "2 workers"

    history.keep(tmp_path / "kept" / "history.jsonl", ["lost: e1"])

    head, fault, operation = map(json.loads, (tmp_path / "kept" / "history.jsonl").read_text().splitlines())
    assert head == {"database": "sqlite", "seed": 1, "violations": ["lost: e1"]}
    assert fault["note"] == "2 workers"
    assert operation["events"][0]["raw"] == GOOD.raw.decode()
    assert operation["told"][1] == ["quarantined", "too_old"]
