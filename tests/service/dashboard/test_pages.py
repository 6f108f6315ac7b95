import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from experiments.lifecycle import Schedule, Status
from service.app import build_services, create_app, shut_down
from service.catalog import load
from service.cli.setup import new_sign_in_link
from service.clock import utc_now
from service.storage.records import KeyClass
from service.use_cases.access import hash_key
from service.use_cases.heartbeat import Heartbeat, beat
from service.use_cases.judge import refresh_verdicts
from service.use_cases.services import Services
from service.use_cases.sessions import COOKIE
from service.use_cases.verdict_exports import COLUMNS
from service.use_cases.verdicts import standing
from tests.service.use_cases.shops import (
    FILES,
    KEY,
    START,
    a_store,
    a_week,
    launched,
    order,
    put_in_quarantine,
    settings_in,
    shown,
)

ANALYST, SERVER, ADMIN, CLIENT = (f"{kind}_{'0123456789abcdef' * 2}" for kind in ("rk", "sk", "ak", "ck"))
QUIET = "experiment: quiet\nvariants: {control: 1, loud: 2}\nmetrics: {primary: purchase}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A judged shop and a browser."""

    services: Services
    browser: FlaskClient
    home: Path

    def sign_in(self) -> None:
        answer = self.browser.post(new_sign_in_link(settings_in(self.home), ""))
        assert answer.status_code == 303

    def get(self, path: str, *, key: str) -> tuple[int, str]:
        answer = self.services_client().get(path, headers={"Authorization": f"Bearer {key}"})
        return answer.status_code, answer.text

    def services_client(self) -> FlaskClient:
        return create_app(self.services).test_client()


@pytest.fixture(scope="module")
def judged_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shop") / "home"
    with a_store(home) as store:
        launched(store, {**FILES, "experiments/quiet.yaml": QUIET})
        put_in_quarantine(store, "q1", "variant_mismatch")
        at_home = [
            replace(order(unit, START + timedelta(days=5)), user_id="maria") for unit in ("v0-0", "v0-1")
        ]
        shown(store, home / "lake", [*a_week(), *at_home])
        refresh_verdicts(store, home / "lake", now=utc_now())
        launched(store, {**FILES, "experiments/quiet.yaml": QUIET + "phase: 2\n"})
    return home


@pytest.fixture
def shop(judged_home: Path) -> Iterator[Shop]:
    settings = replace(
        settings_in(judged_home), analyst_key=ANALYST, server_key=SERVER, admin_key=ADMIN, client_key=CLIENT
    )
    services = build_services(settings)
    yield Shop(services=services, browser=create_app(services).test_client(), home=judged_home)
    shut_down(services)


def test_without_a_session_the_pages_ask_to_sign_in(shop: Shop) -> None:
    for path in ("/", f"/experiments/{KEY}", "/experiments/none"):
        answer = shop.browser.get(path)

        assert answer.status_code == 401
        assert "sign-in-link" in answer.text
        assert "banner" not in answer.text


def test_looking_at_a_link_does_not_spend_it_but_using_it_does(shop: Shop) -> None:
    link = new_sign_in_link(settings_in(shop.home), "")

    looks = [shop.browser.get(link).status_code for _ in range(3)]
    used = shop.browser.post(link)
    again = shop.browser.post(link)

    assert looks == [200, 200, 200]
    assert (used.status_code, used.headers["Location"]) == (303, "/")
    assert again.status_code == 403
    assert COOKIE not in again.headers.get("Set-Cookie", "")


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(shop: Shop) -> None:
    plain = shop.browser.post(new_sign_in_link(settings_in(shop.home), ""))
    secure = shop.browser.post(
        new_sign_in_link(settings_in(shop.home), ""), headers={"X-Forwarded-Proto": "https"}
    )

    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(plain.headers["Set-Cookie"].split("; "))
    assert "Secure" not in plain.headers["Set-Cookie"]
    assert "Secure" in secure.headers["Set-Cookie"].split("; ")


def test_a_made_up_cookie_opens_nothing(shop: Shop) -> None:
    for cookie in ("guess", "x" * 3_000, ""):
        shop.browser.set_cookie(COOKIE, cookie)

        assert shop.browser.get("/").status_code == 401


def test_a_session_ends_after_a_day(shop: Shop) -> None:
    shop.services.store.put_session(
        hash_key("old"), KeyClass.ANALYST, expires_at=utc_now() - timedelta(seconds=1)
    )
    shop.services.store.put_session(
        hash_key("cl"), KeyClass.CLIENT, expires_at=utc_now() + timedelta(hours=1)
    )

    for cookie in ("old", "cl"):
        shop.browser.set_cookie(COOKIE, cookie)
        assert shop.browser.get("/").status_code == 401


def test_the_list_shows_every_experiment_with_its_decision(shop: Shop) -> None:
    shop.sign_in()

    page = shop.browser.get("/").text

    assert f'href="/experiments/{KEY}"' in page
    assert re.search(r'badge ship">.*Ship <code>banner</code>', page)
    assert "no verdict yet" in page
    assert "Why: " in page
    assert "Not known: " not in page


def test_the_verdict_page_says_what_why_and_how_we_know(shop: Shop) -> None:
    shop.sign_in()

    page = shop.browser.get(f"/experiments/{KEY}").text

    for words in (
        "Ship <code>banner</code>",
        "Can it be trusted?",
        "quarantined: named a variant the unit does not have",
        "left out: saw several variants",
        "contaminated: of people who saw another variant under another id; not left out",
        "2 units (0.1 %) belong to people who saw another variant under another id",
        "placed an order",
        "+50\u00a0%",
        "maria@shop.example",
        "moments digest",
        f"/v1/experiments/{KEY}/verdict.csv",
        '<polygon class="band"',
        "each day is compared with itself: the difference is not that of the two totals",
    ):
        assert words in page


@pytest.mark.parametrize("killed", [KEY, "*"])
def test_a_killed_experiment_says_so_beside_its_verdict(shop: Shop, killed: str) -> None:
    shop.sign_in()
    shop.services.store.set_killed(killed, killed=True, by="test", now=utc_now())
    shop.services.snapshots.refresh()
    try:
        pages = [shop.browser.get(path).text for path in ("/", f"/experiments/{KEY}")]
        markdown = shop.browser.get(f"/v1/experiments/{KEY}/verdict.md").text
        listed = shop.browser.get("/v1/experiments").get_json()["experiments"][0]
    finally:
        shop.services.store.set_killed(killed, killed=False, by="test", now=utc_now())

    assert all("everybody gets the control value" in text for text in (*pages, markdown))
    assert (listed["killed"], listed["standing"].startswith("Killed")) == (True, True)


def test_the_page_calls_the_planned_units_what_they_are(shop: Shop) -> None:
    shop.sign_in()

    page = shop.browser.get(f"/experiments/{KEY}").text

    assert "<dt>interval tightest near</dt>" in page
    assert "<dt>lift known to within</dt>" in page
    assert "<dt>needed for 80 % power</dt>" in page
    assert "<dt>planned</dt>" not in page


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status.DRAFT, "Draft: nobody"),
        (Status.PAUSED, "Paused: everybody"),
        (Status.STOPPED, "Stopped: everybody"),
        (Status.RUNNING, ""),
    ],
)
def test_what_is_not_served_says_so(status: Status, said: str) -> None:
    catalog = load(FILES).catalog
    changed = replace(catalog, experiments={KEY: replace(catalog.experiments[KEY], status=status)})

    words = standing(changed, frozenset(), KEY)

    assert words.startswith(said)
    assert bool(words) == bool(said)
    assert "left the catalog" in standing(changed, frozenset(), "gone")


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, "It begins at 2027-01-01 00:00 UTC"), (0, "Shipped"), (5, "Its schedule ended at")],
)
def test_what_is_outside_of_its_schedule_says_so_whatever_was_shipped(days: int, said: str) -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC)
    schedule = Schedule(start_at=start, end_at=start + timedelta(days=5))
    catalog = load(FILES).catalog
    one = replace(catalog.experiments[KEY], schedule=schedule, shipped="banner")

    words = standing(
        replace(catalog, experiments={KEY: one}), frozenset(), KEY, now=start + timedelta(days=days)
    )

    assert words.startswith(said)


def test_what_a_marketer_writes_never_becomes_markup(shop: Shop) -> None:
    shop.sign_in()

    for path in ("/", f"/experiments/{KEY}"):
        page = shop.browser.get(path).text
        assert "A banner &lt;b&gt;sells&lt;/b&gt; &amp; more" in page
        assert "<b>sells" not in page


def test_pages_need_no_script_and_allow_none(shop: Shop) -> None:
    shop.sign_in()

    for path in ("/", f"/experiments/{KEY}", "/sign-in/x"):
        answer = shop.browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "<script" not in answer.text
        assert "style=" not in answer.text
        assert " on" + "click" not in answer.text
    with shop.browser.get("/assets/opportune.css") as style:
        assert (style.status_code, style.mimetype) == (200, "text/css")


def test_pages_that_are_not_there_are_pages(shop: Shop) -> None:
    shop.sign_in()

    quiet, unknown = shop.browser.get("/experiments/quiet"), shop.browser.get("/experiments/nothing")

    assert (quiet.status_code, unknown.status_code) == (404, 404)
    assert "There is no verdict yet" in quiet.text
    assert "No experiment has that key" in unknown.text


def test_a_silent_worker_is_named_on_the_page(shop: Shop) -> None:
    shop.sign_in()
    problems = {"catalog": "metrics.yaml:1:1 E101 broken"}
    alive = Heartbeat(process_id=1, at=utc_now().isoformat(), lake_offset=0, problems=problems)
    beat(shop.home, alive)
    told = shop.browser.get("/").text
    beat(shop.home, replace(alive, at=(utc_now() - timedelta(minutes=5)).isoformat(), problems={}))

    silent = shop.browser.get(f"/experiments/{KEY}").text

    assert "E101 broken. Revision 2, the last good one, is served until it is mended: see" in told
    assert "<code>opportune plan</code>" in told
    assert "last seen 300 s ago" in silent


# --- the same over the API ------------------------------------------------------------------------


def test_analyst_server_and_admin_keys_read_verdicts_and_client_keys_do_not(shop: Shop) -> None:
    path = f"/v1/experiments/{KEY}/verdict"

    assert [shop.get(path, key=key)[0] for key in (ANALYST, SERVER, ADMIN, CLIENT, "rk_wrong")] == [
        200,
        200,
        200,
        403,
        401,
    ]
    assert shop.browser.get(path).status_code == 401


def test_a_signed_in_browser_may_export(shop: Shop) -> None:
    shop.sign_in()

    kinds = [
        shop.browser.get(f"/v1/experiments/{KEY}/verdict{form}").content_type for form in ("", ".csv", ".md")
    ]

    assert kinds == ["application/json", "text/csv; charset=utf-8", "text/markdown; charset=utf-8"]


def test_the_verdict_is_served_byte_for_byte_with_its_digest(shop: Shop) -> None:
    stored = shop.services.store.latest_verdict(KEY)
    assert stored is not None
    shop.sign_in()

    answer = shop.browser.get(f"/v1/experiments/{KEY}/verdict")
    again = shop.browser.get(
        f"/v1/experiments/{KEY}/verdict", headers={"If-None-Match": answer.headers["ETag"]}
    )

    assert answer.text == stored.body
    assert answer.headers["ETag"] == f'"{stored.digest}"'
    assert again.status_code == 304


def test_every_snapshot_has_an_address_of_its_own(shop: Shop) -> None:
    shop.sign_in()
    newest = shop.browser.get(f"/v1/experiments/{KEY}/verdict")

    address = newest.headers["Content-Location"]
    one = shop.browser.get(address)

    assert address == f"/v1/verdicts/{KEY}.1.1"
    assert (one.text, one.headers["ETag"]) == (newest.text, newest.headers["ETag"])
    assert shop.get(address, key=ANALYST)[0] == 200
    assert shop.get(address, key=CLIENT)[0] == 403


@pytest.mark.parametrize("name", [f"{KEY}.1.99", KEY, f"{KEY}.1.x", "a.b.c.d", f"{KEY}.1.{9**30}", "%2e"])
def test_a_verdict_that_is_not_there_has_a_problem_of_its_own(shop: Shop, name: str) -> None:
    shop.sign_in()

    answer = shop.browser.get(f"/v1/verdicts/{name}")

    assert (answer.status_code, answer.get_json()["code"]) == (404, "unknown_verdict")


def test_the_history_lists_the_snapshots_of_a_phase(shop: Shop) -> None:
    shop.sign_in()
    verdict = shop.browser.get(f"/v1/experiments/{KEY}/verdict").get_json()

    told = shop.browser.get(f"/v1/experiments/{KEY}/history").get_json()
    other_phase = shop.browser.get(f"/v1/experiments/{KEY}/history?phase=2").get_json()
    refused = shop.browser.get(f"/v1/experiments/{KEY}/history?limit=0")

    assert (told["experiment"], told["phase"], other_phase["snapshots"]) == (KEY, 1, [])
    assert [one["id"] for one in told["snapshots"]] == [f"{KEY}.1.1"]
    (banner,) = told["snapshots"][0]["treatments"]
    assert banner["lift"] == next(r["lift"] for r in verdict["metrics"] if r["variant"] == "banner")
    assert refused.status_code == 422
    assert shop.get(f"/v1/experiments/{KEY}/history", key=CLIENT)[0] == 403


def test_the_list_names_status_and_decision(shop: Shop) -> None:
    shop.sign_in()

    listed = shop.browser.get("/v1/experiments").get_json()

    assert [(e["experiment"], e["status"], e["decision"], e["phase"]) for e in listed["experiments"]] == [
        (KEY, "running", "ship", 1),
        ("quiet", "running", "", 2),
    ]


def test_missing_verdicts_have_their_own_problem(shop: Shop) -> None:
    shop.sign_in()

    codes = [shop.browser.get(f"/v1/experiments/{k}/verdict").get_json()["code"] for k in ("quiet", "none")]

    assert codes == ["no_verdict_yet", "unknown_experiment"]


def test_csv_has_a_row_for_each_metric_and_variant(shop: Shop) -> None:
    _, text = shop.get(f"/v1/experiments/{KEY}/verdict.csv", key=ANALYST)

    lines = text.split("\r\n")
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 1 + 3 * 2 + 1
