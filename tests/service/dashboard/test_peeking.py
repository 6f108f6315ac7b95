import re
from collections.abc import Iterator
from itertools import pairwise
from threading import Event, Thread

import numpy as np
import pytest
from flask.testing import FlaskClient

from experiments.peeking import RacePlan, Tally, run
from service.app import build_services, create_app, shut_down
from service.cli.setup import new_sign_in_link
from service.dashboard.race import HEIGHT, WIDTH, draw
from service.use_cases import peeking
from tests.service.use_cases.shops import FILES, a_store, launched, settings_in


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    home = tmp_path_factory.mktemp("peeking") / "home"
    with a_store(home) as store:
        launched(store, FILES)
    services = build_services(settings_in(home))
    yield create_app(services).test_client()
    shut_down(services)


@pytest.fixture(scope="module")
def browser(stranger: FlaskClient) -> FlaskClient:
    application = stranger.application
    client = application.test_client()
    home = application.extensions["opportune"].settings.home
    assert client.post(new_sign_in_link(settings_in(home), "")).status_code == 303
    return client


def crossed_out(page: str) -> list[int]:
    return [panel.count('class="cell won"') for panel in page.split("<section")[1:3]]


def tallies(seed: int) -> tuple[Tally, Tally]:
    looks = list(run(RacePlan(), np.random.default_rng(seed)))
    return Tally.of(np.stack([x.classical for x in looks])), Tally.of(np.stack([x.ours for x in looks]))


def test_the_race_is_for_those_who_have_signed_in(stranger: FlaskClient) -> None:
    answer = stranger.get("/peeking")

    assert answer.status_code == 401
    assert "sign-in-link" in answer.text
    assert "false winner" not in answer.text
    assert "script" not in answer.text.replace("description", "")


def test_the_page_without_script_shows_the_last_day(browser: FlaskClient) -> None:
    page = browser.get("/peeking").text

    classical, ours = tallies(1)
    assert crossed_out(page) == [classical.ever[-1], ours.ever[-1]]
    assert page.count('<g class="cell') == 200
    days = [int(day) for day in re.findall(r'data-day="(\d+)"', page)]
    assert sorted(days) == sorted(
        [d for d in classical.first_day.tolist() if d] + [d for d in ours.first_day.tolist() if d]
    )
    assert f'data-counts="0 {" ".join(map(str, classical.ever.tolist()))}">{classical.ever[-1]}<' in page
    assert "About 27.5 were to be expected." in page
    assert "about 27.5 after 28" in page
    assert '<div class="play" hidden>' in page


def test_the_list_of_experiments_leads_to_the_race(browser: FlaskClient) -> None:
    assert '<a href="/peeking">Peeking</a>' in browser.get("/").text


def test_another_seed_is_another_race_and_the_same_one_the_same(browser: FlaskClient) -> None:
    one, two, again = (browser.get(f"/peeking?seed={seed}").text for seed in (1, 2, 1))

    classical, ours = tallies(2)
    assert one == again == browser.get("/peeking").text
    assert crossed_out(two) == [classical.ever[-1], ours.ever[-1]]
    assert 'value="2" required' in two
    assert 'href="/peeking?seed=3"' in two
    assert 'href="/peeking?seed=1"' in browser.get("/peeking?seed=1000").text


@pytest.mark.parametrize(
    "seed", ["0", "1001", "-1", "one", "", "1.5", "%00", "٣", "<script>", "9" * 5_000, "1e2", "%2B1"]
)
def test_what_is_no_seed_is_said_on_a_page(browser: FlaskClient, seed: str) -> None:
    answer = browser.get(f"/peeking?seed={seed}")

    assert answer.status_code == 400
    assert "The seed is a whole number from 1 to 1,000" in answer.text
    assert "<script>" not in answer.text
    assert '<a href="/peeking">Back to the race</a>' in answer.text


def test_an_address_cannot_make_the_race_larger(browser: FlaskClient) -> None:
    larger = browser.get("/peeking?seed=1&experiments=999&days=365&visitors=100000&rate=0.5").text

    assert larger == browser.get("/peeking").text


def test_the_page_may_load_our_script_and_other_pages_none(browser: FlaskClient) -> None:
    answer = browser.get("/peeking")
    policies = {path: browser.get(path).headers["Content-Security-Policy"] for path in ("/", "/peeking")}

    assert policies["/peeking"] == policies["/"] + "; script-src 'self'"
    assert "script-src" not in policies["/"]
    assert re.findall(r"<script[^>]*>", answer.text) == ['<script src="/assets/peeking.js">']
    assert "style=" not in answer.text
    assert " onclick" not in answer.text
    for name, kind in (("peeking.js", "text/javascript"), ("peeking.css", "text/css")):
        with browser.get(f"/assets/{name}") as asset:
            assert (asset.status_code, asset.mimetype) == (200, kind)


def test_a_seed_is_computed_once(browser: FlaskClient) -> None:
    peeking._raced.cache_clear()

    for seed in (5, 6, 5, 5, 6):
        browser.get(f"/peeking?seed={seed}")

    told = peeking._raced.cache_info()
    assert (told.misses, told.hits) == (2, 3)
    assert told.maxsize == len(peeking.SEEDS)


def test_one_race_is_computed_at_a_time(browser: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peeking, "WAIT_S", 0.01)
    begun, finish = Event(), Event()

    def hold() -> None:
        with peeking._turn:
            begun.set()
            finish.wait()

    holder = Thread(target=hold)
    holder.start()
    begun.wait()
    try:
        answer = browser.get("/peeking?seed=11")
    finally:
        finish.set()
        holder.join()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "One race at a time" in answer.text
    assert browser.get("/peeking?seed=11").status_code == 200


@pytest.mark.parametrize(("seed", "days", "rate"), [(1, 28, 0.1), (2, 3, 0.9), (3, 60, 0.02)])
def test_everything_is_drawn_inside_the_picture(seed: int, days: int, rate: float) -> None:
    plan = RacePlan(experiments=20, days=days, visitors=100, rate=rate)

    page = draw(peeking.finish(plan, seed, list(peeking.looks(plan, seed))))

    for points in (page.expected, *(panel.points for panel in page.panels)):
        places = [tuple(map(float, point.split(","))) for point in points.split()]
        assert len(places) == days + 1
        assert places[0] == (page.left, page.bottom)
        assert places[-1][0] == page.right
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
        assert all(after[1] <= before[1] for before, after in pairwise(places))
    assert page.promise < page.bottom
    assert len(page.rows) == days


def test_the_openapi_description_has_the_page(browser: FlaskClient) -> None:
    described = browser.get("/openapi.json").get_json()["paths"]["/peeking"]["get"]

    assert described["summary"].startswith("Show what looking every day does")
    assert described["security"] == [{"sign_in": []}]
