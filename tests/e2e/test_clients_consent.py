"""A visitor changes their mind in a real browser: the code of docs/frontend.md, unmodified."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.docs import SHARED, write_snippets
from tests.clients.kit import Node, open_tab, serving, write_page
from tests.server import Server, running_server, write_catalog

PAGE = """\
import { anonymousId } from "./anonymous-id.js";
import { newEvent, send } from "./events.js";
import { withdraw } from "./withdraw.js";

const who = { anonymous_id: anonymousId() };
const button = document.createElement("button");
button.textContent = "No, thank you";
button.onclick = async () => {
  const first = await send([newEvent("Page Viewed", who)]);
  const taken = await withdraw();
  const url = "https://opportune.shop.example/v1/events?client_key=ck_your_client_key";
  const body = JSON.stringify({ events: [newEvent("Page Viewed", who)] });
  const answer = await (await fetch(url, { method: "POST", body })).json();
  const last = answer.results[0];
  const cookie = /anonymous_id/.test(document.cookie);
  document.body.append([first, taken, last.status, last.reason, cookie].join(" "));
};
document.body.append(button);
"""

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("consent")
    with running_server(home / "home", write_catalog(home / "catalog")) as running:
        yield running


def test_after_a_withdrawal_nothing_of_the_visitor_is_stored_and_the_browser_forgets(
    shop: Server, node: Node, tmp_path: Path
) -> None:
    folder = write_snippets(shop, tmp_path / "page", (SHARED,))
    address = PAGE.replace("https://opportune.shop.example", shop.base_url).replace(
        "ck_your_client_key", shop.client_key
    )
    (folder / "mind.js").write_text(address, "utf-8")
    page, _loaded = write_page(node, folder / "mind.js", folder)

    with serving(folder) as port:
        tab = open_tab(node, f"http://localhost:{port}/{page}", cookies=[])
        try:
            tab.click("button")
            tab.shows("true true refused no_consent false")
        finally:
            tab.close()
