"""OFREP over a real server, on both lanes."""

import json
import uuid
from typing import Any

import pytest
import requests
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

from experiments.metrics import Dimension
from service.storage.records import Event
from service.storage.sql import open_store
from service.use_cases.expose import groups_of
from tests.raw import chunked, exchange, post_head
from tests.server import Server, until

BULK = "/ofrep/v1/evaluate/flags"


def a_context(**more: Any) -> dict[str, Any]:
    return {"context": {"targetingKey": str(uuid.uuid4()), **more}}


def by_key(answer: requests.Response) -> dict[str, dict[str, Any]]:
    return {flag["key"]: flag for flag in answer.json()["flags"]}


def test_every_evaluation_has_all_members_that_clients_need(server: Server) -> None:
    answer = server.post(BULK, a_context())

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    flags = by_key(answer)
    assert sorted(flags) == ["button", "dark-mode", "members", "price"]
    for flag in flags.values():
        assert set(flag) == {"key", "value", "reason", "variant", "metadata"}
        assert flag["reason"] in {"STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED"}
        assert set(flag["metadata"]) == {
            "decision",
            "enrolled",
            "phase",
            "revision",
            "unit",
            "flagSetId",
            "version",
        }
        assert all(isinstance(value, str | int | bool) for value in flag["metadata"].values())


def test_single_and_bulk_agree_for_the_same_unit(server: Server) -> None:
    asked = a_context(country="ES", user_id="u-7")
    flags = by_key(server.post(BULK, asked))

    for key, flag in flags.items():
        single = server.post(f"{BULK}/{key}", asked).json()
        assert single["metadata"].pop("contextId") == asked["context"]["targetingKey"]
        assert single["metadata"].pop("eventsUrl") == "/v1/events"
        assert single == flag


def test_a_drafts_key_does_not_exist(server: Server) -> None:
    answer = server.post(f"{BULK}/unborn", a_context())

    assert answer.status_code == 404
    assert answer.json()["errorCode"] == "FLAG_NOT_FOUND"
    assert answer.json()["key"] == "unborn"
    assert answer.json()["errorDetails"]


def test_a_missing_targeting_key_fails_only_flags_that_split(server: Server) -> None:
    flags = by_key(server.post(BULK, {"context": {}}))

    assert flags["button"]["errorCode"] == flags["price"]["errorCode"] == "TARGETING_KEY_MISSING"
    assert flags["button"]["errorDetails"]
    assert flags["dark-mode"]["value"] is True
    assert flags["members"]["value"] == {"plan": 1}
    single = server.post(f"{BULK}/button", {"context": {}})
    assert single.status_code == 400
    assert single.json() == flags["button"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b'"x"', "PARSE_ERROR"),
        (b'{"context": NaN}', "PARSE_ERROR"),
        (b'{"context": {"n": Infinity}}', "PARSE_ERROR"),
        (b'{"context": {"n": 1e400}}', "PARSE_ERROR"),
        (b'{"context": {"a": 1, "a": 2}}', "PARSE_ERROR"),
        (b'{"context": {"a": "\\ud800"}}', "PARSE_ERROR"),
        (b'{"context": {"a": "\xff"}}', "PARSE_ERROR"),
        (b'\xef\xbb\xbf{"context": {}}', "PARSE_ERROR"),
        (b'{"context": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "PARSE_ERROR"),
        (b'{"context": 3}', "INVALID_CONTEXT"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 3}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": {}}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "a\\u0007b"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "' + b"x" * 129 + b'"}}', "INVALID_CONTEXT"),
    ],
)
@pytest.mark.parametrize("path", [BULK, f"{BULK}/button"])
def test_a_bad_body_is_a_400_in_ofreps_own_form(server: Server, path: str, sent: bytes, code: str) -> None:
    answer = server.post(path, data=sent, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["errorCode"] == code
    assert answer.json()["errorDetails"]
    assert answer.json().get("key") == (None if path == BULK else "button")


def test_floats_keep_their_point_in_every_variant(server: Server) -> None:
    seen = {
        server.post(f"{BULK}/price", a_context()).text.split('"value":')[1].split(",")[0] for _ in range(30)
    }

    assert seen == {"2.0", "1.0"}


def test_an_override_is_served_but_not_enrolled(server: Server) -> None:
    flag = server.post(f"{BULK}/price", {"context": {"targetingKey": "qa-maria"}}).json()

    assert flag["variant"] == "half"
    assert flag["metadata"]["decision"] == "override"
    assert flag["metadata"]["enrolled"] is False


@pytest.mark.parametrize("path", ["//ofrep/v1/evaluate/flags", BULK + "/", "/ofrep//v1/evaluate//flags//"])
def test_stray_slashes_are_forgiven_without_a_redirect(server: Server, path: str) -> None:
    answer = server.post(path, a_context(), allow_redirects=False)

    assert answer.status_code == 200
    assert len(answer.json()["flags"]) == 4


def test_a_stray_slash_before_a_key_is_forgiven_too(server: Server) -> None:
    answer = server.post("//ofrep/v1/evaluate/flags/button/", a_context(), allow_redirects=False)

    assert answer.json()["key"] == "button"


def test_a_key_with_a_slash_or_an_escape_reaches_the_look_up(server: Server) -> None:
    assert server.post(f"{BULK}/a/b", a_context()).json()["key"] == "a/b"
    assert server.post(f"{BULK}/caf%C3%A9", a_context()).json()["key"] == "café"
    assert server.post(f"{BULK}/dark%2Dmode", a_context()).json()["value"] is True


def test_a_path_that_is_no_text_is_refused_politely(server: Server) -> None:
    answer = server.post(f"{BULK}/%ff%fe", a_context())

    assert answer.status_code in (400, 404)
    assert answer.json()["errorDetails"]


def test_the_entity_tag_saves_the_body_and_changes_with_the_context(server: Server) -> None:
    asked = a_context()
    first = server.post(BULK, asked)
    tag = first.headers["ETag"]

    again = server.post(BULK, asked, headers={"If-None-Match": tag})
    weak = server.post(BULK, asked, headers={"If-None-Match": f'"other", W/{tag}'})
    stranger = server.post(BULK, {"context": {}}, headers={"If-None-Match": tag})

    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert weak.status_code == 304
    assert stranger.status_code == 200
    assert stranger.headers["ETag"] != tag


def test_a_body_above_64_kib_is_refused_however_it_is_sent(server: Server) -> None:
    big = json.dumps({"context": {"targetingKey": "u", "pad": "x" * (64 << 10)}}).encode()

    stated = server.post(BULK, data=big, headers={"Content-Type": "application/json"})
    status, _ = exchange(server, post_head(server, BULK, "Transfer-Encoding: chunked"), chunked(big))

    assert stated.status_code == status == 413


def test_a_chunked_body_is_read_whole(server: Server) -> None:
    body = json.dumps(a_context()).encode()

    status, data = exchange(
        server, post_head(server, BULK, "Transfer-Encoding: chunked"), chunked(body[:7], body[7:])
    )

    assert status == 200
    assert b'"dark-mode"' in data


def test_an_absolute_form_target_is_understood(server: Server) -> None:
    body = json.dumps(a_context()).encode()

    status, _ = exchange(
        server, post_head(server, f"http://somewhere{BULK}", f"Content-Length: {len(body)}"), body
    )

    assert status == 200


def test_another_method_is_refused_in_ofreps_form(server: Server) -> None:
    answer = server.get(BULK, key=server.client_key)

    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.json()["errorDetails"]


def test_exposing_stores_one_event_however_often_it_is_asked(server: Server) -> None:
    asked = {**a_context(), "expose": True}

    first = server.post(f"{BULK}/button", asked)
    second = server.post(f"{BULK}/button", asked)

    assert first.status_code == second.status_code == 200
    assert first.json()["metadata"]["exposure"] == "accepted"
    assert second.json()["metadata"]["exposure"] == "duplicate"
    assert first.json()["variant"] == second.json()["variant"]
    assert _stored_of(server, asked["context"]["targetingKey"]) == ["Experiment Viewed"]


def test_exposing_stores_nothing_of_the_context_that_no_dimension_names(server: Server) -> None:
    asked = {**a_context(country="ES", device="mobile"), "expose": True}

    server.post(f"{BULK}/button", asked)

    (stored,) = _events_of(server, asked["context"]["targetingKey"])
    own = {"experiment_key", "variant_key", "unit_type", "unit_id", "phase", "revision"}
    assert set(stored.properties) == own


def test_what_results_are_cut_by_is_taken_from_the_context_by_listed_values_only() -> None:
    cuts = (
        Dimension(key="d", property="device", values=("mobile", "desktop")),
        Dimension(key="c", property="country", values=("ES",)),
        Dimension(key="i", property="country", values=("PT", "FR")),
        Dimension(key="p", property="plan", values=(1, True)),
    )

    assert groups_of({"device": "mobile", "country": "FR", "mail": "x"}, cuts) == {
        "device": "mobile",
        "country": "FR",
    }
    assert groups_of({"device": "a rare one", "country": "DE", "plan": None}, cuts) == {
        "device": "other",
        "country": "other",
    }
    assert groups_of({"plan": True, "device": ["mobile"]}, cuts) == {"plan": True}
    assert cuts[1].group_of("other") == "other"


def test_exposing_what_is_not_enrolled_stores_nothing(server: Server) -> None:
    answer = server.post(f"{BULK}/dark-mode", {**a_context(), "expose": True})

    assert answer.json()["metadata"]["exposure"] == "none"


def test_exposing_a_member_stores_the_user_id(server: Server) -> None:
    asked = {"context": {"user_id": f"u-{uuid.uuid4()}", "country": "PT"}, "expose": True}

    answer = server.post(f"{BULK}/members", asked)

    assert answer.json()["metadata"]["exposure"] == "accepted"
    assert answer.json()["metadata"]["unit"] == "user_id"


@pytest.mark.parametrize(
    "beside",
    [{"user_id": 42}, {"user_id": "u" * 129}, {"user_id": True}, {"anonymous_id": ""}, {"user_id": []}],
)
def test_an_exposure_is_stored_whatever_other_ids_come_along(server: Server, beside: dict[str, Any]) -> None:
    unit = next(u for u in map(str, iter(uuid.uuid4, None)) if _is_enrolled(server, u))

    answer = server.post(f"{BULK}/button", {"context": {"targetingKey": unit, **beside}, "expose": True})

    assert answer.json()["metadata"]["exposure"] == "accepted"


def test_a_unit_id_that_no_event_could_carry_is_not_enrolled(server: Server) -> None:
    asked = {"context": {"anonymous_id": "x" * 300}, "expose": True}

    answer = server.post(f"{BULK}/button", asked)

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "TARGETING_KEY_MISSING")


def _is_enrolled(server: Server, unit: str) -> bool:
    answer = server.post(f"{BULK}/button", {"context": {"targetingKey": unit}})
    return bool(answer.json()["metadata"]["enrolled"])


def test_evaluations_are_counted_apart_from_exposures(server: Server) -> None:
    server.post(BULK, a_context())

    # The other worker may have answered, and publishes twice a second.
    until(lambda: 'opportune_evaluations_total{kind="bulk"}' in server.get("/metrics").text)
    assert 'opportune_http_requests_total{status="200"}' in server.get("/metrics").text


def _stored_of(server: Server, anonymous_id: str) -> list[str]:
    return [event.type for event in _events_of(server, anonymous_id)]


def _events_of(server: Server, anonymous_id: str) -> list[Event]:
    store = open_store(server.settings)
    try:
        events = [logged.received.event for logged in store.read(0, 100_000)]
    finally:
        store.close()
    return [event for event in events if event.anonymous_id == anonymous_id]


# --- the real OpenFeature client


def _details(server: Server, kind: str, key: str, default: Any, **context: Any) -> FlagEvaluationDetails[Any]:
    provider = OFREPProvider(
        server.base_url + "/", headers_factory=lambda: {"Authorization": f"Bearer {server.client_key}"}
    )
    api.set_provider(provider)
    try:
        client = api.get_client()
        unit = context.pop("unit", str(uuid.uuid4()))
        evaluate = getattr(client, f"get_{kind}_details")
        details: FlagEvaluationDetails[Any] = evaluate(key, default, EvaluationContext(unit, context))
        return details
    finally:
        api.clear_providers()


def test_the_openfeature_client_reads_a_boolean(server: Server) -> None:
    details = _details(server, "boolean", "dark-mode", False)

    assert details.error_code is None
    assert (details.value, details.variant, details.reason) == (True, "on", Reason.STATIC)


def test_the_openfeature_client_reads_a_string_that_was_split(server: Server) -> None:
    details = _details(server, "string", "button", "")

    assert details.error_code is None
    assert details.reason == Reason.SPLIT
    assert details.value == {"control": "Buy", "loud": "BUY NOW"}[str(details.variant)]
    assert details.flag_metadata["enrolled"] is True


def test_the_openfeature_client_reads_a_float_that_looks_whole(server: Server) -> None:
    values = {_details(server, "float", "price", -1.0, unit=f"u-{i}").value for i in range(12)}

    assert values == {1.0, 2.0}


def test_the_openfeature_client_reads_an_object(server: Server) -> None:
    details = _details(server, "object", "members", {}, user_id="u-1", country="ES")

    assert details.error_code is None
    assert details.value["plan"] in (1, 2)


def test_the_openfeature_client_learns_why_a_flag_failed(server: Server) -> None:
    unknown = _details(server, "boolean", "nothing", False)
    assert unknown.error_code == ErrorCode.FLAG_NOT_FOUND
    missing = _details(server, "string", "button", "x", unit=None)
    assert missing.error_code == ErrorCode.TARGETING_KEY_MISSING
    assert missing.value == "x"
