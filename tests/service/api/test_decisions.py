"""Decisions over HTTP and on the page of the verdict."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import build_services, create_app, shut_down
from service.cli.setup import new_sign_in_link
from service.storage.records import KeyClass
from service.use_cases.access import hash_key
from service.use_cases.judge import refresh_verdicts
from service.use_cases.services import Services
from tests.service.use_cases.shops import KEY, START, a_store, a_week, launched, settings_in, shown
from tests.service.use_cases.test_decisions import act, files

ANALYST, CLIENT = (f"{kind}_{'0123456789abcdef' * 2}" for kind in ("rk", "ck"))


@dataclass(frozen=True, slots=True)
class Shop:
    services: Services
    client: FlaskClient
    home: Path

    def get(self, path: str, key: str = ANALYST) -> tuple[int, Any]:
        answer = self.client.get(path, headers={"Authorization": f"Bearer {key}"})
        return answer.status_code, answer.get_json()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("home")
    with a_store(home) as store:
        launched(store, files("rollback_and_ship"))
        store.set_keys(
            "test", {hash_key(ANALYST): KeyClass.ANALYST, hash_key(CLIENT): KeyClass.CLIENT}, now=START
        )
        shown(store, home / "lake", a_week())
        refresh_verdicts(store, home / "lake", now=START)
        act(store)
    services = build_services(settings_in(home))
    yield Shop(services, create_app(services).test_client(), home)
    shut_down(services)


def test_a_decision_is_read_by_its_id_and_in_the_list(shop: Shop) -> None:
    status, decision = shop.get("/v1/decisions/free-shipping.1.d1")

    assert status == 200
    assert decision["decided_at"] == "2026-04-01T09:00:00+00:00"
    assert (decision["decision"], decision["variant"], decision["action"]) == ("ship", "banner", "ship")
    assert decision["verdict"] == "free-shipping.1.1"
    for path in ("/v1/decisions", f"/v1/decisions?experiment={KEY}&limit=1"):
        assert shop.get(path) == (200, {"decisions": [decision]})


def test_decisions_of_no_experiment_are_a_404_with_a_near_one(shop: Shop) -> None:
    status, problem = shop.get("/v1/decisions?experiment=free-shiping")

    assert (status, problem["code"]) == (404, "unknown_experiment")
    assert problem["detail"] == (
        f"no experiment 'free-shiping' is in the live catalog; did you mean '{KEY}'?"
    )


def test_an_experiment_about_which_nothing_was_decided_has_an_empty_list(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        launched(store, files())
        store.set_keys("test", {hash_key(ANALYST): KeyClass.ANALYST}, now=START)
    services = build_services(settings_in(tmp_path))
    try:
        young = Shop(services, create_app(services).test_client(), tmp_path)
        assert young.get(f"/v1/decisions?experiment={KEY}") == (200, {"decisions": []})
        assert young.get("/v1/decisions") == (200, {"decisions": []})
    finally:
        shut_down(services)


@pytest.mark.parametrize(
    "name", ["free-shipping.1.d2", "free-shipping.1.1", "x", "free-shipping.1.d" + "9" * 99]
)
def test_an_unknown_decision_is_a_404(shop: Shop, name: str) -> None:
    status, problem = shop.get(f"/v1/decisions/{name}")

    assert (status, problem["code"]) == (404, "unknown_decision")


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/decisions/free-shipping.1.d1"])
def test_a_client_key_reads_no_decision(shop: Shop, path: str) -> None:
    assert shop.get(path, CLIENT)[0] == 403
    assert shop.client.get(path).status_code == 401


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "experiment=", "eperiment=tea"])
def test_a_wrong_question_is_refused(shop: Shop, query: str) -> None:
    status, problem = shop.get(f"/v1/decisions?{query}")

    assert (status, problem["code"]) == (422, "invalid_query")
    assert problem["title"] == "The query does not have the expected form"
    assert problem["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


def test_the_page_of_the_verdict_tells_what_was_done(shop: Shop) -> None:
    with create_app(shop.services).test_client() as browser:
        browser.post(new_sign_in_link(settings_in(shop.home), ""))
        page = browser.get(f"/experiments/{KEY}").text

    assert '<h2 id="decisions">Decisions</h2>' in page
    assert "<code>banner</code>" in page
    assert "Done: everybody gets banner until `opportune unship free-shipping`." in page


def test_metrics_count_messages(shop: Shop) -> None:
    text = shop.client.get("/metrics").text

    assert 'opportune_outbox{state="waiting"} 1.0' in text
    assert 'opportune_outbox{state="given_up"} 0.0' in text
