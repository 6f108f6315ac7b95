"""POST /v1/recommendations over a real store and a really trained model."""

import fcntl
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import create_engine, text

from service import settings as process_settings
from service.app import create_app
from service.storage.migrate import migrate
from service.storage.places import place_of
from service.storage.records import Event, Item
from service.storage.sql import SqlStore
from service.storage.sqlite import lock_path
from service.use_cases.access import sign_person_token
from service.use_cases.models import ModelHolder
from service.use_cases.services import Services
from service.use_cases.slates import SlateKeeper
from tests.service.recommend.kit import KEYS, NOW, Shop, an_item, an_order, open_shop, put

SERVER = {"Authorization": f"Bearer {KEYS['OPPORTUNE_SERVER_KEY']}"}
CLIENT = {"Authorization": f"Bearer {KEYS['OPPORTUNE_CLIENT_KEY']}"}
GUESSED = "maria"


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


def ids(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def ranges(slate: dict[str, Any]) -> list[int]:
    return [int(i[5:8]) // 12 for i in ids(slate)]


def test_a_slate_has_the_shape_of_the_contract(client: FlaskClient, trained: Shop) -> None:
    slate = ask(client, user_id="0001", placement="home")

    assert set(slate) == {"slate_id", "model", "reason", "items"}
    assert slate["model"] == trained.report.version
    assert slate["reason"] == "model"
    assert [item["rank"] for item in slate["items"]] == [1, 2, 3, 4, 5, 6]
    for item in slate["items"]:
        assert set(item) == {"item_id", "rank", "score", "propensity", "reasons", "fields"}
        assert item["propensity"] == 1.0
        assert item["reasons"][0]["reason"] == "history"
        assert set(item["fields"]) == {"title", "price"}


def test_a_purchase_made_a_moment_ago_changes_the_next_answer(
    services: Services, client: FlaskClient
) -> None:
    before = ask(client, user_id="new-person", k=6)
    put(services.store, an_order("o-new", "new-person", ["item-040", "item-041"], NOW))

    after = ask(client, user_id="new-person", k=6)

    assert before["reason"] == "popular"
    assert after["reason"] == "model"
    assert ranges(after).count(3) >= 5


def test_discovery_never_shows_what_was_bought_and_buy_again_shows_nothing_else(
    services: Services, client: FlaskClient
) -> None:
    put(services.store, an_order("o-1", "p", ["item-001", "item-002"], NOW - timedelta(days=200)))
    put(services.store, an_order("o-2", "p", ["item-003"], NOW))

    everything = ask(client, user_id="p", recommender="discovery", k=100)
    again = ask(client, user_id="p", placement="reorder")

    bought = {"item-001", "item-002", "item-003"}
    assert len(everything["items"]) == 72 - 3
    assert not bought & set(ids(everything))
    assert set(ids(again)) == bought


def test_filters_and_exclusions_are_exact_and_the_slate_is_full(client: FlaskClient) -> None:
    slate = ask(
        client,
        user_id="0001",
        k=9,
        filters={"category": ["range-2"]},
        exclude=["item-024", "item-025", "item-026"],
        fields=["title", "colour"],
    )

    assert set(ranges(slate)) == {2}
    assert len(slate["items"]) == 9
    assert not {"item-024", "item-025", "item-026"} & set(ids(slate))
    assert {frozenset(item["fields"]) for item in slate["items"]} == {frozenset({"title"})}


def test_seed_items_steer_the_slate_and_are_not_in_it(client: FlaskClient) -> None:
    slate = ask(client, CLIENT, seed_items=["item-060"], k=5)

    assert slate["reason"] == "model"
    assert set(ranges(slate)) == {5}
    assert "item-060" not in ids(slate)
    assert slate["items"][0]["reasons"] == [{"reason": "seed", "item_id": "item-060"}]


def test_a_client_key_with_a_guessable_id_gets_the_answer_for_everyone(client: FlaskClient) -> None:
    named = ask(client, CLIENT, user_id="0001", k=6)
    nobody = ask(client, CLIENT, anonymous_id=GUESSED, k=6)

    assert named["reason"] == nobody["reason"] == "popular"
    assert ids(named) == ids(nobody)
    assert all(item["reasons"] == [{"reason": "popular"}] for item in named["items"])


@pytest.mark.parametrize("where", ["body", "header"])
def test_a_client_key_with_a_person_token_gets_the_personal_answer(
    services: Services, client: FlaskClient, where: str
) -> None:
    expires = services.clock() + timedelta(minutes=5)
    token = sign_person_token(KEYS["OPPORTUNE_SIGNING_SECRET"], subject="u:0001", expires_at=expires)
    body = {"person_token": token} if where == "body" else {}
    headers = {**CLIENT, "X-Person-Token": token} if where == "header" else CLIENT

    assert ask(client, headers, user_id="0001", k=6, **body)["reason"] == "model"
    assert ask(client, headers, user_id="0002", k=6, **body)["reason"] == "popular"


def test_bestsellers_are_ranked_by_how_many_people_had_them(client: FlaskClient, services: Services) -> None:
    slate = ask(client, user_id="0001", recommender="bestsellers", k=3)
    loaded = services.models.current

    assert loaded is not None
    assert slate["reason"] == "popular"
    best = sorted(zip(-loaded.model.popularity, loaded.model.item_ids.tolist(), strict=True))[:3]
    assert ids(slate) == [raw.decode() for _, raw in best]


def test_the_slate_is_on_record_with_its_propensities(services: Services, client: FlaskClient) -> None:
    slate = ask(client, user_id="0001", placement="home")

    engine = create_engine(services.settings.database_url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM slate")).mappings().all()
    engine.dispose()
    assert [row["slate_id"] for row in rows] == [slate["slate_id"]]
    assert rows[0]["person_id"] == "u:0001"
    assert rows[0]["placement"] == "home"
    assert '"propensity":1.0' in rows[0]["items"]


def test_an_inactive_item_is_not_shown_and_a_new_one_can_be(services: Services, client: FlaskClient) -> None:
    popular = ids(ask(client, k=1))[0]
    items = [
        {"item_id": popular, "active": False, "categories": ["range-0"]},
        {"item_id": "brand-new", "categories": ["novelties"], "fields": {"title": "New"}},
    ]

    answer = client.post("/v1/items", json={"items": items}, headers=SERVER)

    assert answer.get_json() == {"stored": 2}
    while popular in ids(ask(client, k=100)):
        time.sleep(0.01)
    assert popular not in ids(ask(client, k=100))
    assert ids(ask(client, k=5, filters={"category": ["novelties"]})) == ["brand-new"]
    ranked = ask(client, user_id="0001", k=100)["items"]
    lowest = min(item["score"] for item in ranked)
    assert [i["score"] for i in ranked if i["item_id"] == "brand-new"] == [lowest]
    assert any(item == an_item("item-000") for item in services.store.all_items())


def test_without_a_model_the_page_still_gets_an_answer(services: Services, client: FlaskClient) -> None:
    services.models.refresh("")

    slate = ask(client, user_id="0001", k=3)

    assert slate["reason"] == "popular"
    assert slate["model"] == ""
    assert len(slate["items"]) == 3


def test_history_of_a_user_and_of_the_browser_are_one(services: Services, client: FlaskClient) -> None:
    put(services.store, an_order("o-3", "both", ["item-013"], NOW))

    slate = ask(client, user_id="both", anonymous_id="b" * 32, recommender="buy-again")

    assert ids(slate) == ["item-013"]


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"placement": "nowhere"}, 404, "unknown_placement", None),
        ({"recommender": "nobody"}, 422, "invalid_body", "/recommender"),
        ({"k": 0}, 422, "invalid_body", "/k"),
        ({"k": True}, 422, "invalid_body", "/k"),
        ({"k": 101}, 422, "invalid_body", "/k"),
        ({"filters": {"category": "tea"}}, 422, "invalid_body", "/filters/category"),
        ({"filters": {"price": [1.5]}}, 422, "invalid_body", "/filters/price"),
        ({"filters": []}, 422, "invalid_body", "/filters"),
        ({"exclude": [1]}, 422, "invalid_body", "/exclude/0"),
        ({"typo": 1}, 422, "invalid_body", "/typo"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    client: FlaskClient, body: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    answer = client.post("/v1/recommendations", json=body, headers=SERVER)

    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code)
    if pointer:
        assert [e["pointer"] for e in problem["errors"]] == [pointer]


def test_items_need_a_server_key_and_different_ids(client: FlaskClient) -> None:
    one = {"items": [{"item_id": "a"}]}
    twice = {"items": [{"item_id": "a"}, {"item_id": "a"}]}

    assert client.post("/v1/items", json=one, headers=CLIENT).status_code == 403
    assert client.post("/v1/items", json=twice, headers=SERVER).status_code == 422


def test_items_that_others_stored_are_seen_after_a_moment(services: Services, client: FlaskClient) -> None:
    ask(client, k=1)
    services.store.put_items([Item(item_id="late", categories=("late",))])

    services.models.read_items(services.store)

    assert ids(ask(client, k=1, filters={"category": ["late"]})) == ["late"]


def views(n: int, **person: str) -> list[Event]:
    return [
        Event(
            event_id=f"view-{person}-{i}",
            type="Product Viewed",
            occurred_at=NOW + timedelta(seconds=i),
            properties={"item_id": "item-001"},
            **person,
        )
        for i in range(n)
    ]


def test_what_was_bought_stays_hidden_and_known_after_any_number_of_views(
    services: Services, client: FlaskClient
) -> None:
    put(services.store, an_order("o-1", "viewer", ["item-013", "item-014"], NOW - timedelta(days=6)))
    before = ask(client, user_id="viewer", placement="home", k=100)
    put(services.store, *views(6_000, user_id="viewer"))

    after = ask(client, user_id="viewer", placement="home", k=100)

    assert not {"item-013", "item-014"} & set(ids(after))
    assert after["reason"] == "model"
    assert after["items"] == before["items"]
    assert set(ids(ask(client, user_id="viewer", placement="reorder"))) == {"item-013", "item-014"}


def test_more_purchases_than_taste_looks_at_stay_hidden(services: Services, client: FlaskClient) -> None:
    old = an_order("o-old", "whale", ["item-013"], NOW - timedelta(days=30))
    put(services.store, old)
    put(services.store, *(an_order(f"o-{n}", "whale", ["item-014"], NOW) for n in range(600)))

    slate = ask(client, user_id="whale", placement="home", k=100)

    assert not {"item-013", "item-014"} & set(ids(slate))


def test_a_stuck_writer_costs_the_slate_id_and_not_the_answer(
    services: Services, client: FlaskClient
) -> None:
    store = services.store
    assert isinstance(store, SqlStore)
    hurried = create_app(replace(services, slates=SlateKeeper(patience_s=0.01))).test_client()
    with lock_path(Path(str(store.place))).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        slates = [ask(hurried, user_id="0001", k=3) for _ in range(3)]

    assert [slate["slate_id"] for slate in slates] == [None] * 3
    assert [len(slate["items"]) for slate in slates] == [3] * 3
    assert services.meters.totals()["slates_not_stored", "model"] == 3
    assert ask(client, k=1)["slate_id"] is not None


class CountingStore(SqlStore):
    """The store, which also counts how often all items are read."""

    n_reads = 0

    def all_items(self) -> Sequence[Item]:
        self.n_reads += 1
        return super().all_items()


def test_an_upload_of_many_batches_reads_no_items_until_it_has_come_to_rest(tmp_path: Path) -> None:
    settings = process_settings.load({"OPPORTUNE_HOME": str(tmp_path)})
    migrate(settings.database_url)
    store = CountingStore(place_of(settings.database_url))
    patient = ModelHolder(tmp_path / "models", settle_s=3_600)
    others = [thread for thread in threading.enumerate() if thread.name == "items"]

    for n in range(50):
        store.put_items([Item(item_id=f"late-{n}")])
        patient.items_changed(store)

    assert store.n_reads == 0
    waiting = [thread for thread in threading.enumerate() if thread.name == "items"]
    assert len(set(waiting) - set(others)) == 1
    ModelHolder(tmp_path / "models", settle_s=0).items_changed(store)
    while store.n_reads == 0:
        time.sleep(0.01)
    store.close()
