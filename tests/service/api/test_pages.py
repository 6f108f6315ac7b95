"""Health, metrics, the description of the routes, person tokens and erasure."""

import re
import time
import uuid
from datetime import UTC, datetime

from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from service.clock import utc_now
from service.use_cases.access import verify_person_token
from tests.server import Server


def test_health_asks_nothing_of_anybody(server: Server) -> None:
    answer = server.get("/healthz")

    assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')


def test_readiness_names_each_part(server: Server) -> None:
    answer = server.get("/readyz")

    assert answer.status_code == 200
    state = answer.json()
    assert state["status"] == "ready"
    assert state["catalog"]["revision"] >= 1
    assert state["store"] == {"ok": True, "problem": ""}
    assert set(state["model"]) == {"version", "loaded", "problem"}


def evaluations(server: Server) -> float:
    families = text_string_to_metric_families(server.get("/metrics").text)
    return sum(s.value for f in families for s in f.samples if s.name == "opportune_evaluations_total")


def test_metrics_are_sums_over_all_workers(server: Server) -> None:
    # Each worker publishes twice a second: two publications after the last request, all is told.
    time.sleep(1.5)
    before = evaluations(server)

    for _ in range(40):  # A connection each, so that both workers get some.
        server.post("/ofrep/v1/evaluate/flags/dark-mode", {"context": {}})
    time.sleep(1.5)

    assert {evaluations(server) for _ in range(10)} == {before + 40}


def test_the_description_is_valid_and_complete(server: Server) -> None:
    spec = server.get("/openapi.json").json()

    validate(spec)
    assert spec["openapi"].startswith("3.1")
    paths = set(spec["paths"])
    assert {"/v1/events", "/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/{key}", "/healthz"} <= paths
    for operations in spec["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["responses"]


def test_the_page_of_routes_names_every_route(server: Server) -> None:
    spec = server.get("/openapi.json").json()
    page = server.get("/docs")

    assert page.headers["content-type"].startswith("text/html")
    for path, operations in spec["paths"].items():
        for method in operations:
            assert f"{method.upper()} {path}" in page.text
    assert re.search(r"GET /experiments/\{key\}</code>.*\n<td[^>]*>sign-in</td>", page.text)
    assert re.search(
        r"GET /v1/experiments/\{key\}/verdict</code>.*\n<td[^>]*>[^<]*ak_, sign-in</td>", page.text
    )
    assert ">ck_, sk_</td>" in page.text
    assert "&#34;event_id&#34;:" in page.text
    assert not re.search(r"<script|https?://|built-in", page.text)


def test_a_backend_makes_a_token_for_one_person(server: Server) -> None:
    answer = server.post("/v1/person-tokens", {"user_id": "maria", "ttl_s": 120}, key=server.server_key)

    assert answer.status_code == 201
    made = answer.json()
    now = utc_now()
    secret = server.settings.signing_secret
    assert verify_person_token(secret, made["person_token"], now=now) == "u:maria"
    assert 60 < (datetime.fromisoformat(made["expires_at"]) - now).total_seconds() <= 120


def test_a_token_names_somebody_for_a_sane_time(server: Server) -> None:
    for body in ({}, {"user_id": ""}, {"user_id": "m", "ttl_s": 1}, {"user_id": "m", "ttl_s": "60"}):
        answer = server.post("/v1/person-tokens", body, key=server.server_key)

        assert answer.status_code == 422
        assert answer.json()["errors"]


def test_erasing_a_person_says_what_was_erased(server: Server) -> None:
    user = f"u-{uuid.uuid4()}"
    event = {
        "event_id": str(uuid.uuid4()),
        "type": "Product Viewed",
        "user_id": user,
        "occurred_at": datetime.now(UTC).isoformat(),
        "properties": {"item_id": "tea-1"},
    }
    server.post("/v1/events", {"events": [event]})

    answer = server.delete("/v1/people", {"user_id": user}, key=server.admin_key)

    assert answer.status_code == 200
    assert sum(answer.json()["deleted"].values()) >= 1


def test_unknown_paths_and_methods_are_problem_documents(server: Server) -> None:
    nothing = server.get("/v1/nothing")
    method = server.get("/v1/events")

    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in method.headers["Allow"]
