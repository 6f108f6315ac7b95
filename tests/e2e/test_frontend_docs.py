"""docs/frontend.md and its pages: every snippet runs, and does what the page says."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from service.clock import utc_now
from service.storage.sql import open_store
from service.use_cases.preview import make_preview
from tests.clients.docs import SHARED, pages, snippets, write_snippets
from tests.clients.kit import Node, Tab, open_tab, program, serving, write_page
from tests.server import Server, running_server, until, write_catalog

SHOP = {
    "data.yaml": "data: {client_revenue: allow}\n",
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n",
    "experiments/free-shipping.yaml": """\
experiment: free-shipping
variants: {control: "Delivery in three days", banner: "Free shipping over 30 EUR"}
overrides: {banner: [qa-maria]}
metrics: {primary: purchase}
""",
}
FLAG = "/ofrep/v1/evaluate/flags/free-shipping"
BULK = "/ofrep/v1/evaluate/flags"
WEB, REACT = "frontend/openfeature-web.md", "frontend/openfeature-react.md"
NODE, PYTHON = "frontend/openfeature-node.md", "frontend/openfeature-python.md"
SSR = "frontend/server-side-rendering.md"
GB_JS, GB_REACT = "frontend/growthbook-js.md", "frontend/growthbook-react.md"
GB_PYTHON = "frontend/growthbook-python.md"
SEGMENT = "frontend/segment.md"
OPENFEATURE = pytest.mark.parametrize(
    ("from_pages", "entry"), [((WEB,), "shop.js"), ((WEB, REACT), "shop.jsx")], ids=["web", "react"]
)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("frontend")
    with running_server(home / "home", write_catalog(home / "catalog", SHOP)) as running:
        yield running


@pytest.fixture
def visit(shop: Server, node: Node, tmp_path: Path) -> Iterator[Callable[..., Tab]]:
    """Bundle the shop of some pages and open it."""
    with ExitStack() as closing:

        def open_page(*from_pages: str, consent: bool = True, entry: str = "shop.js", query: str = "") -> Tab:
            folder = write_snippets(shop, tmp_path / f"page-{uuid.uuid4()}", (SHARED, *from_pages))
            page, loaded = write_page(node, folder / entry, folder)
            # server.js is for Node.
            assert set(snippets(from_pages[-1])) - {"server.js"} <= {Path(name).name for name in loaded}
            site = f"http://localhost:{closing.enter_context(serving(folder))}"
            cookies = [{"name": "consent", "value": "yes", "url": site}] if consent else []
            tab = open_tab(node, f"{site}/{page}{query}", cookies=cookies)
            closing.callback(tab.close)
            return tab

        yield open_page


def stored(shop: Server, person: str) -> list[tuple[str, dict[str, Any]]]:
    store = open_store(shop.settings)
    try:
        events = [logged.received.event for logged in store.read(0, 100_000)]
    finally:
        store.close()
    return [(e.type, dict(e.properties)) for e in events if e.anonymous_id == person]


def variant_of(shop: Server, person: str) -> dict[str, Any]:
    answer: dict[str, Any] = shop.post(FLAG, {"context": {"targetingKey": person}}).json()
    return answer


def id_in(tab: Tab) -> str:
    return str(tab("document.cookie.match(/anonymous_id=([^;]+)/)?.[1] ?? ''"))


def types(events: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    return sorted(name for name, _ in events)


def assert_counted(shop: Server, person: str) -> None:
    """The exposure and the order of `person` are in the log, accepted, and of the variant that was shown."""
    until(lambda: types(stored(shop, person)) == ["Experiment Viewed", "Order Completed"])
    properties = dict(stored(shop, person))
    assert properties["Experiment Viewed"]["variant_key"] == variant_of(shop, person)["variant"]
    assert properties["Order Completed"]["revenue"] == 34.5


def test_every_page_is_tested_here_or_with_segments_clients() -> None:
    assert set(pages()) == {SHARED, WEB, REACT, NODE, PYTHON, SSR, GB_JS, GB_REACT, GB_PYTHON, SEGMENT}


@OPENFEATURE
def test_the_page_shows_the_variant_and_tells_one_exposure_and_the_order(
    shop: Server, visit: Callable[..., Tab], from_pages: tuple[str, ...], entry: str
) -> None:
    tab = visit(*from_pages, entry=entry)
    tab.shows("Gift shop")
    person = id_in(tab)
    tab.shows(variant_of(shop, person)["value"])
    tab.click("button")

    assert_counted(shop, person)
    assert uuid.UUID(person).version == 4
    # Right after a change the event stream asks for a second look, which is answered without a body.
    assert [seen["status"] for seen in tab.wire(BULK)] in ([200], [200, 304])
    assert not [line for line in tab.said() if line.startswith(("error", "pageerror"))]


@OPENFEATURE
def test_a_preview_link_shows_its_variant_in_this_tab_and_tells_nothing(
    shop: Server, visit: Callable[..., Tab], from_pages: tuple[str, ...], entry: str
) -> None:
    expires_at = utc_now() + timedelta(minutes=5)
    secret = shop.settings.signing_secret
    values = {"control": "Delivery in three days", "banner": "Free shipping over 30 EUR"}

    for variant, value in values.items():
        token = make_preview(secret, {"free-shipping": variant}, expires_at=expires_at)
        tab = visit(*from_pages, entry=entry, query=f"?opportune_preview={token}")
        tab.shows(value)
        tab.reload()
        tab.shows(value)
        assert types(stored(shop, id_in(tab))) == []


@OPENFEATURE
def test_the_next_visit_shows_the_same_and_a_reload_sends_an_exposure_again(
    shop: Server, visit: Callable[..., Tab], from_pages: tuple[str, ...], entry: str
) -> None:
    tab = visit(*from_pages, entry=entry)
    tab.shows("Gift shop")
    person, before = id_in(tab), tab.text()
    until(lambda: types(stored(shop, person)) == ["Experiment Viewed"])
    tab.reload()
    tab.shows("Gift shop")

    assert id_in(tab) == person
    assert tab.text() == before
    until(lambda: types(stored(shop, person)) == ["Experiment Viewed"] * 2)


@OPENFEATURE
def test_before_consent_nothing_is_kept_or_sent_and_after_it_the_visitor_counts(
    shop: Server, visit: Callable[..., Tab], from_pages: tuple[str, ...], entry: str
) -> None:
    tab = visit(*from_pages, consent=False, entry=entry)
    tab.shows("Gift shop")
    tab.click("button")
    assert tab("document.cookie") == ""
    assert tab("localStorage.length") == 0
    assert tab.wire("/v1/events") == []
    assert tab.wire(BULK)[0]["body"] == '{"context":{"country":"ES"' + (
        ',"language":"en-US"}}' if entry == "shop.js" else "}}"
    )

    tab("document.cookie = 'consent=yes'")
    tab("window.agreed()")
    person = id_in(tab)
    tab.shows(variant_of(shop, person)["value"])
    tab.click("button")

    assert_counted(shop, person)


def run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def started(command: Sequence[str], folder: Path) -> Iterator[int]:
    """Start a server that prints its port."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def test_a_node_backend_asks_without_exposure_and_tells_one_when_it_shows(
    shop: Server, tmp_path: Path
) -> None:
    person = str(uuid.uuid4())
    folder = write_snippets(shop, tmp_path / "node", (SHARED, NODE))
    said = json.loads(run([program("node"), "shop.js", person], folder))

    wanted = variant_of(shop, person)
    assert said == {name: wanted[name] for name in ("value", "variant", "reason")}
    assert_counted(shop, person)


def test_a_python_backend_asks_without_exposure_and_tells_one_when_it_shows(
    shop: Server, tmp_path: Path
) -> None:
    person = str(uuid.uuid4())
    folder = write_snippets(shop, tmp_path / "python", (PYTHON,))
    said = run([sys.executable, "shop.py", person], folder)

    wanted = variant_of(shop, person)
    assert said.split("\n")[0] == f"{wanted['value']} {wanted['variant']} {wanted['reason']}"
    assert_counted(shop, person)


def test_a_person_forced_for_testing_is_shown_the_variant_and_never_counted(
    shop: Server, tmp_path: Path
) -> None:
    for page, command in ((NODE, [program("node"), "shop.js"]), (PYTHON, [sys.executable, "shop.py"])):
        folder = write_snippets(shop, tmp_path / page, (SHARED, page))

        assert "Free shipping over 30 EUR" in run([*command, "qa-maria"], folder)
    assert types(stored(shop, "qa-maria")) == ["Order Completed"] * 2


@pytest.mark.parametrize("consent", [True, False], ids=["agreed", "not asked"])
def test_a_page_from_the_server_shows_the_variant_at_once_and_the_browser_tells_the_exposure(
    shop: Server, node: Node, tmp_path: Path, consent: bool
) -> None:
    folder = write_snippets(shop, tmp_path / "ssr", (SHARED, SSR))
    loaded = node("bundle", entry=str(folder / "client.jsx"), out=str(folder / "client.js"))
    loaded += node(
        "bundle", entry=str(folder / "server.jsx"), out=str(folder / "server.mjs"), platform="node"
    )
    assert set(snippets(SSR)) <= {Path(name).name for name in loaded}
    with started([program("node"), "server.mjs", "client.js"], folder) as port:
        url = f"http://localhost:{port}"
        cookies = [{"name": "consent", "value": "yes", "url": url}] if consent else []
        tab = open_tab(node, url, cookies=cookies)
        tab.shows("Gift shop")
        person = id_in(tab)
        if consent:
            tab.shows(variant_of(shop, person)["value"])
            until(lambda: types(stored(shop, person)) == ["Experiment Viewed"])
        else:
            assert person == ""
            assert tab.wire("/v1/events") == []
        assert not [line for line in tab.said() if line.startswith(("error", "pageerror"))]
        tab.close()


GROWTHBOOK = pytest.mark.parametrize(
    ("from_pages", "entry"), [((GB_JS,), "shop.js"), ((GB_JS, GB_REACT), "shop.jsx")], ids=["web", "react"]
)


@GROWTHBOOK
def test_growthbooks_page_shows_the_variant_and_tells_one_exposure_and_the_order(
    shop: Server, visit: Callable[..., Tab], from_pages: tuple[str, ...], entry: str
) -> None:
    tab = visit(*from_pages, entry=entry)
    tab.shows("Gift shop")
    person, before = id_in(tab), tab.text()
    tab.shows(variant_of(shop, person)["value"])
    tab.click("button")
    assert_counted(shop, person)

    tab.reload()
    tab.shows("Gift shop")
    assert tab.text() == before
    tab.click("button")
    until(lambda: types(stored(shop, person)) == ["Experiment Viewed", "Order Completed", "Order Completed"])
    assert not [line for line in tab.said() if line.startswith(("error", "pageerror"))]


@GROWTHBOOK
def test_growthbooks_page_keeps_and_sends_nothing_before_consent(
    shop: Server, visit: Callable[..., Tab], from_pages: tuple[str, ...], entry: str
) -> None:
    tab = visit(*from_pages, consent=False, entry=entry)
    tab.shows("Gift shop")
    tab.click("button")
    assert tab("document.cookie") == ""
    assert tab("localStorage.length") == 0
    assert tab.wire("/track") == []

    tab("document.cookie = 'consent=yes'")
    tab("window.agreed()")
    person = id_in(tab)
    tab.shows(variant_of(shop, person)["value"])
    tab.click("button")
    assert_counted(shop, person)


def test_growthbooks_node_server_shows_the_variant_and_tells_one_exposure_and_the_order(
    shop: Server, tmp_path: Path
) -> None:
    person = str(uuid.uuid4())
    cookies = {"anonymous_id": person}
    folder = write_snippets(shop, tmp_path / "backend", (GB_JS,))
    with started([program("node"), "server.js"], folder) as port:
        url = f"http://127.0.0.1:{port}"
        shown = [requests.get(url, cookies=cookies, timeout=30).text for _ in range(3)]
        requests.post(url, cookies=cookies, timeout=30).raise_for_status()
        assert_counted(shop, person)

    assert shown == [variant_of(shop, person)["value"]] * 3


def test_growthbooks_python_backend_shows_the_variant_and_tells_one_exposure_and_the_order(
    shop: Server, tmp_path: Path
) -> None:
    person = str(uuid.uuid4())
    folder = write_snippets(shop, tmp_path / "backend", (GB_PYTHON,))

    assert variant_of(shop, person)["value"] in run([sys.executable, "shop.py", person], folder).splitlines()
    assert_counted(shop, person)
