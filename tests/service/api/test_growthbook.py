"""GrowthBook's SDKs over a real server: its features, its remote evaluation, its tracking plugin."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import growthbook
import pytest
import requests
from growthbook import GrowthBook
from growthbook.plugins import growthbook_tracking_plugin

from service.storage.sql import open_store
from service.use_cases.snapshot import POLL_S
from tests.server import Server, until

PAGE = "http://localhost:3000"
TEXT = {"Content-Type": "text/plain", "Origin": PAGE}


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    """The SDK keeps payloads for the whole process."""
    yield
    growthbook.feature_repo.clear_cache()


def features(server: Server, key: str = "", **headers: str) -> requests.Response:
    return requests.get(
        f"{server.base_url}/api/features/{key or server.client_key}", headers=headers, timeout=30
    )


def evaluate(server: Server, attributes: Any, **more: Any) -> requests.Response:
    body = {"attributes": attributes, "forcedVariations": {}, "forcedFeatures": [], "url": "", **more}
    return requests.post(f"{server.base_url}/api/eval/{server.client_key}", json=body, timeout=30)


def sdk(server: Server, attributes: dict[str, Any], **more: Any) -> GrowthBook:
    """Return the real SDK with features fetched over HTTP."""
    client = GrowthBook(api_host=server.base_url, client_key=server.client_key, attributes=attributes, **more)
    client.load_features()
    return client


def track(server: Server, *events: Any, key: str = "") -> list[dict[str, Any]]:
    answer = requests.post(
        f"{server.base_url}/track?client_key={key or server.client_key}",
        data=json.dumps(events),
        headers=TEXT,
        timeout=30,
    )
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def of_ofrep(server: Server, key: str, context: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = server.post(f"/ofrep/v1/evaluate/flags/{key}", {"context": context}).json()
    return found


def viewed(anonymous_id: str, **changes: Any) -> dict[str, Any]:
    """Return an exposure as the JavaScript plugin sends it."""
    said = {"experimentId": "button", "hashAttribute": "anonymous_id", "hashValue": anonymous_id, **changes}
    return {
        "event_name": "Experiment Viewed",
        "properties_json": said,
        "user_id": None,
        "device_id": anonymous_id,
        "context_json": {"country": "ES"},
        "sdk_language": "js",
    }


# --- features


def test_the_sdk_gives_the_variant_that_ofrep_gives(server: Server) -> None:
    for i in range(50):
        who = {"anonymous_id": f"v-{i}", "user_id": f"u-{i}", "country": "ES" if i % 2 else "DE"}
        client = sdk(server, who)

        for key in ("button", "price", "members", "dark-mode"):
            assert client.get_feature_value(key, None) == of_ofrep(server, key, who)["value"]


def test_features_come_with_what_sdks_and_caches_need(server: Server) -> None:
    answer = features(server, Origin=PAGE)

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["x-sse-support"] == "enabled"
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "x-sse-support" in answer.headers["Access-Control-Expose-Headers"]
    assert set(answer.json()) == {"status", "dateUpdated", "features", "savedGroups"}
    assert set(answer.json()["features"]) == {"button", "price", "members", "dark-mode"}


def test_who_has_the_features_is_told_so(server: Server) -> None:
    first = features(server)

    again = features(server, **{"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["x-sse-support"] == "enabled"


@pytest.mark.parametrize(
    ("key", "status", "why"), [("ck_unknown", 401, "not known"), ("server", 403, "secret"), ("", 404, "")]
)
def test_a_wrong_key_is_told_what_is_wrong(server: Server, key: str, status: int, why: str) -> None:
    path = server.server_key if key == "server" else key

    answer = requests.get(f"{server.base_url}/api/features/{path}", headers={"Origin": PAGE}, timeout=30)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert why in answer.json()["detail"]


def test_a_page_that_is_not_allowed_gets_nothing(server: Server) -> None:
    answer = features(server, Origin="https://evil.example")

    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_kill_reaches_the_sdk_under_a_new_date(server: Server) -> None:
    before = features(server).json()

    def is_killed() -> bool:
        answer = features(server).json()
        killed = answer["features"]["dark-mode"] == {"defaultValue": False}
        return bool(killed and answer["dateUpdated"] > before["dateUpdated"])

    server.post("/v1/flags/dark-mode/kill", {}, key=server.admin_key)
    try:
        until(is_killed)
    finally:
        server.post("/v1/flags/dark-mode/revive", {}, key=server.admin_key)
        # Eight answers may all be of one worker: the other has looked at the store by then, too.
        time.sleep(4 * POLL_S)
        until(lambda: all(features(server).json()["features"] == before["features"] for _ in range(8)))


# --- remote evaluation


def test_remote_evaluation_gives_the_values_and_hides_the_rules(server: Server) -> None:
    who = {"anonymous_id": "v-7", "user_id": "u-7", "country": "PT"}

    answer = evaluate(server, who).json()["features"]

    for key in ("button", "price", "members", "dark-mode"):
        assert answer[key]["defaultValue"] == of_ofrep(server, key, who)["value"]
    assert not any(word in json.dumps(answer) for word in ("condition", "ranges", "seed", "weights", "ES"))


def test_the_sdk_in_remote_evaluation_reports_what_it_reports_in_local_evaluation(server: Server) -> None:
    who = {"anonymous_id": "v-11", "user_id": "u-11", "country": "ES"}

    local, remote = reported(server, who, remote=False), reported(server, who, remote=True)

    assert remote == local != []


def reported(server: Server, who: dict[str, Any], *, remote: bool) -> list[tuple[Any, ...]]:
    """Return what the SDK tells its tracking callback."""
    calls: list[tuple[Any, ...]] = []

    def report(experiment: Any, result: Any, **_: Any) -> None:
        calls.append((experiment.key, result.key, result.variationId, result.hashAttribute, result.hashValue))

    client = sdk(server, who, remote_eval=remote, on_experiment_viewed=report)
    for key in ("button", "price", "members"):
        client.get_feature_value(key, None)
    return calls


@pytest.mark.parametrize("body", ["[]", '{"attributes": 3}', "{", "null"])
def test_a_body_that_is_no_evaluation_is_refused(server: Server, body: str) -> None:
    url = f"{server.base_url}/api/eval/{server.client_key}"

    answer = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=30)

    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_remote_evaluation_without_an_id_gives_the_defaults(server: Server) -> None:
    assert evaluate(server, {}).json()["features"]["button"] == {"defaultValue": "Buy"}


# --- tracking


def test_an_exposure_is_stored_once_whatever_dialect_says_it(server: Server) -> None:
    unit = str(uuid.uuid4())
    variant = of_ofrep(server, "button", {"targetingKey": unit})["variant"]
    place = ["control", "loud"].index(variant)
    python = {
        "event_name": "$$experiment_viewed",
        "properties_json": {
            "experiment_id": "button",
            "variation_id": place,
            "variation_key": variant,
            "in_experiment": True,
            "hash_attribute": "anonymous_id",
            "hash_value": unit,
        },
        "device_id": unit,
    }

    results = track(server, viewed(unit, variationId=variant), viewed(unit, variationId=str(place)), python)

    assert [one["status"] for one in results] == ["accepted", "duplicate", "duplicate"]
    assert len({one["event_id"] for one in results}) == 1


def test_an_exposure_that_does_not_agree_is_set_aside_with_the_reason(server: Server) -> None:
    unit = str(uuid.uuid4())
    variant = of_ofrep(server, "button", {"targetingKey": unit})["variant"]
    other = {"control": "loud", "loud": "control"}[variant]

    results = track(
        server,
        viewed(unit, variationId=other),
        viewed("qa-maria", experimentId="price", variationId="half"),
        viewed(unit, experimentId="nothing", variationId="0"),
        {"event_name": "Experiment Viewed"},
        None,
    )

    assert [one["status"] for one in results] == ["quarantined"] * 5
    reasons = [one["reason"] for one in results]
    assert reasons == ["variant_mismatch", "override", "unknown_experiment", "invalid_event", "invalid_event"]


def test_evaluations_are_counted_and_not_stored(server: Server) -> None:
    evaluated = {"event_name": "Feature Evaluated", "properties_json": {"feature": "button"}}

    assert track(server, evaluated) == [{"index": 0, "event_id": "", "status": "counted"}]


def test_another_event_is_ours_of_that_type(server: Server) -> None:
    unit = str(uuid.uuid4())
    order = {
        "event_name": "Order Completed",
        "properties_json": {"revenue": 12.5, "event_id": f"order-{unit}"},
        "user_id": "u-1",
        "device_id": unit,
    }
    click = {"event_name": "Clicked", "properties_json": {}, "device_id": unit}

    results = track(server, order, order, click, click)

    assert [one["status"] for one in results] == ["accepted", "duplicate", "accepted", "accepted"]
    store = open_store(server.settings)
    try:
        (stored,) = store.stored_events({f"order-{unit}"})
    finally:
        store.close()
    event = stored.received.event
    assert (event.type, event.user_id, event.anonymous_id) == ("Order Completed", "u-1", unit)
    assert event.properties["revenue"] == 12.5


@pytest.mark.parametrize("name", [["Clicked"], {"a": 1}, ["Feature Evaluated"], 5, None])
def test_an_event_whose_name_is_no_text_spoils_no_other(server: Server, name: Any) -> None:
    unit = str(uuid.uuid4())
    strange = {"event_name": name, "properties_json": {}, "device_id": unit}

    refused, stored = track(server, strange, {**strange, "event_name": "Clicked"})

    assert (refused["status"], refused["reason"]) == ("quarantined", "invalid_event")
    assert stored["status"] == "accepted"


def test_nobody_else_may_give_the_ids_of_tracked_events(server: Server) -> None:
    own = {"event_name": "Clicked", "properties_json": {"event_id": "gb-1"}, "device_id": "v-1"}
    event = {
        "event_id": "gb-2",
        "type": "Clicked",
        "anonymous_id": "v-1",
        "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }

    assert track(server, own)[0]["event_id"] != "gb-1"
    answer = server.post("/v1/events", {"events": [event]}).json()["results"][0]
    assert (answer["status"], answer["reason"]) == ("quarantined", "invalid_event")


@pytest.mark.parametrize(("body", "status"), [("{}", 400), ("[", 400), (json.dumps([{}] * 501), 413)])
def test_a_batch_that_is_none_is_refused(server: Server, body: str, status: int) -> None:
    url = f"{server.base_url}/track?client_key={server.client_key}"

    assert requests.post(url, data=body, headers=TEXT, timeout=30).status_code == status


def test_tracking_needs_a_key(server: Server) -> None:
    assert requests.post(server.base_url + "/track", data="[]", headers=TEXT, timeout=30).status_code == 401


def test_the_tracking_plugin_of_the_real_sdk_stores_exposures_and_conversions(server: Server) -> None:
    unit = str(uuid.uuid4())
    plugin = growthbook_tracking_plugin(ingestor_host=server.base_url, batch_size=3)
    client = sdk(server, {"anonymous_id": unit}, plugins=[plugin])

    client.get_feature_value("button", None)
    client.log_event("Order Completed", {"revenue": 3, "event_id": f"order-{unit}"})

    variant = of_ofrep(server, "button", {"targetingKey": unit})["variant"]
    again = viewed(unit, variationId=variant)
    store = open_store(server.settings)
    try:
        until(lambda: bool(store.stored_events({f"order-{unit}"})))
    finally:
        store.close()
    assert track(server, again)[0]["status"] == "duplicate"
    client.destroy()
