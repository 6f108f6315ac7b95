"""Whose history may decide: a client key is public and vouches for nobody."""

import uuid
from collections.abc import Iterator

import pytest

from tests.server import Server, running_server, until, write_catalog
from tests.worker import worker_of

CATALOG = {
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 1d}\n",
    "flags/buyers.yaml": "flag: buyers\naudience: {behaviour: {event: Order Completed}}\n",
    "flags/newcomers.yaml": "flag: newcomers\n"
    "audience: {behaviour: {event: Order Completed, count: {lt: 1}}}\n",
}
MARIA = "maria@shop.example"
BULK = "/ofrep/v1/evaluate/flags"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("histories")
    with running_server(root / "home", write_catalog(root / "catalog", CATALOG)) as running:
        with worker_of(running):
            order = {"event_id": "o-1", "type": "Order Completed", "user_id": MARIA}
            order["occurred_at"] = "2026-11-20T10:00:00Z"
            assert running.post("/v1/events", {"events": [order]}, key=running.server_key).ok
            until(lambda: seen(running, {"user_id": MARIA}, key=running.server_key) == (True, False))
        yield running


def seen(server: Server, context: dict[str, str], *, key: str = "", **headers: str) -> tuple[bool, bool]:
    """Return whether the context counts as a buyer, and as a newcomer."""
    flags = server.post(BULK, {"context": context}, key=key, headers=headers).json()["flags"]
    values = {flag["key"]: flag["value"] for flag in flags}
    return values["buyers"], values["newcomers"]


def test_a_client_key_learns_nothing_of_a_person_by_naming_them(server: Server) -> None:
    assert seen(server, {"user_id": MARIA}) == (False, False)
    assert seen(server, {"anonymous_id": "visitor-7"}) == (False, False)


def test_a_client_key_uses_the_history_of_an_id_that_nobody_can_guess(server: Server) -> None:
    assert seen(server, {"targetingKey": str(uuid.uuid4()), "user_id": MARIA}) == (False, True)


def test_a_person_token_vouches_for_the_person_it_names(server: Server) -> None:
    made = server.post("/v1/person-tokens", {"user_id": MARIA, "ttl_s": 600}, key=server.server_key).json()
    token = made["person_token"]

    assert seen(server, {"user_id": MARIA}, **{"X-Person-Token": token}) == (True, False)
    assert seen(server, {"user_id": MARIA, "person_token": token}) == (True, False)
    assert seen(server, {"user_id": "somebody-else", "person_token": token}) == (False, False)
    assert seen(server, {"user_id": MARIA, "person_token": token + "x"}) == (False, False)


def test_remote_evaluation_for_growthbook_keeps_the_same_rule(server: Server) -> None:
    def values(**attributes: str) -> tuple[bool, bool]:
        asked = {"attributes": attributes}
        features = server.post(f"/api/eval/{server.client_key}", asked).json()["features"]
        return features["buyers"]["defaultValue"], features["newcomers"]["defaultValue"]

    assert values(user_id=MARIA) == (False, False)
    assert values(anonymous_id=str(uuid.uuid4())) == (False, True)
