"""The unmodified OpenFeature web SDK in a real browser, on a page of another origin than the service."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.asking import BULK, asks, expected, told
from tests.clients.catalog import people
from tests.clients.kit import PAGES, ClientError, Node, Tab, open_tab, serving, write_page
from tests.server import Server, until

VISITOR = {"targetingKey": "3f0c1c6e-6a0e-4a57-9d5f-2d0f4f0a7f11"}

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def address(shop: Server, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    page, _ = write_page(node, PAGES / "openfeature-web.js", folder, url=shop.base_url, key=shop.client_key)
    with serving(folder) as port:
        yield f"http://localhost:{port}/{page}"


@pytest.fixture
def visit(node: Node, address: str) -> Iterator[Callable[..., Tab]]:
    opened: list[Tab] = []

    def open_page(url: str = address) -> Tab:
        opened.append(open_tab(node, url))
        return opened[-1]

    yield open_page
    for tab in opened:
        tab.close()


def start(tab: Tab, context: dict[str, Any], **options: Any) -> None:
    """Start the SDK; only a test about streams listens to one, since what it refetches is on the wire too."""
    tab.call("start", context, {"changeDetection": "none", **options})


def test_the_web_sdk_agrees_on_every_flag_of_every_person(shop: Server, visit: Callable[..., Tab]) -> None:
    tab = visit()
    start(tab, VISITOR)

    for person in people(24):
        tab.call("setContext", person)

        assert [told(details) for details in tab.call("ask", asks())] == expected(shop, person)


def test_a_page_asks_once_for_all_flags(visit: Callable[..., Tab]) -> None:
    tab = visit()
    start(tab, VISITOR)
    for _ in range(5):
        tab.call("ask", asks())

    assert [(seen["method"], seen["status"]) for seen in tab.wire(BULK)] == [("POST", 200)]


def test_an_unchanged_answer_is_a_304_and_costs_no_body(visit: Callable[..., Tab]) -> None:
    tab = visit()
    start(tab, VISITOR)
    before = tab.call("ask", asks())
    tab.call("setContext", {**VISITOR, "seen": "an attribute that no audience asks for"})

    first, second = tab.wire(BULK)
    assert (first["status"], second["status"]) == (200, 304)
    assert second["sent"]["if-none-match"] == first["got"]["etag"]
    assert tab.call("ask", asks()) == before


def test_a_changed_attribute_changes_the_answer_although_the_old_entity_tag_is_sent(
    visit: Callable[..., Tab],
) -> None:
    tab = visit()
    start(tab, VISITOR)
    greeting = [{"flag": "greeting", "type": "string", "otherwise": "code default"}]
    assert tab.call("ask", greeting)[0]["value"] == "Hello"
    tab.call("setContext", {**VISITOR, "language": "es-MX"})

    first, second = tab.wire(BULK)
    assert second["sent"]["if-none-match"] == first["got"]["etag"]
    assert second["status"] == 200
    assert tab.call("ask", greeting)[0]["value"] == "¡Hola!"


def test_a_flag_that_is_killed_changes_in_the_open_page(shop: Server, visit: Callable[..., Tab]) -> None:
    tab = visit()
    start(tab, VISITOR, changeDetection="sse")
    asked = [{"flag": "kill-me", "type": "string", "otherwise": "code default"}]
    assert tab.call("ask", asked)[0]["value"] == "on air"
    shop.post("/v1/flags/kill-me/kill", {}, key=shop.admin_key).raise_for_status()

    until(lambda: tab.call("ask", asked)[0]["value"] == "off air")
    assert ["kill-me"] in tab("window.changes")
    last = tab.wire(BULK)[-1]
    assert "flagConfigEtag=" in last["url"]
    assert last["status"] == 200
    assert shop.client_key not in str([seen["url"] for seen in tab.wire()])


def test_a_page_of_a_foreign_origin_gets_nothing_and_shows_its_own_defaults(
    visit: Callable[..., Tab], address: str
) -> None:
    tab = visit(address.replace("localhost", "stranger.localhost"))

    with pytest.raises(ClientError, match="OFREPApiFetchError"):
        start(tab, VISITOR)
    assert [details["value"] for details in tab.call("ask", asks())] == [ask["otherwise"] for ask in asks()]


def test_an_unknown_key_is_a_fatal_error_that_the_page_can_read(visit: Callable[..., Tab]) -> None:
    tab = visit()

    with pytest.raises(ClientError, match="ProviderFatalError"):
        start(tab, VISITOR, headers=[["Authorization", "Bearer ck_unknown"]])
    assert tab.wire(BULK)[0]["status"] == 401
