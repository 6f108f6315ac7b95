"""Why a context gets its variant, over HTTP: for servers and administrators only, and never a 500."""

from typing import Any

import pytest

from tests.server import Server

PATH = "/v1/flags/{}/explain"


def test_the_account_tells_every_gate_and_agrees_with_the_evaluation(server: Server) -> None:
    context = {"user_id": "u-1", "country": "DE"}
    found = server.post(PATH.format("members"), {"context": context}, key=server.server_key).json()
    served = server.post("/ofrep/v1/evaluate/flags/members", {"context": context}).json()

    assert found["assignment"]["decision"] == served["metadata"]["decision"] == "not_in_audience"
    assert found["assignment"]["value"] == served["value"]
    assert found["decided_by"] == "audience"
    (audience,) = [gate for gate in found["gates"] if gate["gate"] == "audience"]
    assert (audience["passed"], audience["facts"]["seen"]) == (False, "DE")


def test_only_server_and_admin_keys_may_ask(server: Server) -> None:
    codes = {
        key: server.post(PATH.format("button"), {}, key=key).status_code
        for key in (server.client_key, server.analyst_key, server.server_key, server.admin_key)
    }

    assert list(codes.values()) == [403, 403, 200, 200]


@pytest.mark.parametrize("key", ["nothing", "unborn", "😀", "a b"])
def test_what_is_not_live_is_not_found(server: Server, key: str) -> None:
    answer = server.post(PATH.format(key), {}, key=server.admin_key)

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_flag")


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"anonymous_id": ["x"], "user_id": {}, "country": None},
        {"anonymous_id": 7.5, "country": ["ES", {"a": []}]},
        {"anonymous_id": "x" * 200, "user_id": "a\tb"},
        {"anonymous_id": "😀e\u0301", "user_id": True, "": "", "a.b": 1, "request": "no"},
        {"country": {"in": ["ES"]}, "request": {"device": [1]}, "targetingKey": 0},
        {"country": -(2**53), "deep": {"a": {"b": {"c": [[[[]]]]}}}},
    ],
)
@pytest.mark.parametrize("key", ["button", "price", "members", "dark-mode"])
def test_odd_contexts_are_explained_too(server: Server, key: str, context: dict[str, Any]) -> None:
    answer = server.post(PATH.format(key), {"context": context}, key=server.server_key)

    assert answer.status_code == 200
    assert answer.json()["gates"][0]["gate"] == "killed"


@pytest.mark.parametrize("body", [[], {"context": 1}, {"context": None}, {"ctx": {}}])
def test_a_malformed_body_is_refused_with_a_reason(server: Server, body: Any) -> None:
    answer = server.post(PATH.format("button"), body, key=server.server_key)

    assert answer.status_code == 422
    assert answer.json()["errors"]
