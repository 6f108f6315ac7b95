"""Previews, facts of the request and the rate limit, through all three doors."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from service.clock import utc_now
from service.use_cases.preview import make_preview
from tests.server import AS_USUAL, CATALOG, Server, Start, running_server, write_catalog

BULK = "/ofrep/v1/evaluate/flags"
GTHREAD = Start(command=("-k", "gthread", "--threads", "8", "service.wsgi:application"))
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 Safari/604.1"
DOORS: dict[str, tuple[Start, dict[str, str]]] = {
    "hot": (AS_USUAL, {}),
    "flask": (AS_USUAL, {"OPPORTUNE_HOT_LANE": "0"}),
    "wsgi": (GTHREAD, {}),
}
MORE = {
    "flags/phones.yaml": "flag: phones\naudience: {all: [{request.device: {eq: mobile}}]}\n",
    "flags/some-hour.yaml": "flag: some-hour\naudience: {all: [{request.hour: {gte: 0}}]}\n",
}


@pytest.fixture(scope="module", params=list(DOORS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp(request.param)
    catalog = write_catalog(root / "catalog", {**CATALOG, **MORE})
    how, env = DOORS[request.param]
    with running_server(
        root / "home", catalog, how, OPPORTUNE_PUBLIC_URL="https://shop.example/flags", **env
    ) as running:
        yield running


def token(server: Server, minutes: int = 5, **variants: str) -> str:
    expires_at = utc_now() + timedelta(minutes=minutes)
    named = {key.replace("_", "-"): variant for key, variant in variants.items()}
    return make_preview(server.settings.signing_secret, named, expires_at=expires_at)


def by_key(answer: requests.Response) -> dict[str, dict[str, Any]]:
    return {flag["key"]: flag for flag in answer.json()["flags"]}


def test_a_preview_shows_a_variant_even_of_a_draft_and_enrols_nobody(server: Server) -> None:
    asked = {"context": {"targetingKey": "u-1"}}
    good = token(server, button="loud", unborn="treatment", dark_mode="off")

    ways = [
        server.post(BULK, {"context": {**asked["context"], "preview": good}}),
        server.post(BULK, asked, headers={"X-Opportune-Preview": good}),
        server.post(BULK, asked, headers={"Cookie": f"a=b; opportune_preview={good}"}),
    ]

    for answer in ways:
        flags = by_key(answer)
        assert answer.json()["metadata"]["preview"] == "on"
        assert flags["button"]["variant"] == "loud"
        assert flags["unborn"]["value"] is True
        assert flags["dark-mode"]["value"] is False
        for key in ("button", "unborn", "dark-mode"):
            assert flags[key]["metadata"]["decision"] == "override"
            assert flags[key]["metadata"]["enrolled"] is False
        assert "errorCode" not in flags["price"]


def test_a_preview_of_one_flag_stores_no_exposure(server: Server) -> None:
    headers = {"X-Opportune-Preview": token(server, button="loud", unborn="treatment")}
    asked = {"context": {"targetingKey": "u-1"}, "expose": True}

    answer = server.post(f"{BULK}/button", asked, headers=headers).json()
    draft = server.post(f"{BULK}/unborn", {"context": {}}, headers=headers).json()

    assert answer["variant"] == "loud"
    assert answer["metadata"]["exposure"] == "none"
    assert (draft["value"], draft["metadata"]["preview"]) == (True, "on")


def test_a_token_that_is_old_or_forged_changes_nothing_but_is_told(server: Server) -> None:
    asked = {"context": {"targetingKey": "u-1"}}
    plain = by_key(server.post(BULK, asked))

    for bad in (token(server, minutes=-1, button="loud"), "nonsense"):
        answer = server.post(BULK, asked, headers={"X-Opportune-Preview": bad})
        assert answer.json()["metadata"]["preview"] == "invalid"
        assert by_key(answer) == plain


def test_a_preview_of_what_does_not_exist_is_as_if_not_asked(server: Server) -> None:
    headers = {"X-Opportune-Preview": token(server, nothing="a", button="no-such")}

    flags = by_key(server.post(BULK, {"context": {"targetingKey": "u-1"}}, headers=headers))

    assert "nothing" not in flags
    assert flags["button"]["metadata"]["decision"] != "override"


def test_the_device_comes_from_the_user_agent_and_not_from_the_client(server: Server) -> None:
    lie = {"context": {"request": {"device": "mobile", "hour": -1}}}

    phone = by_key(server.post(BULK, {"context": {}}, headers={"User-Agent": PHONE}))
    script = by_key(server.post(BULK, lie))

    assert phone["phones"]["value"] is True
    assert script["phones"]["value"] is False
    assert script["some-hour"]["value"] is True


def test_the_set_says_what_telemetry_and_tracking_need(server: Server) -> None:
    told = server.post(BULK, {"context": {"targetingKey": "u-1"}}).json()
    nobody = server.post(BULK, {"context": {}}).json()

    assert told["metadata"] == {
        "revision": 1,
        "flagSetId": "default",
        "version": "1",
        "eventsUrl": "https://shop.example/flags/v1/events",
        "contextId": "u-1",
    }
    assert told["eventStreams"][0]["url"].startswith("https://shop.example/flags/ofrep/v1/streams?token=")
    assert "contextId" not in nobody["metadata"]


@pytest.mark.parametrize("door", list(DOORS))
def test_too_many_evaluations_are_refused_for_one_address_only(tmp_path: Path, door: str) -> None:
    how, env = DOORS[door]
    limits = {"OPPORTUNE_RATE_LIMIT": "3", "OPPORTUNE_PROXIES": "127.0.0.1", "WEB_CONCURRENCY": "1"}
    with running_server(
        tmp_path / "home", write_catalog(tmp_path / "catalog"), how, **limits, **env
    ) as server:
        headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "Origin": "http://localhost:1"}
        answers = [server.post(BULK, {"context": {}}, headers=headers) for _ in range(40)]
        refused = [a for a in answers if a.status_code == 429]
        other = server.post(BULK, {"context": {}}, headers={"X-Forwarded-For": "203.0.113.10"})

        assert {a.status_code for a in answers[:3]} == {200}
        assert refused
        for answer in refused:
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:1"
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
            assert answer.json()["errorCode"] == "GENERAL"
        assert other.status_code == 200
        asked = {"context": {"targetingKey": "u-1"}, "expose": True}
        fresh = server.post(f"{BULK}/button", asked, headers={"X-Forwarded-For": "203.0.113.11"})
        assert fresh.json()["metadata"]["exposure"] == "accepted"
