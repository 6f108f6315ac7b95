"""Whose ids belong together: the same for every order in which the links came."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.storage.migrate import migrate
from service.storage.records import Event, IdentityLink
from service.storage.sql import SqlStore
from service.use_cases import identity
from service.use_cases.identity import (
    accounts_of,
    also_known_as,
    concerned,
    known_as,
    links_of,
    merged,
    user_of,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECRET_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def an_event(kind: str = "Page Viewed", **members: object) -> Event:
    return Event(event_id="e", type=kind, occurred_at=NOW, **members)  # type: ignore[arg-type]


def a_link(from_id: str, user_id: str, *, at: int = 0, trust: str = "server") -> IdentityLink:
    moment = NOW + timedelta(hours=at)
    return IdentityLink(from_id=from_id, user_id=user_id, linked_at=moment, trust=trust)


def pairs(links: Iterable[IdentityLink]) -> list[tuple[str, str, str]]:
    return [(one.from_id, one.user_id, one.trust) for one in links]


@pytest.fixture
def store(tmp_path: Path) -> Iterable[SqlStore]:
    path = tmp_path / "opportune.db"
    migrate(f"sqlite:///{path}")
    opened = SqlStore(path)
    yield opened
    opened.close()


def test_an_event_with_two_ids_is_a_link_and_one_with_one_is_none() -> None:
    assert pairs(links_of(an_event(user_id="ana", anonymous_id="x"), "client")) == [("a:x", "ana", "client")]
    assert links_of(an_event(user_id="ana"), "server") == []
    assert links_of(an_event(anonymous_id="x"), "server") == []


def test_an_alias_merges_accounts_on_a_servers_word_only() -> None:
    alias = an_event("User Aliased", user_id="ana", properties={"previous_id": "old"})

    assert pairs(links_of(alias, "server")) == [("a:old", "ana", "server"), ("u:old", "ana", "server")]
    assert pairs(links_of(alias, "client")) == [("a:old", "ana", "client")]


@pytest.mark.parametrize("previous", [None, 7, "", "a\u202eb", "x" * 129])
def test_an_alias_of_no_usable_id_links_nothing(previous: object) -> None:
    alias = an_event("User Aliased", user_id="ana", properties={"previous_id": previous})

    assert links_of(alias, "server") == []


def test_an_alias_concerns_whom_it_replaces_as_an_account_and_as_a_device() -> None:
    alias = an_event("User Aliased", user_id="ana", anonymous_id="x", properties={"previous_id": "old"})

    assert concerned(alias) == ("u:ana", "a:x", "u:old", "a:old")
    assert concerned(replace(alias, type="Page Viewed")) == ("u:ana", "a:x")


def test_an_account_is_not_merged_with_itself() -> None:
    alias = an_event("User Aliased", user_id="ana", properties={"previous_id": "ana"})

    assert pairs(links_of(alias, "server")) == [("a:ana", "ana", "server")]


NAMES = st.sampled_from(["ana", "bob", "eve", "old", "new"])
LINKS = st.lists(
    st.builds(
        a_link,
        st.one_of(NAMES.map("u:{}".format), st.sampled_from(["a:x", "a:y"])),
        NAMES,
        at=st.integers(0, 3),
        trust=st.sampled_from(["client", "server"]),
    ),
    max_size=12,
)


@given(links=LINKS, data=st.data())
def test_persons_do_not_depend_on_the_order_of_links(links: list[IdentityLink], data: st.DataObject) -> None:
    other = data.draw(st.permutations(links))

    def people(found: Sequence[IdentityLink]) -> object:
        accounts = [link for link in found if link.from_id.startswith("u:")]
        devices = [link for link in found if link.from_id == "a:x"]
        return merged(["ana"], accounts), user_of(devices)

    assert people(links) == people(other)


@settings(max_examples=25, deadline=None)
@given(links=LINKS, data=st.data())
def test_the_store_gives_the_same_persons_for_every_order_and_repetition(
    links: list[IdentityLink], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = [*data.draw(st.permutations(links)), *links[:3]]
    found = []
    for delivered in (links, again):
        path = tmp_path_factory.mktemp("links") / "opportune.db"
        migrate(f"sqlite:///{path}")
        store = SqlStore(path)
        for link in delivered:
            store.put_links([link])
        persons = ["a:x", "a:y", "u:ana", "u:old"]
        found.append(
            ([known_as(store, user) for user in ("ana", "bob", "old")], also_known_as(store, persons))
        )
        store.close()

    assert found[0] == found[1]


def test_a_shared_device_is_its_first_users_and_merges_nobody(store: SqlStore) -> None:
    store.put_links(
        [
            a_link("a:tablet", "bob", at=2),
            a_link("a:tablet", "ana", at=1),
            a_link("u:tablet", "bob", at=2),
            a_link("u:tablet", "ana", at=1),
        ]
    )

    assert known_as(store, "ana").anonymous_ids == ("tablet",)
    assert known_as(store, "bob") == (("bob",), ())
    assert "bob" not in known_as(store, "ana").user_ids


def test_merged_accounts_are_one_person_whichever_is_asked(store: SqlStore) -> None:
    store.put_links(
        [a_link("u:a1", "a2"), a_link("u:a2", "a3"), a_link("a:phone", "a1"), a_link("a:pc", "a3")]
    )

    assert known_as(store, "a1") == (("a1", "a2", "a3"), ("pc", "phone"))
    assert known_as(store, "a1") == known_as(store, "a3")
    assert accounts_of(store, ["a2", "zoe"]) == {"a1", "a2", "a3", "zoe"}


def test_a_chain_of_any_length_is_one_person_seen_from_everywhere(store: SqlStore) -> None:
    store.put_links([a_link(f"u:u{n}", f"u{n + 1}", at=n) for n in range(30)])
    everybody = {f"u{n}" for n in range(31)}

    for asked in (["u0"], ["u15"], ["u30"], ["u30", "bob"], ["u3", "u27"]):
        assert accounts_of(store, asked) >= everybody
        assert set(also_known_as(store, [f"u:{asked[0]}"])[f"u:{asked[0]}"]) == {
            f"u:{one}" for one in everybody - {asked[0]}
        }


def test_there_is_an_end_to_following_accounts_and_it_is_said(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "MOST_ACCOUNTS", 3)
    store.put_links([a_link(f"u:u{n}", f"u{n + 1}", at=n) for n in range(30)])

    with capture_logs() as told:
        found = accounts_of(store, ["u0"])

    assert found == {"u0", "u1", "u2", "u3", "u4"}
    assert [line["event"] for line in told] == ["too_many_merged_accounts"]


def test_a_client_key_merges_no_accounts_whatever_their_names(store: SqlStore) -> None:
    store.put_links([a_link(f"u:{SECRET_ID}", "thief", trust="client")])

    assert accounts_of(store, [SECRET_ID]) == {SECRET_ID}


def test_accounts_merged_in_a_circle_come_to_an_end(store: SqlStore) -> None:
    store.put_links([a_link("u:a", "b"), a_link("u:b", "c"), a_link("u:c", "a")])

    assert known_as(store, "b").user_ids == ("a", "b", "c")


def test_the_word_of_a_client_key_opens_no_history(store: SqlStore) -> None:
    store.put_links(
        [a_link("a:victim", "thief", trust="client"), a_link(f"a:{SECRET_ID}", "thief", trust="client")]
    )

    assert known_as(store, "thief").anonymous_ids == ()


def test_a_claim_of_a_client_key_takes_no_device_from_whom_a_server_named(store: SqlStore) -> None:
    store.put_links([a_link("a:phone", "thief", at=0, trust="client"), a_link("a:phone", "ana", at=1)])

    assert known_as(store, "ana").anonymous_ids == ("phone",)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_client_key_moves_no_date_that_a_server_vouched_for(store: SqlStore, first: str) -> None:
    said = [
        a_link("a:tablet", "ana", at=1),
        a_link("a:tablet", "bob", at=2),
        a_link("a:tablet", "bob", at=0, trust="client"),
    ]
    for link in sorted(said, key=lambda one: one.trust != first):
        store.put_links([link])

    assert known_as(store, "ana").anonymous_ids == ("tablet",)
    assert known_as(store, "bob").anonymous_ids == ()


def test_refusals_of_a_user_reach_devices_and_merged_accounts(store: SqlStore) -> None:
    store.put_links(
        [
            a_link(f"a:{SECRET_ID}", "ana", trust="client"),
            a_link("a:visitor-7", "ana", trust="client"),
            a_link("u:ana-old", "ana"),
        ]
    )

    found = also_known_as(store, [f"a:{SECRET_ID}", "a:visitor-7", "u:ana", "u:bob"])

    assert found == {
        f"a:{SECRET_ID}": ["u:ana", "u:ana-old"],
        "a:visitor-7": [],
        "u:ana": ["u:ana-old"],
        "u:bob": [],
    }
