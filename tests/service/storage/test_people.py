"""Links, decisions and activity of persons, on every database."""

import re
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from service.storage.ports import IngestBatch, Store
from service.storage.records import Consent, IdentityLink, Purpose
from service.storage.sql import SqlStore
from tests.service.storage.facts import NOW, an_event
from tests.service.storage.test_plans import STEP, plan, statements

HOUR = timedelta(hours=1)


def a_link(from_id: str, user_id: str, *, hours: int = 0, trust: str = "server") -> IdentityLink:
    return IdentityLink(from_id=from_id, user_id=user_id, linked_at=NOW + hours * HOUR, trust=trust)


def a_consent(person_id: str, consent_id: str, status: str = "denied", *, hours: int = 0) -> Consent:
    return Consent(
        consent_id=consent_id,
        person_id=person_id,
        purpose=Purpose.PERSONALIZATION,
        status=status,
        decided_at=NOW + hours * HOUR,
        received_at=NOW,
        text_version="banner-1",
        source="api gpc",
        trust="server",
        proof="form 1 \u00fc",
    )


def test_of_a_link_the_earliest_time_stays_for_each_trust(store: Store) -> None:
    said = (
        a_link("a:x", "ana", hours=2),
        a_link("a:x", "ana", hours=1, trust="client"),
        a_link("a:x", "ana", hours=3),
        a_link("a:x", "ana", hours=4, trust="client"),
    )

    for number, order in enumerate(permutations(said)):
        mine = [replace(one, from_id=f"a:{number}") for one in order]
        if number % 2:
            store.put_links(mine)
        else:
            for place, one in enumerate(mine):
                event = an_event(f"e{number}-{place}")
                store.append(IngestBatch(events=[event], links=[[one]]))

        assert set(store.links_from([f"a:{number}"])) == {
            a_link(f"a:{number}", "ana", hours=1, trust="client"),
            a_link(f"a:{number}", "ana", hours=2),
        }


def test_links_are_found_from_either_end_and_by_trust(store: Store) -> None:
    links = [
        a_link("a:x", "ana", trust="client"),
        a_link("a:y", "ana"),
        a_link("u:old", "ana"),
        a_link("u:old", "bob"),
    ]
    store.put_links(links)

    def found(*some: IdentityLink) -> set[tuple[str, str]]:
        return {(one.from_id, one.user_id) for one in some}

    assert found(*store.links_to(["ana"])) == {("a:x", "ana"), ("a:y", "ana"), ("u:old", "ana")}
    assert found(*store.links_to(["ana"], trust="server")) == {("a:y", "ana"), ("u:old", "ana")}
    assert found(*store.links_from(["u:old", "a:x"])) == {("u:old", "ana"), ("u:old", "bob"), ("a:x", "ana")}
    assert found(*store.links_around(["a:x"], ["ana"])) == {("a:x", "ana"), ("u:old", "ana")}
    assert found(*store.links_around([], ["bob"])) == {("u:old", "bob")}
    assert store.links_around(["a:z"], []) == store.links_around([], []) == store.links_to([]) == []


def test_any_number_of_persons_can_be_asked_about(store: Store) -> None:
    names = [f"p{n}" for n in range(1_203)]
    store.put_consents([a_consent(f"u:{name}", "c") for name in names])
    store.put_links([a_link(f"a:{name}", name) for name in names[:7]])

    assert len(store.consents_of(f"u:{name}" for name in names)) == 1_203
    assert len(store.links_around([f"a:{name}" for name in names], names)) == 7


def test_decisions_are_only_ever_added(store: Store) -> None:
    assert not store.has_consents()
    granted = a_consent("u:ana", "c2", "granted", hours=1)

    assert store.put_consents([granted, a_consent("u:ana", "c1")]) == 2
    assert store.put_consents([a_consent("u:ana", "c1", "granted"), a_consent("u:bob", "c1")]) == 1

    assert store.has_consents()
    assert store.consents_of(["u:ana"]) == [a_consent("u:ana", "c1"), granted]
    assert store.consents_of(["u:nobody"]) == []


def test_nobody_is_looked_for_among_everybody(sqlite_store: SqlStore) -> None:
    with statements() as seen:
        sqlite_store.links_around(["a:x", "u:ana"], ["ana"])
        sqlite_store.links_from(["a:x"])
        sqlite_store.links_to(["ana"], trust="server")
        sqlite_store.links_to(["ana"])
        sqlite_store.consents_of(["u:ana"])
        sqlite_store.activity("u:ana")
        sqlite_store.delete_person(["u:ana"], user_ids=[], anonymous_ids=["x"])

    personal = [one for one in seen if re.search("FROM (identity_link|consent|person_activity)", one[0])]
    told = [line for statement in personal for line in plan(sqlite_store, statement)]
    searches = [line for line in told if line.startswith(("SCAN", "SEARCH")) and not STEP.search(line)]
    assert len(searches) == 11
    assert all(re.search(r"(person_id|from_id|user_id)=\?", line) for line in searches), searches


@pytest.mark.parametrize("batches", [1, 2])
def test_activity_is_a_sum_whatever_the_grouping(store: Store, batches: int) -> None:
    events = [an_event(f"e{n}", occurred_at=NOW + n * HOUR) for n in (2, 0, 1)]
    for start in range(batches):
        mine = events[start::batches]
        store.append(IngestBatch(events=mine, active=[["u:u1", "a:a1"]] * len(mine)))
    store.append(IngestBatch(events=events, active=[["u:u1"]] * 3))

    (seen,) = store.activity("u:u1")

    assert (seen.n, seen.first_at, seen.last_at) == (3, NOW, NOW + 2 * HOUR)
    assert [one.n for one in store.activity("a:a1")] == [3]
