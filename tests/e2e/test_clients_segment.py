"""Segment's unmodified libraries for Python, Node and the browser deliver to a real server."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.clock import utc_now
from service.storage.records import LoggedEvent, ReceivedEvent
from service.storage.sql import open_store
from tests.clients.docs import SHARED, write_snippets
from tests.clients.kit import PAGES, Node, Tab, open_tab, run_python, serving, write_page
from tests.server import Server, running_server, until, write_catalog

pytestmark = pytest.mark.e2e

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SHOP = {
    "data.yaml": "data: {client_revenue: allow}\n",
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n",
    "experiments/free-shipping.yaml": """\
experiment: free-shipping
variants: {control: "Delivery in three days", banner: "Free shipping over 30 EUR"}
metrics: {primary: purchase}
""",
}
PRODUCTS = [{"product_id": "tea", "quantity": 2, "price": 8.5}, {"product_id": "cup", "price": 12}]


def stored(shop: Server, *people: str) -> list[ReceivedEvent]:
    """Return what the log holds of anybody with one of these ids, in its order."""
    store = open_store(shop.settings)
    try:
        logged: list[LoggedEvent] = list(store.read(0, 100_000))
    finally:
        store.close()
    received = [one.received for one in logged]
    return [one for one in received if {one.event.user_id, one.event.anonymous_id} & set(people)]


def types(found: list[ReceivedEvent]) -> list[str]:
    return [one.event.type for one in found]


def interactions(shop: Server, person: str) -> set[tuple[str, str, float]]:
    store = open_store(shop.settings)
    try:
        found = store.recent_of_types(person, ("Checkout Started", "Order Completed", "Cart Viewed"), 100)
    finally:
        store.close()
    return {(one.event_type, one.item_id, one.quantity) for one in found}


@pytest.fixture
def person() -> str:
    return f"maria-{uuid.uuid4()}"


# --- Python


def python_calls(person: str) -> list[dict[str, Any]]:
    return [
        {"method": "identify", "with": {"user_id": person, "traits": {"plan": "gold"}}},
        {"method": "page", "with": {"user_id": person, "category": "Shop", "name": "Tea"}},
        {"method": "screen", "with": {"user_id": person, "name": "Basket"}},
        {"method": "group", "with": {"user_id": person, "group_id": 7, "traits": {"n": 3}}},
        {"method": "alias", "with": {"previous_id": f"old-{person}", "user_id": person}},
        {
            "method": "track",
            "with": {
                "user_id": person,
                "anonymous_id": f"a-{person}",
                "event": "Order Completed",
                "properties": {"revenue": 29, "currency": "EUR", "products": PRODUCTS},
                "context": {"ip": "192.0.2.7", "userAgent": BROWSER},
                "message_id": f"m-{person}",
            },
        },
    ]


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_the_python_library_delivers_every_kind_of_call(shop: Server, person: str, gzip: bool) -> None:
    asked = {"url": shop.base_url, "key": shop.server_key, "gzip": gzip, "retries": 2}

    failed = run_python("segment_client.py", {**asked, "calls": python_calls(person)})

    assert failed == []
    found = stored(shop, person)
    assert types(found) == [
        "User Identified",
        "Page Viewed",
        "Screen Viewed",
        "Group Joined",
        "User Aliased",
        "Order Completed",
    ]
    assert {(one.source, one.trust) for one in found} == {("segment", "server")}
    identified, page, _, group, aliased, order = (one.event for one in found)
    assert identified.properties == {"traits": {"plan": "gold"}}
    assert page.properties == {"name": "Tea", "category": "Shop"}
    assert group.properties == {"group_id": "7", "traits": {"n": 3}}
    assert aliased.properties == {"previous_id": f"old-{person}"}
    assert (order.event_id, order.anonymous_id) == (f"m-{person}", f"a-{person}")
    assert order.properties == {"revenue": 29, "currency": "EUR", "products": PRODUCTS}
    assert interactions(shop, f"u:{person}") == {
        ("Order Completed", "tea", 2.0),
        ("Order Completed", "cup", 1.0),
    }


def test_what_the_python_library_sends_again_is_stored_once(shop: Server, person: str) -> None:
    asked = {"url": shop.base_url, "key": shop.server_key, "gzip": True, "retries": 2}
    call = python_calls(person)[-1]

    for _ in range(2):
        assert run_python("segment_client.py", {**asked, "calls": [call, call]}) == []

    assert types(stored(shop, person)) == ["Order Completed"]


def test_the_python_library_hears_of_a_wrong_key_at_once(shop: Server, person: str) -> None:
    asked = {"url": shop.base_url, "key": "sk_unknown", "gzip": False, "retries": 2}

    failed = run_python("segment_client.py", {**asked, "calls": python_calls(person)})

    assert [n for _, n in failed] == [6]
    assert "401" in failed[0][0]


# --- Node


def test_the_node_library_delivers_every_kind_of_call(shop: Server, node: Node, person: str) -> None:
    calls = [
        {"method": "identify", "userId": person, "traits": {"plan": "gold"}},
        {"method": "page", "userId": person, "name": "Tea", "properties": {"url": "/tea"}},
        {"method": "screen", "userId": person, "name": "Basket"},
        {"method": "group", "userId": person, "groupId": "g1"},
        {"method": "alias", "userId": person, "previousId": f"old-{person}"},
        {
            "method": "track",
            "userId": person,
            "anonymousId": f"a-{person}",
            "event": "Checkout Started",
            "properties": {"products": PRODUCTS},
            "messageId": f"m-{person}",
        },
    ]

    assert node("segment", url=shop.base_url, key=shop.server_key, calls=calls, flushAt=2) == []

    found = stored(shop, person)
    assert sorted(types(found)) == [
        "Checkout Started",
        "Group Joined",
        "Page Viewed",
        "Screen Viewed",
        "User Aliased",
        "User Identified",
    ]
    assert interactions(shop, f"u:{person}") == {
        ("Checkout Started", "tea", 2.0),
        ("Checkout Started", "cup", 1.0),
    }
    assert f"m-{person}" in {one.event.event_id for one in found}


def test_a_backend_serves_many_people_in_one_batch(shop: Server, node: Node, person: str) -> None:
    people = [f"{person}-{n}" for n in range(30)]
    calls = [{"method": "track", "userId": one, "event": "Signed Up"} for one in people]

    assert node("segment", url=shop.base_url, key=shop.server_key, calls=calls, flushAt=30) == []

    assert [one.event.user_id for one in stored(shop, *people)] == people


# --- the browser


@pytest.fixture(scope="module")
def address(shop: Server, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    page, _ = write_page(node, PAGES / "segment.js", folder, url=shop.base_url, key=shop.client_key)
    with serving(folder) as port:
        yield f"http://localhost:{port}/{page}"


@pytest.fixture
def visit(node: Node, address: str) -> Iterator[Callable[[], Tab]]:
    opened: list[Tab] = []

    def open_page() -> Tab:
        opened.append(open_tab(node, address))
        return opened[-1]

    yield open_page
    for tab in opened:
        tab.close()


BATCHING = {
    "integrations": {"Segment.io": {"deliveryStrategy": {"strategy": "batching", "config": {"size": 6}}}}
}


@pytest.mark.parametrize(
    ("options", "path"), [({}, "/v1/t"), (BATCHING, "/v1/b")], ids=["one-by-one", "batches"]
)
def test_the_browser_library_delivers_every_kind_of_call(
    shop: Server, visit: Callable[[], Tab], person: str, options: dict[str, Any], path: str
) -> None:
    tab = visit()
    visitor = tab.call("start", options)
    tab.call("make", "page", "Shop", "Tea")
    tab.call("make", "track", "Product Viewed", {"product_id": "tea"})
    tab.call("make", "identify", person, {"plan": "gold"})
    tab.call("make", "group", "g1")
    tab.call("make", "screen", "Basket")
    order_id = tab.call("make", "track", "Order Completed", {"revenue": 29, "products": PRODUCTS})
    until(lambda: len(stored(shop, visitor)) == 6)

    found = stored(shop, visitor)
    assert sorted(types(found)) == [
        "Group Joined",
        "Order Completed",
        "Page Viewed",
        "Product Viewed",
        "Screen Viewed",
        "User Identified",
    ]
    assert {(one.source, one.trust, one.event.anonymous_id) for one in found} == {
        ("segment", "client", visitor)
    }
    order = next(one.event for one in found if one.event.event_id == order_id)
    assert (order.user_id, dict(order.properties)) == (person, {"revenue": 29, "products": PRODUCTS})
    page = next(one.event for one in found if one.event.type == "Page Viewed")
    assert (page.user_id, page.properties["category"], page.properties["name"]) == (None, "Shop", "Tea")
    posted = [(seen["status"], seen["url"]) for seen in tab.wire(path, "POST")]
    assert (200, shop.base_url + path) in posted
    # Nothing but the page's own host and ours was called.
    assert {seen["url"].split("/")[2].split(":")[0] for seen in tab.wire() if "://" in seen["url"]} == {
        "localhost",
        "127.0.0.1",
    }
    assert not [line for line in tab.said() if line.startswith(("error", "pageerror"))]


def test_an_exposure_in_segments_words_is_checked_and_counted(shop: Server, visit: Callable[[], Tab]) -> None:
    tab = visit()
    visitor = tab.call("start")
    flag = shop.post("/ofrep/v1/evaluate/flags/hero", {"context": {"targetingKey": visitor}}).json()
    for variant in (flag["variant"], "nothing"):
        tab.call("make", "track", "Experiment Viewed", {"experiment_id": "hero", "variation_id": variant})
    until(lambda: bool(stored(shop, visitor)) and len(tab.wire("/v1/t", "POST")) == 2)

    (exposure,) = stored(shop, visitor)
    assert exposure.event.properties["variant_key"] == flag["variant"]
    assert exposure.event.properties["unit_id"] == visitor


def test_calls_of_a_page_that_is_offline_arrive_when_it_comes_back(
    shop: Server, visit: Callable[[], Tab]
) -> None:
    tab = visit()
    visitor = tab.call("start")
    tab("window.realFetch = window.fetch; window.refused = 0; 0")
    tab("window.fetch = () => { window.refused += 1; return Promise.reject(new TypeError('offline')); }; 0")
    tab("window.sent = window.make('track', 'Product Viewed', {product_id: 'tea'}); 0")
    until(lambda: tab("window.refused") > 0)
    tab("window.fetch = window.realFetch; 0")
    until(lambda: types(stored(shop, visitor)) == ["Product Viewed"])

    assert "x-retry-count" in tab.wire("/v1/t", "POST")[-1]["sent"]


# --- a beacon


@pytest.mark.parametrize("path", ["/v1/track", "/v1/events"])
def test_a_beacon_needs_no_header(shop: Server, visit: Callable[[], Tab], path: str) -> None:
    tab = visit()
    visitor = str(uuid.uuid4())
    call = {"anonymousId": visitor, "event": "Left"}
    event = {
        "event_id": f"left-{visitor}",
        "type": "Left",
        "anonymous_id": visitor,
        "occurred_at": utc_now().isoformat(),
    }
    said = call if path == "/v1/track" else {"events": [event]}
    body = json.dumps({"writeKey": shop.client_key, **said})

    assert tab(f"navigator.sendBeacon({json.dumps(shop.base_url + path)}, {json.dumps(body)})")
    until(lambda: types(stored(shop, visitor)) == ["Left"])


# --- the page about it


@pytest.fixture(scope="module")
def docs_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("page-about-segment")
    with running_server(home / "home", write_catalog(home / "catalog", SHOP)) as running:
        yield running


@pytest.mark.parametrize("consent", [True, False], ids=["agreed", "not-asked"])
def test_the_shop_of_the_page_shows_the_variant_and_tells_exposure_and_order(
    docs_shop: Server, node: Node, tmp_path: Path, consent: bool
) -> None:
    folder = write_snippets(docs_shop, tmp_path / "page", (SHARED, "frontend/segment.md"))
    page, _ = write_page(node, folder / "shop.js", folder)
    with serving(folder) as port:
        site = f"http://localhost:{port}"
        cookies = [{"name": "consent", "value": "yes", "url": site}] if consent else []
        tab = open_tab(node, f"{site}/{page}", cookies=cookies)
        tab.shows("Gift shop")
        if not consent:
            assert tab("document.cookie + Object.keys(localStorage)") == ""
            assert not tab.wire(f"{docs_shop.base_url}/v1/")
            tab("document.cookie = 'consent=yes'; window.agreed()")
        visitor = tab("document.cookie.match(/ajs_anonymous_id=([^;]+)/)[1]")
        variant = docs_shop.post(
            "/ofrep/v1/evaluate/flags/free-shipping", {"context": {"targetingKey": visitor}}
        ).json()
        tab.shows(variant["value"])
        tab.click("button")
        until(lambda: sorted(types(stored(docs_shop, visitor))) == ["Experiment Viewed", "Order Completed"])
        told = {one.event.type: one.event.properties for one in stored(docs_shop, visitor)}
        assert told["Experiment Viewed"]["variant_key"] == variant["variant"]
        assert not [line for line in tab.said() if line.startswith(("error", "pageerror"))]
        tab.close()
