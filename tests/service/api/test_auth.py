"""Keys, scopes and browser origins, on both lanes."""

import base64
import re
from typing import Any

import pytest
import requests

from service.clock import utc_now
from service.use_cases import streams
from service.use_cases.access import hash_key
from tests.server import Server

BULK = "/ofrep/v1/evaluate/flags"
LOCAL = "http://localhost:5173"


def send(server: Server, path: str = BULK, *, body: Any = None, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(server.base_url + path, json=body or {"context": {}}, headers=named, timeout=30)


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


def test_a_key_may_come_as_bearer_as_api_key_or_as_basic_user(server: Server) -> None:
    assert send(server, Authorization=f"Bearer {server.client_key}").status_code == 200
    assert send(server, Authorization=f"bearer  {server.client_key}").status_code == 200
    assert send(server, X_API_Key=server.server_key).status_code == 200
    assert send(server, Authorization=basic(server.client_key)).status_code == 200


@pytest.mark.parametrize("path", [BULK, f"{BULK}/button", "/v1/events"])
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer ",
        "Bearer ck_wrong",
        "Basic !!!",
        "Basic Y2s6",
        "Digest x",
        "Bearer clé",
        "Bearer " + "x" * 4_000,
    ],
)
def test_no_key_or_an_unknown_one_is_a_401_with_a_challenge(
    server: Server, path: str, authorization: str
) -> None:
    headers = {"Authorization": authorization.encode()} if authorization else {}
    answer = requests.post(server.base_url + path, json={"events": []}, headers=headers, timeout=30)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_errors_are_problem_documents_except_for_ofrep(server: Server) -> None:
    problem = send(server, "/v1/events")
    ofrep = send(server)

    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["code"] == "unauthorized"
    assert problem.json()["instance"].endswith(problem.headers["X-Request-Id"])
    assert set(ofrep.json()) == {"errorCode", "errorDetails"}
    assert send(server, f"{BULK}/button").json()["key"] == "button"


def keys_of(server: Server) -> dict[str, str]:
    return {
        "ck": server.client_key,
        "sk": server.server_key,
        "rk": server.analyst_key,
        "ak": server.admin_key,
    }


def with_key(path: str, key: str) -> str:
    """Return the address of a route, with the key in it where that is where it belongs."""
    if path == streams.PATH:
        return f"{path}?token={streams.make_token(hash_key(key), utc_now())}"
    return re.sub(r"\{\w+\}", "nothing", path.replace("{client_key}", key))


def test_each_route_takes_exactly_the_keys_it_documents(server: Server) -> None:
    spec = server.get("/openapi.json").json()
    checked = 0

    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            scopes = operation.get("x-scopes")
            if scopes is None:
                continue
            for key_class, key in keys_of(server).items():
                headers = {"Authorization": f"Bearer {key}"}
                url = server.base_url + with_key(path, key)
                with requests.request(
                    method, url, json={"none": 1}, headers=headers, timeout=30, stream=True
                ) as answer:
                    allowed = key_class in scopes
                assert (answer.status_code not in (401, 403)) is allowed, f"{method} {path} {key_class}"
                checked += 1

    assert checked >= 20


def test_a_secret_key_sent_by_a_web_page_is_refused(server: Server) -> None:
    for path in (BULK, "/v1/events"):
        answer = send(server, path, Authorization=f"Bearer {server.server_key}", Origin=LOCAL)

        assert answer.status_code == 403


def test_a_secret_key_in_the_query_is_refused(server: Server) -> None:
    url = f"{server.base_url}/v1/events?client_key={server.server_key}"

    answer = requests.post(url, json={"events": []}, timeout=30)

    assert answer.status_code == 403


@pytest.mark.parametrize("path", [BULK, f"{BULK}/button", "/v1/events"])
def test_a_listed_origin_may_read_answers_errors_and_all(server: Server, path: str) -> None:
    for origin in (LOCAL, "http://127.0.0.1:8080", "https://shop.example"):
        for key in (server.client_key, "ck_wrong"):
            answer = send(server, path, Authorization=f"Bearer {key}", Origin=origin)

            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert answer.headers["Vary"] == "Origin"
            assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_304_may_be_read_by_a_page_too(server: Server) -> None:
    first = send(server, Authorization=f"Bearer {server.client_key}", Origin=LOCAL)
    again = send(
        server,
        Authorization=f"Bearer {server.client_key}",
        Origin=LOCAL,
        If_None_Match=first.headers["ETag"],
    )

    assert again.status_code == 304
    assert again.headers["Access-Control-Allow-Origin"] == LOCAL


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "http://shop.example",
        "https://shop.example:444",
        "http://localhost.evil.example",
        "https://localhost:5173",
        "http://localhost:5173/",
        "http://x@localhost",
        "null",
        "http://[",
    ],
)
@pytest.mark.parametrize("path", [BULK, "/v1/events"])
def test_another_origin_gets_a_403_and_no_permission(server: Server, path: str, origin: str) -> None:
    answer = send(server, path, Authorization=f"Bearer {server.client_key}", Origin=origin)

    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


def test_a_page_of_the_same_host_needs_no_listing(server: Server) -> None:
    origin = f"http://127.0.0.1:{server.port}"

    assert send(server, Authorization=f"Bearer {server.client_key}", Origin=origin).status_code == 200


def preflight(server: Server, path: str, origin: str, method: str = "POST") -> requests.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,authorization,if-none-match",
    }
    return requests.options(server.base_url + path, headers=headers, timeout=30)


@pytest.mark.parametrize("path", [BULK, f"{BULK}/button", "//ofrep/v1/evaluate/flags", "/v1/events"])
def test_a_preflight_needs_no_key(server: Server, path: str) -> None:
    answer = preflight(server, path, LOCAL)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == LOCAL
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"]
    wanted = (
        "authorization",
        "content-type",
        "if-none-match",
        "x-api-key",
        "x-person-token",
        "x-retry-count",
    )
    assert all(name in allowed for name in wanted)


def test_a_preflight_of_a_stranger_gets_no_permission(server: Server) -> None:
    for path in (BULK, "/v1/events"):
        assert "Access-Control-Allow-Origin" not in preflight(server, path, "https://evil.example").headers


def test_routes_of_secret_keys_know_no_cors(server: Server) -> None:
    answer = preflight(server, "/v1/person-tokens", LOCAL)
    refused = send(server, "/v1/person-tokens", Origin=LOCAL)

    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Origin" not in refused.headers


def test_every_answer_carries_safe_headers_and_an_id(server: Server) -> None:
    for answer in (send(server), send(server, "/v1/events"), server.get("/nothing"), server.get("/healthz")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Request-Id"]


def test_a_decent_request_id_is_kept_and_another_replaced(server: Server) -> None:
    for path in ("/healthz", "/readyz"):
        kept = server.get(path, headers={"X-Request-Id": "order-42.abc"})
        replaced = server.get(path, headers={"X-Request-Id": "a b<script>"})

        assert kept.headers["X-Request-Id"] == "order-42.abc"
        assert replaced.headers["X-Request-Id"] != "a b<script>"
