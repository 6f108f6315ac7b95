"""What no parser takes is kept with care: whose it is, what they wish, and nothing that may not be kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.batches import Part, parts_of, whole_of
from service.errors import ProblemError
from service.settings import load
from service.storage.migrate import migrate
from service.storage.records import Consent, Purpose
from service.storage.sql import SqlStore, open_store
from service.use_cases.arrivals import Arrival
from service.use_cases.exposures import ExposureBook
from service.use_cases.ingest import SERVER, Terms, take_in
from service.use_cases.wishes import Wishes
from tests.service.use_cases.deliveries import NOW

LIMIT = 1 << 20
POISONS = [b'"n":9007199254740993', b'"n":NaN', b'"n":"\\u0000"', b'"n":1,"n":2', b'"n":"\xff"']


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    opened = open_store(settings)
    yield opened
    opened.close()


def take(store: SqlStore, *parts: Part) -> list[dict[str, Any]]:
    arrivals = [Arrival(part.value, part.original, part.problem) for part in parts]
    terms = Terms(trust=SERVER, source="segment", now=NOW)
    return take_in(store, ExposureBook(), arrivals, terms=terms, wishes=Wishes())


def refuse(store: SqlStore, person: str, *purposes: Purpose) -> None:
    store.put_consents(
        [
            Consent(
                consent_id="c1",
                person_id=person,
                purpose=purpose,
                status="denied",
                decided_at=NOW,
                received_at=NOW,
                text_version="1",
                source="consent",
                trust=SERVER,
                proof="",
            )
            for purpose in purposes
        ]
    )


@pytest.mark.parametrize("poison", POISONS)
def test_a_call_is_erased_with_its_person_and_holds_no_address_and_no_key(
    store: SqlStore, poison: bytes
) -> None:
    call = b'{"userId":"maria","context":{"ip":"10.1.2.3"},"writeKey":"ck_x","properties":{%s}}' % poison

    (told,) = take(store, whole_of(call, limit=LIMIT))

    assert (told["status"], told["reason"]) == ("quarantined", "malformed")
    (one,) = store.quarantined()
    if one.held.encoding == "utf-8":
        expected = call.replace(b'"10.1.2.3"', b"null").replace(b'"ck_x"', b"null")
        assert one.held.body == expected.decode()
    assert store.delete_person([], user_ids=["maria"], anonymous_ids=[])["quarantine"] == 1


@pytest.mark.parametrize(
    ("person", "named"),
    [
        ("u:maria", b'"userId":"maria"'),
        ("u:42", b'"userId":42'),
        ("a:a1", b'"anonymousId":"a1"'),
        ("a:a1", b'"device_id":"a1"'),
        ("a:a1", b'"context_json":{"anonymous_id":"a1"}'),
        ("u:maria", b'"userId":"maria","userId":"ana"'),
    ],
)
def test_who_refused_has_nothing_kept_whatever_it_is_called(
    store: SqlStore, person: str, named: bytes
) -> None:
    refuse(store, person, Purpose.EXPERIMENTATION, Purpose.PERSONALIZATION)
    _, parts = parts_of(b'[{%s,"n":NaN},{"a":1,%s}]' % (named, named), None, limit=LIMIT)

    told = take(store, *parts)

    assert {one["status"] for one in told} == {"refused"}
    assert store.quarantined() == []


@pytest.mark.parametrize("viewed", [b'"event":"Experiment Viewed"', b'"event_name":"$$experiment_viewed"'])
def test_who_is_in_no_experiment_has_no_unreadable_exposure_kept(store: SqlStore, viewed: bytes) -> None:
    refuse(store, "u:maria", Purpose.EXPERIMENTATION)

    calls = [b'{"userId":"maria",%s,"n":NaN}' % said for said in (viewed, b'"event":"Clicked"')]
    told = take(store, *(whole_of(call, limit=LIMIT) for call in calls))

    assert [one["status"] for one in told] == ["refused", "quarantined"]


def test_of_what_names_several_people_nothing_but_its_size_and_digest_is_kept(store: SqlStore) -> None:
    take(store, whole_of(b'{"userId":"maria","properties":{"user_id":"ana"},"n":NaN}', limit=LIMIT))

    (one,) = store.quarantined()
    assert one.held.body.startswith("57 bytes, sha256 ")


@pytest.mark.parametrize("body", [b"", b"[NaN]", b"NaN", b'{"n":NaN', b'{"n":NaN}{}', b"{" * 90_000])
def test_a_body_that_is_no_object_to_its_end_is_no_call(body: bytes) -> None:
    with pytest.raises(ProblemError) as refused:
        whole_of(body, limit=LIMIT)
    assert refused.value.status == 400
