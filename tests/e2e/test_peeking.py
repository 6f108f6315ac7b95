"""The page of the peeking race in a real browser: it plays, pauses, can be wound, keeps still if asked to."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from service.cli.setup import new_sign_in_link
from tests.clients.kit import Node, Tab, open_tab
from tests.server import Server, until

CROSSED = "[...document.querySelectorAll('.panel')].map((p) => p.querySelectorAll('.cell.won').length)"
TALLIES = "[...document.querySelectorAll('.tally strong')].map((t) => Number(t.textContent))"
DAY = "Number(document.getElementById('day').value)"
POINTS = "[...document.querySelectorAll('.run')].map((l) => l.getAttribute('points').split(' ').length)"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cookies(shop: Server) -> list[dict[str, str]]:
    link = new_sign_in_link(shop.settings, shop.base_url)
    answer = requests.post(link, allow_redirects=False, timeout=30)
    return [{"name": c.name, "value": c.value or "", "url": shop.base_url} for c in answer.cookies]


@pytest.fixture
def visit(node: Node, shop: Server, cookies: list[dict[str, str]]) -> Iterator[Callable[..., Tab]]:
    opened: list[Tab] = []

    def open_page(path: str = "/peeking", **more: Any) -> Tab:
        opened.append(open_tab(node, shop.base_url + path, cookies=cookies, **more))
        return opened[-1]

    yield open_page
    for tab in opened:
        assert tab.said() == []
        tab.close()


def wind(tab: Tab, day: int) -> None:
    tab(f"(d => {{ d.value = {day}; d.dispatchEvent(new Event('input')) }})(document.getElementById('day'))")


def test_the_race_begins_before_the_first_day_and_ends_as_the_server_counted(
    visit: Callable[..., Tab],
) -> None:
    tab = visit()
    seen = [tab(DAY)]

    def ended() -> bool:
        seen.append(tab(DAY))
        return bool(seen[-1] == 28)

    until(ended)

    still = visit(media={"javaScriptEnabled": False})
    assert seen[0] < 28
    assert seen == sorted(seen)
    assert tab.text("#shown") == "day 28 of 28"
    assert tab.text("#play") == "Play again"
    assert tab(CROSSED) == tab(TALLIES)
    assert [still.text(f"section[aria-labelledby={name}] strong") for name in ("classical", "ours")] == [
        str(n) for n in tab(TALLIES)
    ]


def test_it_pauses_goes_on_and_can_be_wound_to_any_day(visit: Callable[..., Tab]) -> None:
    tab = visit()
    wind(tab, 3)
    paused = (tab.text("#play"), tab(DAY), tab(CROSSED), tab(TALLIES), tab(POINTS))
    rows = "[...document.querySelectorAll('tbody tr')].map((r) => [...r.children].map((c) => c.textContent))"
    third, last = (tab(rows)[day - 1] for day in (3, 28))
    tab.click("#play")
    until(lambda: tab(DAY) == 28)

    counts = [int(third[3]), int(third[4])]
    assert paused == ("Go on", 3, counts, counts, [4, 4])
    assert tab(TALLIES) == [int(last[3]), int(last[4])]
    assert tab("document.querySelector('.cells').getAttribute('aria-label')").startswith(f"{last[3]} of 100")


def test_who_wants_no_motion_sees_the_end_and_may_still_start_it(visit: Callable[..., Tab]) -> None:
    tab = visit(media={"reducedMotion": "reduce"})

    assert tab(DAY) == 28
    assert tab.text("#play") == "Play again"
    tab.click("#play")
    until(lambda: 0 < tab(DAY) < 28)


def test_another_seed_is_a_form_away(visit: Callable[..., Tab]) -> None:
    tab = visit(media={"reducedMotion": "reduce"})
    tab("document.querySelector('[name=seed]').value = 42")
    tab.click("form button")
    until(lambda: "seed=42" in tab("location.href"))

    assert tab("document.querySelector('[name=seed]').value") == "42"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_nothing_is_wider_than_the_window(visit: Callable[..., Tab], width: int, scheme: str) -> None:
    tab = visit(width=width, media={"colorScheme": scheme, "reducedMotion": "reduce"})

    assert tab("document.documentElement.scrollWidth") <= width
    tops = tab("[...document.querySelectorAll('.panel')].map((p) => p.getBoundingClientRect().top)")
    assert tops[0] == tops[1]
