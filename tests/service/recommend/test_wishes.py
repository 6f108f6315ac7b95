"""Slates and training keep to what people agreed to, over a real store and a really trained model."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from service import settings as process_settings
from service.lake import export_all, read_interactions
from service.storage.interactions import interactions_of
from service.storage.ports import IngestBatch
from service.storage.records import IdentityLink, ReceivedEvent
from service.use_cases.launch import apply
from service.use_cases.services import Services
from service.use_cases.train import read_material
from tests.service.recommend.kit import CATALOG, KEYS, NOW, Shop, an_order, no_progress, open_shop, put

SERVER = {"Authorization": f"Bearer {KEYS['OPPORTUNE_SERVER_KEY']}"}
CLIENT = {"Authorization": f"Bearer {KEYS['OPPORTUNE_CLIENT_KEY']}"}
BROWSER = "0f8fad5b-d9cb-469f-a165-70867728950e"
OLD_BROWSER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
KNOWN = "0001"


@pytest.fixture
def opened(trained: Shop, tmp_path: Path) -> Iterator[tuple[Services, FlaskClient]]:
    home = tmp_path / "home"
    shutil.copytree(trained.settings.home, home)
    with open_shop(process_settings.load({"OPPORTUNE_HOME": str(home), **KEYS})) as both:
        yield both


@pytest.fixture
def services(opened: tuple[Services, FlaskClient]) -> Services:
    return opened[0]


@pytest.fixture
def client(opened: tuple[Services, FlaskClient]) -> FlaskClient:
    return opened[1]


def ask(client: FlaskClient, headers: dict[str, str] = SERVER, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/recommendations", json=body, headers=headers)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def say(client: FlaskClient, status: str, purpose: str = "personalization", **who: str) -> None:
    body = {"decisions": [{"purpose": purpose, "status": status}], "text_version": "1", **who}
    assert client.post("/v1/consent", json=body, headers=SERVER).status_code == 200


def link(
    services: Services, anonymous_id: str, user_id: str, *, trust: str = "server", hours: int = 0
) -> None:
    at = NOW + timedelta(hours=hours)
    links = [IdentityLink(from_id=f"a:{anonymous_id}", user_id=user_id, linked_at=at, trust=trust)]
    services.store.put_links(links)


def bought(services: Services, anonymous_id: str, item: str) -> None:
    an_event = an_order(f"o-{anonymous_id}-{item}", "nobody", [item], NOW)
    visit = type(an_event)(
        event_id=an_event.event_id,
        type=an_event.type,
        anonymous_id=anonymous_id,
        occurred_at=an_event.occurred_at,
        properties=an_event.properties,
    )
    put(services.store, visit)


@contextmanager
def reads_of(table: str) -> Iterator[list[str]]:
    """Collect the statements that name a table."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, sql: str, *_rest: object) -> None:
        if f"FROM {table}" in sql:
            seen.append(sql)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_after_a_refusal_the_next_answer_is_everybodys_and_no_history_is_read(client: FlaskClient) -> None:
    assert ask(client, user_id=KNOWN, k=6)["reason"] == "model"

    say(client, "denied", user_id=KNOWN)

    with reads_of("interaction") as seen:
        refused = ask(client, user_id=KNOWN, k=6)
    assert refused["reason"] == "popular"
    assert refused["items"] == ask(client, user_id="stranger", k=6)["items"]
    assert seen == []
    say(client, "granted", user_id=KNOWN)
    assert ask(client, user_id=KNOWN, k=6)["reason"] == "model"


def test_who_refuses_training_alone_still_gets_a_personal_answer(client: FlaskClient) -> None:
    say(client, "denied", "model_training", user_id=KNOWN)

    assert ask(client, user_id=KNOWN, k=6)["reason"] == "model"


def test_a_slate_for_somebody_who_refused_is_on_record_for_nobody(
    services: Services, client: FlaskClient
) -> None:
    say(client, "denied", user_id=KNOWN)
    ask(client, user_id=KNOWN, k=1)

    assert services.store.delete_person([f"u:{KNOWN}"], user_ids=[], anonymous_ids=[])["slate"] == 0


@pytest.mark.parametrize("header", ["Sec-GPC", "DNT"])
def test_an_opt_out_signal_gets_the_answer_for_everybody(
    services: Services, client: FlaskClient, header: str
) -> None:
    assert ask(client, {**SERVER, header: "0"}, user_id=KNOWN)["reason"] == "model"
    assert ask(client, {**SERVER, header: "1"}, user_id=KNOWN)["reason"] == "popular"

    files = {**CATALOG, "data.yaml": "data: {opt_out_signals: record}\n"}
    apply(services.store, files, by="test", now=services.clock())
    services.snapshots.refresh()
    assert ask(client, {**SERVER, header: "1"}, user_id=KNOWN)["reason"] == "model"


def test_where_a_yes_is_needed_nobody_is_known_before_it(services: Services, client: FlaskClient) -> None:
    files = {**CATALOG, "data.yaml": "data: {unknown_consent: denied}\n"}
    apply(services.store, files, by="test", now=services.clock())
    services.snapshots.refresh()

    assert ask(client, user_id=KNOWN)["reason"] == "popular"
    say(client, "granted", user_id=KNOWN)
    assert ask(client, user_id=KNOWN)["reason"] == "model"


def test_a_user_is_known_by_what_was_done_on_linked_devices(services: Services, client: FlaskClient) -> None:
    bought(services, BROWSER, "item-013")
    assert ask(client, user_id="ana", recommender="buy-again")["items"] == []

    link(services, BROWSER, "ana")

    slate = ask(client, user_id="ana", recommender="buy-again")
    assert [one["item_id"] for one in slate["items"]] == ["item-013"]


def test_a_link_that_only_a_browser_said_opens_no_history(services: Services, client: FlaskClient) -> None:
    bought(services, BROWSER, "item-013")
    link(services, BROWSER, "thief", trust="client")

    assert ask(client, user_id="thief", recommender="buy-again")["items"] == []


def test_a_shared_device_speaks_for_its_first_user_only(services: Services, client: FlaskClient) -> None:
    bought(services, BROWSER, "item-013")
    link(services, BROWSER, "bob", hours=2)
    link(services, BROWSER, "ana", hours=1)

    assert len(ask(client, user_id="ana", recommender="buy-again")["items"]) == 1
    assert ask(client, user_id="bob", recommender="buy-again")["items"] == []


def test_what_a_refuser_did_on_a_shared_device_is_not_shown_to_the_next_user(
    services: Services, client: FlaskClient
) -> None:
    bought(services, BROWSER, "item-013")
    link(services, BROWSER, "ana")
    asked: dict[str, Any] = {"user_id": "bob", "anonymous_id": BROWSER, "recommender": "buy-again"}
    assert len(ask(client, SERVER, **asked)["items"]) == 1

    say(client, "denied", user_id="ana")

    assert ask(client, SERVER, **asked)["items"] == []


def test_a_device_that_refused_is_left_out_and_the_others_count(
    services: Services, client: FlaskClient
) -> None:
    bought(services, BROWSER, "item-013")
    bought(services, OLD_BROWSER, "item-014")
    link(services, BROWSER, "ana")
    link(services, OLD_BROWSER, "ana")

    say(client, "denied", anonymous_id=OLD_BROWSER)

    slate = ask(client, user_id="ana", recommender="buy-again")
    assert [one["item_id"] for one in slate["items"]] == ["item-013"]
    assert ask(client, CLIENT, anonymous_id=OLD_BROWSER)["reason"] == "popular"


def test_training_leaves_out_who_refused_since(services: Services, client: FlaskClient) -> None:
    say(client, "denied", "model_training", user_id="0001")
    say(client, "denied", user_id="0002")

    material = read_material(services.settings, services.store, now=NOW, progress=no_progress)

    learned = set(material.interactions.user_ids)
    assert material.facts["data"]["refused"] == 2
    assert {"u:0001", "u:0002"}.isdisjoint(learned)
    assert "u:0003" in learned


def test_training_heeds_what_a_device_of_the_event_refused_since(
    services: Services, client: FlaskClient
) -> None:
    put(services.store, replace(an_order("o-1", "ana", ["item-013"], NOW), anonymous_id=BROWSER))
    put(services.store, replace(an_order("o-2", "ana", ["item-014"], NOW), anonymous_id=OLD_BROWSER))
    say(client, "denied", "model_training", anonymous_id=BROWSER)

    table = read_material(services.settings, services.store, now=NOW, progress=no_progress)

    learned = table.interactions
    mine = learned.user_index == list(learned.user_ids).index("u:ana")
    assert [str(learned.item_ids[n]) for n in learned.item_index[mine]] == ["item-014"]


def test_a_yes_under_the_device_of_an_event_lets_it_be_learned_where_one_is_needed(
    services: Services, client: FlaskClient
) -> None:
    files = {**CATALOG, "data.yaml": "data: {unknown_consent: denied}\n"}
    apply(services.store, files, by="test", now=services.clock())
    put(services.store, replace(an_order("o-1", "ana", ["item-013"], NOW), anonymous_id=BROWSER))
    put(services.store, an_order("o-2", "bob", ["item-013"], NOW))
    for purpose in ("personalization", "model_training"):
        say(client, "granted", purpose, anonymous_id=BROWSER)

    material = read_material(services.settings, services.store, now=NOW, progress=no_progress)

    assert list(material.interactions.user_ids) == ["u:ana"]


@pytest.mark.parametrize(
    ("privacy", "learned"),
    [("", 1), ("gpc", 1), ("no_training", 0), ("gpc no_personalization no_training", 0)],
)
def test_what_is_marked_never_becomes_an_interaction_of_the_lake(
    services: Services, privacy: str, learned: int
) -> None:
    order = an_order("o-marked", "zoe", ["item-013"], NOW)
    received = ReceivedEvent(event=order, received_at=NOW, source="test", trust="server", privacy=privacy)
    services.store.append(IngestBatch(events=[received], interactions=[interactions_of(order)]))
    export_all(services.store, services.settings.home / "lake")

    found = read_interactions(services.settings.home / "lake")["person_id"].to_pylist()

    assert found.count("u:zoe") == learned
