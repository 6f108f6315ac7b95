"""Unmodified GrowthBook SDKs against a real server: what they decide is what OFREP answers."""

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from growthbook import GrowthBook

from service.storage.sql import open_store
from tests.clients.asking import expected
from tests.clients.catalog import ASKS, people
from tests.clients.kit import PAGES, Node, Tab, open_tab, serving, write_page
from tests.server import Server, until

PEOPLE = people(60)
FLAGS = [ask.flag for ask in ASKS]

pytestmark = pytest.mark.e2e


def through_ofrep(shop: Server, person: dict[str, Any]) -> list[tuple[Any, str | None]]:
    """Return value and, for who is enrolled, variant: what a GrowthBook SDK tells of a feature."""
    return [
        (value, variant if enrolled else None)
        for value, variant, _decision, enrolled, _revision in expected(shop, person)
    ]


def pairs(answers: list[dict[str, Any]]) -> list[tuple[Any, str | None]]:
    return [(answer["value"], answer["variant"]) for answer in answers]


def stored(shop: Server, person: str) -> list[tuple[str, dict[str, Any]]]:
    store = open_store(shop.settings)
    try:
        events = [logged.received.event for logged in store.read(0, 100_000)]
    finally:
        store.close()
    return [(e.type, dict(e.properties)) for e in events if e.anonymous_id == person]


def attributes_of(person: dict[str, Any]) -> dict[str, Any]:
    return {"anonymous_id" if name == "targetingKey" else name: value for name, value in person.items()}


def test_a_node_backend_decides_every_flag_of_every_person_as_the_server_does(
    shop: Server, node: Node
) -> None:
    answers = node("growthbook", url=shop.base_url, key=shop.client_key, flags=FLAGS, people=PEOPLE)

    for person, answer in zip(PEOPLE, answers, strict=True):
        assert pairs(answer) == through_ofrep(shop, person)


def test_remote_evaluation_hides_the_rules_and_answers_the_same(shop: Server, node: Node) -> None:
    some = [*PEOPLE[:12], PEOPLE[-1]]
    answers = node("growthbookRemote", url=shop.base_url, key=shop.client_key, flags=FLAGS, people=some)

    for person, answer in zip(some, answers, strict=True):
        assert pairs(answer) == through_ofrep(shop, person)


def test_a_python_backend_decides_every_flag_of_every_person_as_the_server_does(shop: Server) -> None:
    gb = GrowthBook(api_host=shop.base_url, client_key=shop.client_key)
    gb.load_features()

    for person in PEOPLE:
        gb.set_attributes(attributes_of(person))
        results = [gb.eval_feature(flag) for flag in FLAGS]

        assert [
            (
                r.value,
                r.experimentResult.key if r.experimentResult and r.experimentResult.inExperiment else None,
            )
            for r in results
        ] == through_ofrep(shop, person)
    gb.destroy()


@pytest.fixture
def tab(shop: Server, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    folder = tmp_path_factory.mktemp("page")
    page, _ = write_page(node, PAGES / "growthbook.js", folder, url=shop.base_url, key=shop.client_key)
    with serving(folder) as port:
        opened = open_tab(node, f"http://localhost:{port}/{page}")
        yield opened
        opened.close()


def test_a_browser_decides_every_flag_of_every_person_without_asking_again(shop: Server, tab: Tab) -> None:
    assert tab.call("start", PEOPLE[0], {"plugins": []}) == "network"

    for person in PEOPLE:
        tab.call("setPerson", person)
        assert pairs(tab.call("ask", FLAGS)) == through_ofrep(shop, person)
    assert [seen["status"] for seen in tab.wire("/api/features/")] == [200]


def test_a_browser_tells_exposures_and_conversions_and_they_are_stored_once(shop: Server, tab: Tab) -> None:
    person = {"targetingKey": str(uuid.uuid4()), "user_id": "maria", "country": "ES", "app_version": "5.3.0"}
    tab.call("start", person)
    shown = dict(zip(FLAGS, pairs(tab.call("ask", FLAGS)), strict=True))
    tab.call("ask", FLAGS)
    tab.call("log", "Order Completed", {"revenue": 34.5})
    enrolled = {flag: variant for flag, (_, variant) in shown.items() if variant is not None}
    assert len(enrolled) >= 4
    until(lambda: len(stored(shop, person["targetingKey"])) > len(enrolled))

    events = stored(shop, person["targetingKey"])
    assert Counter(name for name, _ in events) == {"Experiment Viewed": len(enrolled), "Order Completed": 1}
    told = {p["experiment_key"]: p["variant_key"] for name, p in events if name == "Experiment Viewed"}
    assert told == enrolled


def test_an_exposure_is_the_same_one_through_every_sdk(shop: Server, node: Node, tab: Tab) -> None:
    person = {"targetingKey": str(uuid.uuid4())}
    tab.call("start", person)
    tab.call("ask", ["hero"])
    until(lambda: len(stored(shop, person["targetingKey"])) == 1)
    node("growthbookTell", url=shop.base_url, key=shop.client_key, flag="hero", person=person)

    assert [name for name, _ in stored(shop, person["targetingKey"])] == ["Experiment Viewed", "Page Viewed"]


def test_a_killed_flag_changes_in_an_open_page_and_in_a_running_backend(
    shop: Server, node: Node, tab: Tab
) -> None:
    tab.call("start", PEOPLE[0], {"plugins": []})
    node("growthbookListen", url=shop.base_url, key=shop.client_key)
    assert tab.call("ask", ["kill-me"])[0]["value"] == "on air"
    assert node("growthbookHeard", flag="kill-me", person=PEOPLE[0]) == "on air"
    shop.post("/v1/flags/kill-me/kill", {}, key=shop.admin_key).raise_for_status()

    until(lambda: tab.call("ask", ["kill-me"])[0]["value"] == "off air")
    until(lambda: bool(node("growthbookHeard", flag="kill-me", person=PEOPLE[0]) == "off air"))
    node("growthbookHangUp")
