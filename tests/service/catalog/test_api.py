"""Control over HTTP, through a real server: catalogs go live as a whole, switches reach every worker."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from tests.server import CATALOG, Server, running_server, write_catalog

WITHIN_S = 10.0
BUTTON = "/ofrep/v1/evaluate/flags/button"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("control")
    with running_server(home / "home", write_catalog(home / "catalog"), WEB_CONCURRENCY="2") as running:
        yield running


def eventually(question: Callable[[], bool]) -> bool:
    """Ask until the answer is yes; the bound is far above the promise, which a test of speed would state."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if all(question() for _ in range(10)):  # connections spread over both workers
            return True
        time.sleep(0.1)
    return False


def reason(server: Server) -> str:
    answer = server.post(BUTTON, {"context": {"targetingKey": "visitor-1"}})
    return str(answer.json()["reason"])


def control(server: Server, path: str, body: Any = None) -> Any:
    return server.post(path, {} if body is None else body, key=server.admin_key)


def test_a_bad_catalog_is_refused_whole_with_every_error(server: Server) -> None:
    before = server.get("/v1/catalog/status", key=server.analyst_key).json()
    files = {**CATALOG, "x.yaml": "flag: x\nvalu: 1\nallocation: 0.5\n"}

    answer = control(server, "/v1/catalog", {"files": files})

    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_catalog"
    assert [(e["pointer"], e["reason"][:8]) for e in problem["errors"]] == [
        ("/files/x.yaml", "2:1 E102"),
        ("/files/x.yaml", "3:13 E30"),
    ]
    assert server.get("/v1/catalog/status", key=server.analyst_key).json() == before


def test_a_harmful_change_is_a_conflict(server: Server) -> None:
    moved = CATALOG["experiments/price.yaml"].replace("50%", "20%")

    answer = control(server, "/v1/catalog", {"files": {**CATALOG, "experiments/price.yaml": moved}})

    assert answer.status_code == 409
    assert answer.json()["errors"][0]["pointer"] == "/files/experiments~1price.yaml"


def test_a_good_catalog_is_live_in_every_worker(server: Server) -> None:
    files = {**CATALOG, "flags/new.yaml": "flag: fresh\nvalue: 7\notherwise: 1\n"}

    answer = control(server, "/v1/catalog", {"files": files})

    assert answer.status_code == 200
    assert answer.json()["changed"] is True
    again = control(server, "/v1/catalog", {"files": files}).json()
    assert again == {"revision": answer.json()["revision"], "changed": False}
    fresh = "/ofrep/v1/evaluate/flags/fresh"
    assert eventually(lambda: server.post(fresh, {"context": {"targetingKey": "v"}}).status_code == 200)
    status = server.get("/v1/catalog/status", key=server.server_key).json()
    assert status["revision"] == answer.json()["revision"]
    assert "fresh" in {d["key"] for d in status["definitions"]}


def test_the_status_shows_the_share_of_now_and_the_place_in_a_layer(server: Server) -> None:
    ramp = "[{at: 2016-01-01T00:00Z, share: 5%}, {at: 2099-01-01T00:00Z, share: 50%}]"
    slow = f"flag: slow\nlayer: {{name: page, from: 40%, share: 30%}}\nramp: {ramp}\n"

    revision = control(
        server, "/v1/catalog", {"files": {**CATALOG, "l.yaml": "layers: {page: {}}\n", "s.yaml": slow}}
    ).json()["revision"]

    def status() -> Any:
        return server.get("/v1/catalog/status", key=server.analyst_key).json()

    assert eventually(lambda: status()["revision"] == revision)
    shown = {d["key"]: (d["allocation"], d["layer"]) for d in status()["definitions"]}
    assert shown["slow"] == (0.05, "page, 40% to 70%")
    assert shown["button"][1] is None


@pytest.mark.parametrize("key", ["button", "*", "%2A"])
def test_kill_and_revive_reach_every_worker(server: Server, key: str) -> None:
    name = unquote(key)
    assert control(server, f"/v1/flags/{key}/kill").json() == {"key": name, "killed": True}
    assert eventually(lambda: reason(server) == "DISABLED")

    assert control(server, f"/v1/flags/{key}/revive").json() == {"key": name, "killed": False}
    assert eventually(lambda: reason(server) == "SPLIT")


def test_unknown_keys_and_lesser_keys_are_refused(server: Server) -> None:
    unknown = control(server, "/v1/flags/buton/kill")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_flag")
    assert "did you mean 'button'?" in unknown.json()["detail"]
    for key in (server.client_key, server.server_key, server.analyst_key):
        assert server.post("/v1/catalog", {"files": CATALOG}, key=key).status_code == 403
        assert server.post("/v1/flags/button/kill", {}, key=key).status_code == 403
    assert server.get("/v1/catalog/status", key=server.client_key).status_code == 403


@pytest.mark.parametrize("body", [{}, {"files": []}, {"files": {"a.yaml": 5}}, {"files": {}, "more": 1}])
def test_a_body_of_another_form_is_told(server: Server, body: Any) -> None:
    answer = control(server, "/v1/catalog", body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
