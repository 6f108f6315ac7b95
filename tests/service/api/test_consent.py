"""Consent, links and profiles over the application: who may say what, and what follows at once."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.app import build_services, create_app
from service.settings import load
from service.storage.migrate import migrate
from service.use_cases.access import sign_person_token
from service.use_cases.launch import apply
from service.use_cases.services import Services

KEYS = {
    "OPPORTUNE_CLIENT_KEY": "ck_" + "c" * 32,
    "OPPORTUNE_SERVER_KEY": "sk_" + "5" * 32,
    "OPPORTUNE_ADMIN_KEY": "ak_" + "a" * 32,
    "OPPORTUNE_SIGNING_SECRET": "s" * 48,
}
CLIENT, SERVER, ADMIN = (
    {"Authorization": f"Bearer {KEYS[f'OPPORTUNE_{name}_KEY']}"} for name in ("CLIENT", "SERVER", "ADMIN")
)
BROWSER = "0f8fad5b-d9cb-469f-a165-70867728950e"
NO_ADS = [{"purpose": "personalization", "status": "denied"}]
NOTHING_AT_ALL = [*NO_ADS, {"purpose": "experimentation", "status": "denied"}]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = load({"OPPORTUNE_HOME": str(tmp_path), **KEYS})
    migrate(settings.database_url)
    opened = build_services(settings)
    yield opened
    opened.store.close()


@pytest.fixture
def client(services: Services) -> FlaskClient:
    return create_app(services).test_client()


def token_for(services: Services, subject: str) -> str:
    expires_at = services.clock() + timedelta(minutes=5)
    return sign_person_token(KEYS["OPPORTUNE_SIGNING_SECRET"], subject=subject, expires_at=expires_at)


def decide(client: FlaskClient, headers: dict[str, str] = SERVER, **body: Any) -> TestResponse:
    whole = {"decisions": NO_ADS, "text_version": "2026-11", **body}
    return client.post("/v1/consent", json=whole, headers=headers)


def send(
    client: FlaskClient, *events: dict[str, Any], headers: dict[str, str] = CLIENT
) -> list[dict[str, Any]]:
    answer = client.post("/v1/events", json={"events": events}, headers=headers)
    results: list[dict[str, Any]] = answer.get_json()["results"]
    return results


def a_view(services: Services, event_id: str, **ids: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": "Product Viewed",
        "occurred_at": services.clock().isoformat(),
        "properties": {"item_id": "tea"},
        **ids,
    }


def profile(client: FlaskClient, headers: dict[str, str] = SERVER, **who: str) -> dict[str, Any]:
    answer = client.post("/v1/people/profile", json=who, headers=headers)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def test_a_browser_decides_for_itself_and_the_next_event_heeds_it(
    services: Services, client: FlaskClient
) -> None:
    assert send(client, a_view(services, "e1", anonymous_id=BROWSER))[0]["status"] == "accepted"

    answer = decide(client, CLIENT, anonymous_id=BROWSER, decisions=NOTHING_AT_ALL)

    assert answer.status_code == 200
    assert answer.get_json()["stored"] == 2
    assert answer.get_json()["in_force"] == {
        f"a:{BROWSER}": {"experimentation": "denied", "personalization": "denied"}
    }
    (refused,) = send(client, a_view(services, "e2", anonymous_id=BROWSER))
    assert (refused["status"], refused["reason"]) == ("refused", "no_consent")


def test_a_withdrawal_can_be_withdrawn(services: Services, client: FlaskClient) -> None:
    decide(client, CLIENT, anonymous_id=BROWSER, decisions=NOTHING_AT_ALL)
    granted = [{**one, "status": "granted"} for one in NOTHING_AT_ALL]

    decide(client, CLIENT, anonymous_id=BROWSER, decisions=granted)

    assert send(client, a_view(services, "e1", anonymous_id=BROWSER))[0]["status"] == "accepted"


def test_who_refused_personalization_leaves_no_interaction_and_no_activity(
    services: Services, client: FlaskClient
) -> None:
    decide(client, user_id="ana")

    assert send(client, a_view(services, "e1", user_id="ana"), headers=SERVER)[0]["status"] == "accepted"

    found = profile(client, user_id="ana")
    assert (found["interactions"], found["activity"], found["last_seen"]) == ([], [], None)
    assert services.store.read(0, 9)[0].received.privacy == "no_personalization no_training"


@pytest.mark.parametrize(
    "who", [{"user_id": "ana"}, {"anonymous_id": "visitor-7"}, {"anonymous_id": "maria"}]
)
def test_a_public_key_decides_for_nobody_whose_id_can_be_guessed(
    client: FlaskClient, who: dict[str, str]
) -> None:
    answer = decide(client, CLIENT, **who)

    assert answer.status_code == 403
    assert "person_token" in answer.get_json()["detail"]


@pytest.mark.parametrize("where", ["body", "header"])
def test_a_person_token_lets_a_user_decide(services: Services, client: FlaskClient, where: str) -> None:
    token = token_for(services, "u:ana")
    body = {"person_token": token} if where == "body" else {}
    headers = {**CLIENT, "X-Person-Token": token} if where == "header" else CLIENT

    assert decide(client, headers, user_id="ana", **body).status_code == 200
    assert decide(client, headers, user_id="bob", **body).status_code == 403


def test_both_ids_are_decided_for(services: Services, client: FlaskClient) -> None:
    answer = decide(
        client, CLIENT, user_id="ana", anonymous_id=BROWSER, person_token=token_for(services, "u:ana")
    )

    assert set(answer.get_json()["in_force"]) == {"u:ana", f"a:{BROWSER}"}


def test_what_is_needed_to_prove_a_decision_is_kept(client: FlaskClient) -> None:
    signals = {**CLIENT, "Sec-GPC": "1", "DNT": "1"}
    decide(client, signals, anonymous_id=BROWSER, proof="banner 7, button 'No'", consent_id="c-1")

    (kept,) = profile(client, anonymous_id=BROWSER)["consents"]

    assert (kept["consent_id"], kept["text_version"], kept["trust"]) == ("c-1", "2026-11", "client")
    assert (kept["source"], kept["proof"]) == ("api gpc dnt", "banner 7, button 'No'")


def test_a_repeat_is_stored_once_and_an_id_never_means_two_things(client: FlaskClient) -> None:
    first = decide(client, user_id="ana", consent_id="c-1")
    again = decide(client, user_id="ana", consent_id="c-1")
    other = decide(
        client,
        user_id="ana",
        consent_id="c-1",
        decisions=[{"purpose": "personalization", "status": "granted"}],
    )

    assert (first.get_json()["stored"], again.get_json()["stored"]) == (1, 0)
    assert (other.status_code, other.get_json()["code"]) == (409, "conflict")
    assert profile(client, user_id="ana")["in_force"] == {"u:ana": {"personalization": "denied"}}


def test_a_server_may_bring_old_decisions_and_the_latest_stands(
    services: Services, client: FlaskClient
) -> None:
    decide(client, user_id="ana")
    old = (services.clock() - timedelta(days=900)).isoformat()

    answer = decide(
        client,
        user_id="ana",
        decisions=[{"purpose": "personalization", "status": "granted", "decided_at": old}],
    )

    assert answer.get_json()["in_force"] == {"u:ana": {"personalization": "denied"}}


@pytest.mark.parametrize(
    ("headers", "hours", "why"), [(SERVER, 1, "ahead"), (CLIENT, 0, "only a server key")]
)
def test_a_decision_is_not_dated_ahead_nor_by_a_browser(
    services: Services, client: FlaskClient, headers: dict[str, str], hours: int, why: str
) -> None:
    at = (services.clock() + timedelta(hours=hours)).isoformat()
    decisions = [{"purpose": "location", "status": "granted", "decided_at": at}]

    answer = decide(client, headers, anonymous_id=BROWSER, decisions=decisions)

    assert answer.status_code == 422
    (error,) = answer.get_json()["errors"]
    assert error["pointer"] == "/decisions/0/decided_at"
    assert why in error["reason"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"decisions": []}, "/decisions"),
        ({"decisions": [*NO_ADS, *NO_ADS]}, "/decisions"),
        ({"decisions": [{"purpose": "spam", "status": "granted"}]}, "/decisions/0/purpose"),
        ({"decisions": [{"purpose": "location", "status": "perhaps"}]}, "/decisions/0/status"),
        ({"text_version": ""}, "/text_version"),
        ({"user_id": None}, "/user_id"),
        ({"proof": 7}, "/proof"),
    ],
)
def test_a_wrong_decision_is_told_where(client: FlaskClient, body: dict[str, Any], pointer: str) -> None:
    answer = decide(client, **{"user_id": "ana", **body})

    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.get_json()["errors"]}


def test_gpc_is_announced_as_the_catalog_says(services: Services, client: FlaskClient) -> None:
    assert client.get("/.well-known/gpc.json").get_json()["gpc"] is True

    apply(services.store, {"d.yaml": "data: {opt_out_signals: record}\n"}, by="test", now=services.clock())
    services.snapshots.refresh()

    answer = client.get("/.well-known/gpc.json")
    assert answer.mimetype == "application/json"
    assert set(answer.get_json()) == {"gpc", "lastUpdate"}
    assert answer.get_json()["gpc"] is False


def test_a_server_joins_devices_and_accounts(services: Services, client: FlaskClient) -> None:
    send(client, a_view(services, "e1", anonymous_id=BROWSER))

    for body in ({"anonymous_id": BROWSER}, {"previous_user_id": "ana-old"}):
        answer = client.post("/v1/identity/link", json={"user_id": "ana", **body}, headers=SERVER)
        assert answer.status_code == 200

    assert answer.get_json() == {"user_ids": ["ana", "ana-old"], "anonymous_ids": [BROWSER]}
    found = profile(client, user_id="ana")
    assert [one["item_id"] for one in found["interactions"]] == ["tea"]
    assert [one["n"] for one in found["activity"]] == [1]
    assert found["last_seen"] is not None


@pytest.mark.parametrize(
    ("body", "subject", "status"),
    [
        ({"user_id": "ana", "anonymous_id": BROWSER}, "u:ana", 200),
        ({"user_id": "ana", "anonymous_id": BROWSER}, "u:bob", 403),
        ({"user_id": "ana", "anonymous_id": "visitor-7"}, "u:ana", 403),
        ({"user_id": "ana", "previous_user_id": "bob"}, "u:ana", 403),
        ({"user_id": "ana"}, "u:ana", 422),
        ({"user_id": "ana", "previous_user_id": "ana"}, "u:ana", 422),
    ],
)
def test_a_browser_joins_only_itself_to_the_user_of_its_token(
    services: Services, client: FlaskClient, body: dict[str, str], subject: str, status: int
) -> None:
    whole = {**body, "person_token": token_for(services, subject)}

    assert client.post("/v1/identity/link", json=whole, headers=CLIENT).status_code == status


def test_a_browsers_claim_shows_in_the_profile_and_opens_nothing(
    services: Services, client: FlaskClient
) -> None:
    send(client, a_view(services, "e1", anonymous_id="visitor-7"))
    send(client, a_view(services, "e2", anonymous_id="visitor-7", user_id="thief"))

    found = profile(client, user_id="thief")

    assert found["anonymous_ids"] == []
    assert [(one["from_id"], one["trust"]) for one in found["links"]] == [("a:visitor-7", "client")]
    assert [one["person_id"] for one in found["interactions"]] == ["u:thief"]


@pytest.mark.parametrize(("headers", "status"), [(CLIENT, 403), (ADMIN, 200)])
def test_a_profile_is_not_for_browsers(client: FlaskClient, headers: dict[str, str], status: int) -> None:
    answer = client.post("/v1/people/profile", json={"user_id": "ana"}, headers=headers)

    assert answer.status_code == status


def test_nothing_is_known_of_an_erased_person(services: Services, client: FlaskClient) -> None:
    send(client, a_view(services, "e1", user_id="ana", anonymous_id=BROWSER), headers=SERVER)
    decide(client, user_id="ana", decisions=[{"purpose": "location", "status": "granted"}])

    answer = client.delete("/v1/people", json={"user_id": "ana"}, headers=ADMIN)

    assert answer.get_json()["deleted"]["consent"] == 1
    assert answer.get_json()["deleted"]["identity_link"] == 1
    found = profile(client, user_id="ana")
    assert {name for name, value in found.items() if value} == {"user_ids"}
