"""Names that no database takes are names of nothing, on every route and on both lanes."""

from collections.abc import Iterator

import pytest
from flask import Flask

from service.app import build_services, create_app, shut_down
from service.settings import load
from service.storage.records import KeyClass
from service.storage.sql import open_store
from service.use_cases.access import hash_key
from tests.postgres import Cluster
from tests.server import Server
from tests.service.use_cases.shops import START, launched

ADMIN = "ak_" + "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def app(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Give the application over PostgreSQL, which takes no text with a NUL."""
    home = tmp_path_factory.mktemp("home")
    settings = load(
        {
            "OPPORTUNE_HOME": str(home),
            "OPPORTUNE_CATALOG": str(home / "catalog"),
            "OPPORTUNE_DATABASE_URL": cluster.new_database(),
        }
    )
    store = open_store(settings)
    launched(store)
    store.set_keys("test", {hash_key(ADMIN): KeyClass.ADMIN}, now=START)
    store.close()
    services = build_services(settings)
    yield create_app(services)
    shut_down(services)


def test_a_path_with_a_nul_is_that_of_nothing_on_every_route_that_takes_a_name(app: Flask) -> None:
    routes = [rule for rule in app.url_map.iter_rules() if rule.arguments]
    assert len(routes) > 15
    for rule in routes:
        (name,) = rule.arguments
        for hole in ("a%00b", "%00", "a%00b.1.1", "a%00b.1.d1"):
            path = rule.rule.replace(f"<path:{name}>", hole).replace(f"<{name}>", hole)
            for method in sorted({"GET", "POST"} & (rule.methods or set())):
                answer = app.test_client().open(
                    path, method=method, json={}, headers={"Authorization": f"Bearer {ADMIN}"}
                )
                assert answer.status_code == 404, (method, path)


def test_a_path_with_a_nul_has_a_problem_of_its_own(app: Flask) -> None:
    answer = app.test_client().get("/v1/verdicts/a%00b.1.1", headers={"Authorization": f"Bearer {ADMIN}"})

    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert (answer.json["code"], answer.json["detail"]) == (
        "not_found",
        "no name holds a NUL, and this path does",
    )


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/decisions?experiment=a%00b", "/experiment"),
        ("/v1/decisions?limit=%00", "/limit"),
        ("/v1/decisions?a%00b=1", "/a\0b"),
        ("/v1/quarantine?reason=a%00b", "/reason"),
        ("/v1/quarantine?after=a%00b", "/after"),
    ],
)
def test_a_query_with_a_nul_is_refused_with_its_place(app: Flask, path: str, pointer: str) -> None:
    answer = app.test_client().get(path, headers={"Authorization": f"Bearer {ADMIN}"})

    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_query")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("path", ["/ofrep/v1/evaluate/flags/a%00b", "/api/eval/ck_%00"])
def test_both_lanes_refuse_a_nul_in_the_same_words(server: Server, path: str) -> None:
    answer = server.post(path, {"context": {"targetingKey": "u1"}})

    assert answer.status_code == 404
    told = answer.json()
    assert told.get("errorDetails", told.get("detail")) == "no name holds a NUL, and this path does"
