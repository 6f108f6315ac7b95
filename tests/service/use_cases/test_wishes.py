"""What people agreed to, put together for each event."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from service.catalog.rules import DataRules
from service.storage.migrate import migrate
from service.storage.records import Consent, IdentityLink, Purpose
from service.storage.sql import SqlStore
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import SERVER, Terms, take_in
from service.use_cases.wishes import DENIED, GRANTED, Wish, Wishes

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
AGREED = DataRules()
ASKED_FIRST = DataRules(unknown_consent=False)
ALL, NOTHING = Wish(True, True, True, True), Wish(False, False, False, False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    path = tmp_path / "opportune.db"
    migrate(f"sqlite:///{path}")
    opened = SqlStore(path)
    yield opened
    opened.close()


def decide(
    store: SqlStore, person_id: str, status: str, *purposes: Purpose, at: datetime = NOW, name: str = ""
) -> None:
    store.put_consents(
        [
            Consent(
                consent_id=name or f"{person_id} {purpose} {status} {at}",
                person_id=person_id,
                purpose=purpose,
                status=status,
                decided_at=at,
                received_at=at,
                text_version="1",
                source="api",
                trust="server",
                proof="",
            )
            for purpose in purposes
        ]
    )


def wish(store: SqlStore, *person_ids: str, rules: DataRules = AGREED) -> Wish:
    (found,) = Wishes().of(store, [person_ids], rules=rules, now=NOW)
    return found


@pytest.mark.parametrize(("rules", "expected"), [(AGREED, ALL), (ASKED_FIRST, NOTHING)])
def test_whoever_was_never_asked_is_treated_as_the_catalog_says(
    store: SqlStore, rules: DataRules, expected: Wish
) -> None:
    assert wish(store, "u:ana", "a:x", rules=rules) == expected

    decide(store, "u:bob", DENIED, *Purpose)
    assert wish(store, "u:ana", "a:x", rules=rules) == expected


@pytest.mark.parametrize(
    ("experiments", "personal", "training", "known"),
    list(product((GRANTED, DENIED, None), (GRANTED, DENIED, None), (GRANTED, DENIED, None), (True, False))),
)
def test_each_purpose_is_honoured_by_itself(
    store: SqlStore, experiments: str | None, personal: str | None, training: str | None, known: bool
) -> None:
    purposes = (Purpose.EXPERIMENTATION, Purpose.PERSONALIZATION, Purpose.MODEL_TRAINING)
    said = (experiments, personal, training)
    for purpose, status in zip(purposes, said, strict=True):
        if status:
            decide(store, "u:ana", status, purpose)

    found = wish(store, "u:ana", rules=DataRules(unknown_consent=known))

    count, use, learn = (known if one is None else one == GRANTED for one in said)
    assert found == Wish(count or use, count, use, use and learn)


def test_the_latest_decision_stands_in_any_order_of_arrival(store: SqlStore) -> None:
    later = NOW + timedelta(seconds=1)
    decide(store, "u:ana", GRANTED, Purpose.PERSONALIZATION, at=later)
    decide(store, "u:ana", DENIED, Purpose.PERSONALIZATION)
    decide(store, "u:bob", DENIED, Purpose.PERSONALIZATION, at=later)
    decide(store, "u:bob", GRANTED, Purpose.PERSONALIZATION)

    assert wish(store, "u:ana").personalize
    assert not wish(store, "u:bob").personalize


def test_of_two_decisions_at_once_the_refusal_stands(store: SqlStore) -> None:
    decide(store, "u:ana", DENIED, Purpose.PERSONALIZATION, name="1")
    decide(store, "u:ana", GRANTED, Purpose.PERSONALIZATION, name="2")

    assert not wish(store, "u:ana").personalize


def test_a_refusal_under_either_id_counts_and_a_grant_does_not_undo_it(store: SqlStore) -> None:
    decide(store, "a:x", DENIED, Purpose.EXPERIMENTATION)
    decide(store, "u:ana", GRANTED, Purpose.EXPERIMENTATION)

    assert not wish(store, "u:ana", "a:x").exposures
    assert wish(store, "u:ana").exposures


def test_a_grant_under_either_id_is_enough_where_one_is_needed(store: SqlStore) -> None:
    decide(store, "a:x", GRANTED, Purpose.EXPERIMENTATION)

    assert wish(store, "u:ana", "a:x", rules=ASKED_FIRST).exposures
    assert not wish(store, "u:ana", rules=ASKED_FIRST).exposures


def test_what_a_user_refused_holds_on_the_devices_and_accounts_of_that_user(store: SqlStore) -> None:
    decide(store, "u:ana", DENIED, Purpose.PERSONALIZATION)
    store.put_links(
        [
            IdentityLink(from_id=from_id, user_id="ana", linked_at=NOW, trust="server")
            for from_id in ("a:phone", "u:ana-old")
        ]
    )

    found = Wishes().of(
        store, [("a:phone",), ("u:ana-old",), ("a:other",), ("u:bob", "a:phone")], rules=AGREED, now=NOW
    )

    assert [one.personalize for one in found] == [False, False, True, True]


def test_on_a_shared_device_nobodys_refusal_silences_another_who_is_named(store: SqlStore) -> None:
    decide(store, "u:bob", DENIED, *Purpose)
    store.put_links(
        [
            IdentityLink(from_id="a:tablet", user_id=user_id, linked_at=NOW, trust="server")
            for user_id in ("ana", "bob")
        ]
    )

    assert wish(store, "u:ana", "a:tablet") == ALL
    assert wish(store, "u:bob", "a:tablet") == wish(store, "a:tablet") == NOTHING
    decide(store, "a:tablet", DENIED, Purpose.PERSONALIZATION)
    assert not wish(store, "u:ana", "a:tablet").personalize


def test_nobody_is_asked_about_until_somebody_decides_and_then_within_a_second(store: SqlStore) -> None:
    wishes = Wishes()
    assert wishes.of(store, [("u:ana",)], rules=AGREED, now=NOW) == [ALL]

    decide(store, "u:ana", DENIED, *Purpose)

    later = NOW + timedelta(seconds=1)
    assert wishes.of(store, [("u:ana",)], rules=AGREED, now=later) == [NOTHING]


def test_whoever_took_the_decision_heeds_it_at_once(store: SqlStore) -> None:
    wishes = Wishes()
    wishes.of(store, [("u:ana",)], rules=AGREED, now=NOW)
    decide(store, "u:ana", DENIED, *Purpose)

    wishes.heed()

    assert wishes.of(store, [("u:ana",)], rules=AGREED, now=NOW) == [NOTHING]


class SlowStore(SqlStore):
    """A store in which somebody decides between the look and the answer."""

    meanwhile: Callable[[], None] | None = None

    def has_consents(self) -> bool:
        """Look, and let happen what happens meanwhile."""
        anybody = super().has_consents()
        if self.meanwhile:
            self.meanwhile()
        return anybody


def test_a_look_from_before_a_decision_is_not_remembered_after_it(store: SqlStore, tmp_path: Path) -> None:
    slow, wishes = SlowStore(tmp_path / "opportune.db"), Wishes()

    def withdraw() -> None:
        decide(store, "u:ana", DENIED, *Purpose)
        wishes.heed()

    slow.meanwhile = withdraw
    wishes.of(slow, [("u:ana",)], rules=AGREED, now=NOW)
    slow.close()

    assert wishes.of(store, [("u:ana",)], rules=AGREED, now=NOW) == [NOTHING]


def test_a_clock_that_was_set_back_delays_nothing(store: SqlStore) -> None:
    wishes = Wishes()
    wishes.of(store, [("u:ana",)], rules=AGREED, now=NOW + timedelta(days=1))
    decide(store, "u:ana", DENIED, *Purpose)

    assert wishes.of(store, [("u:ana",)], rules=AGREED, now=NOW) == [NOTHING]


@pytest.mark.parametrize("refuser", ["u:old", "a:old"])
def test_an_alias_of_somebody_who_refused_is_not_stored(store: SqlStore, refuser: str) -> None:
    decide(store, refuser, DENIED, *Purpose)
    alias = {
        "event_id": "e1",
        "type": "User Aliased",
        "occurred_at": NOW.isoformat(),
        "user_id": "ana",
        "properties": {"previous_id": "old"},
    }
    terms = Terms(trust=SERVER, source="test", now=NOW)

    good, bad = (
        take_in(store, ExposureBook(), [one], terms=terms, wishes=Wishes())[0]
        for one in (alias, {**alias, "occurred_at": "yesterday"})
    )

    assert (good["status"], good["reason"]) == (bad["status"], bad["reason"]) == ("refused", "no_consent")


def test_no_events_need_no_answer(store: SqlStore) -> None:
    assert Wishes().of(store, [], rules=AGREED, now=NOW) == []
