"""A variant shipped over HTTP is what every protocol serves, and nobody is counted any more."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import growthbook
import pytest
import requests
from growthbook import GrowthBook

from tests.server import Server, until

BULK = "/ofrep/v1/evaluate/flags"
UNITS = [f"v-{n}" for n in range(40)]


@pytest.fixture
def shipped(server: Server) -> Iterator[Server]:
    """Ship half of the price to everybody, and wait until every worker does."""
    answer = server.post("/v1/flags/price/ship", {"variant": "half"}, key=server.admin_key)
    assert answer.json() == {"key": "price", "shipped": "half", "changed": True, "notes": []}
    until(lambda: all(ofrep(server, unit)["metadata"]["decision"] == "shipped" for unit in UNITS))
    yield server
    ended = server.post("/v1/flags/price/unship", {}, key=server.admin_key).json()
    assert ended == {"key": "price", "shipped": None, "changed": True, "notes": []}
    until(lambda: all(ofrep(server, unit)["metadata"]["decision"] != "shipped" for unit in UNITS))
    growthbook.feature_repo.clear_cache()


def ofrep(server: Server, unit: str, **more: Any) -> dict[str, Any]:
    body = {"context": {"targetingKey": unit}, **more}
    found: dict[str, Any] = server.post(f"{BULK}/price", body).json()
    return found


def test_both_forms_of_ofrep_serve_it_and_store_no_exposure(shipped: Server) -> None:
    one = ofrep(shipped, "v-1", expose=True)
    many = shipped.post(BULK, {"context": {"targetingKey": "v-1"}}).json()["flags"]
    nobody = ofrep(shipped, "")

    about = one["metadata"]
    assert (one["value"], one["variant"], one["reason"]) == (1.0, "half", "STATIC")
    assert (about["decision"], about["enrolled"], about["exposure"]) == ("shipped", False, "none")
    assert next(flag for flag in many if flag["key"] == "price")["metadata"]["decision"] == "shipped"
    assert nobody["value"] == 1.0
    assert ofrep(shipped, "qa-maria")["metadata"]["decision"] == "override"


def test_the_growthbook_sdk_serves_it_and_reports_nothing(shipped: Server) -> None:
    told: list[object] = []
    for unit in UNITS:
        client = GrowthBook(
            api_host=shipped.base_url,
            client_key=shipped.client_key,
            attributes={"anonymous_id": unit},
            on_experiment_viewed=lambda **seen: told.append(seen),
        )
        client.load_features()
        assert client.get_feature_value("price", 0) == 1
        client.destroy()
    remote = requests.post(
        f"{shipped.base_url}/api/eval/{shipped.client_key}",
        json={"attributes": {"anonymous_id": "v-1"}},
        timeout=30,
    ).json()

    assert told == []
    assert remote["features"]["price"] == {"defaultValue": 1}


def test_explain_status_list_and_preview_know_of_it(shipped: Server) -> None:
    why = shipped.post(
        "/v1/flags/price/explain", {"context": {"anonymous_id": "v-1"}}, key=shipped.server_key
    ).json()
    status = shipped.get("/v1/catalog/status", key=shipped.analyst_key).json()
    listed = shipped.get("/v1/experiments", key=shipped.analyst_key).json()["experiments"]

    assert (why["decided_by"], why["assignment"]["variant"]) == ("shipped", "half")
    assert why["change"] == "opportune unship price"
    assert {d["key"]: d["shipped"] for d in status["definitions"]}["price"] == "half"
    (standing,) = [one["standing"] for one in listed if one["experiment"] == "price"]
    assert standing.startswith("Shipped: everybody gets `half` until the catalog says otherwise")


def test_the_kill_switch_is_stronger_than_shipping(shipped: Server) -> None:
    shipped.post("/v1/flags/price/kill", {}, key=shipped.admin_key)
    try:
        until(lambda: all(ofrep(shipped, unit)["metadata"]["decision"] == "killed" for unit in UNITS))
    finally:
        shipped.post("/v1/flags/price/revive", {}, key=shipped.admin_key)
    until(lambda: all(ofrep(shipped, unit)["metadata"]["decision"] == "shipped" for unit in UNITS))


def test_a_stream_tells_of_it(server: Server) -> None:
    streams = server.post(BULK, {"context": {"targetingKey": "v-1"}}).json()["eventStreams"]
    url = server.base_url + streams[0]["endpoint"]["requestUri"]
    with requests.get(url, stream=True, timeout=30) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        next(lines)
        server.post("/v1/flags/price/ship", {"variant": "half"}, key=server.admin_key)
        try:
            assert any("refetchEvaluation" in line for line in lines if line.startswith("data:"))
        finally:
            server.post("/v1/flags/price/unship", {}, key=server.admin_key)


def test_it_is_recorded_who_shipped(shipped: Server) -> None:
    with sqlite3.connect(shipped.home / "opportune.db") as database:
        ((by, variant),) = database.execute("SELECT changed_by, shipped FROM steering").fetchall()

    assert variant == "half"
    assert by


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("price/ship", {"variant": "haf"}, 404, "did you mean 'half'"),
        ("prise/ship", {"variant": "half"}, 404, "did you mean 'price'"),
        ("unborn/ship", {"variant": "treatment"}, 409, "unborn is draft"),
        ("dark-mode/ship", {"variant": "on"}, 409, "is a flag"),
        ("price/ship", {}, 422, "variant"),
        ("price/ship", {"variant": "half", "more": 1}, 422, "more"),
    ],
)
def test_what_cannot_be_shipped_is_refused_with_the_reason(
    server: Server, path: str, body: Any, status: int, said: str
) -> None:
    answer = server.post(f"/v1/flags/{path}", body, key=server.admin_key)

    assert answer.status_code == status, answer.text
    assert said in answer.text


def test_only_an_admin_ships(server: Server) -> None:
    for key in (server.client_key, server.server_key, server.analyst_key):
        for path in ("ship", "unship"):
            answer = server.post(f"/v1/flags/price/{path}", {"variant": "half"}, key=key)
            assert answer.status_code == 403
