"""Unmodified OpenFeature SDKs of backends against a real server: the same person, the same variant."""

from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails

from tests.clients.asking import TOLD, asks, expected, told
from tests.clients.catalog import ASKS, Ask, people
from tests.clients.kit import Node
from tests.server import Server

PEOPLE = people(36)

pytestmark = pytest.mark.e2e


def python_client(shop: Server) -> OpenFeatureClient:
    headers = {"Authorization": f"Bearer {shop.client_key}"}
    api.set_provider(OFREPProvider(shop.base_url, headers_factory=lambda: headers), domain=shop.base_url)
    return api.get_client(shop.base_url)


def ask_python(client: OpenFeatureClient, ask: Ask, context: dict[str, Any]) -> FlagEvaluationDetails[Any]:
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    asked = EvaluationContext(context.get("targetingKey"), attributes)
    details: FlagEvaluationDetails[Any] = getattr(client, f"get_{ask.type}_details")(
        ask.flag, ask.otherwise, asked
    )
    return details


def test_python_node_and_http_agree_on_every_flag_of_every_person(shop: Server, node: Node) -> None:
    client = python_client(shop)

    for person in PEOPLE:
        wanted = expected(shop, person)
        in_python = [ask_python(client, ask, person) for ask in ASKS]
        in_node = node("openfeature", url=shop.base_url, key=shop.client_key, cases=asks(person))

        assert [details.error_code for details in in_python] == [None] * len(ASKS)
        assert [(d.value, d.variant, *(d.flag_metadata[n] for n in TOLD)) for d in in_python] == wanted
        assert [told(details) for details in in_node] == wanted


def test_these_people_see_every_variant_and_nearly_every_decision(shop: Server) -> None:
    rows = [
        (ask.flag, *row) for person in PEOPLE for ask, row in zip(ASKS, expected(shop, person), strict=True)
    ]
    seen = {(flag, variant) for flag, _, variant, *_ in rows}

    assert {("hero", v) for v in ("control", "banner", "countdown")} <= seen
    assert {("discount", v) for v in ("control", "tenth", "round", "default")} <= seen
    assert {("members", v) for v in ("control", "gold", "default")} <= seen
    assert {"enrolled", "override", "not_in_allocation", "not_in_audience"} <= {row[3] for row in rows}


def test_a_python_backend_falls_back_to_its_own_default_when_it_asks_wrongly(shop: Server) -> None:
    client = python_client(shop)
    unborn = ask_python(client, Ask(flag="unborn", type="string", otherwise="mine"), {"targetingKey": "a"})
    nobody = ask_python(client, Ask(flag="hero", type="string", otherwise="mine"), {})
    no_text = ask_python(client, Ask(flag="search", type="string", otherwise="mine"), {})

    assert [unborn.value, nobody.value, no_text.value] == ["mine"] * 3
    assert [unborn.error_code, nobody.error_code, no_text.error_code] == [
        ErrorCode.FLAG_NOT_FOUND,
        ErrorCode.TARGETING_KEY_MISSING,
        ErrorCode.TYPE_MISMATCH,
    ]


def test_a_node_backend_falls_back_to_its_own_default_when_it_asks_wrongly(shop: Server, node: Node) -> None:
    cases = [
        {"flag": "unborn", "type": "string", "otherwise": "mine", "context": {"targetingKey": "a"}},
        {"flag": "hero", "type": "string", "otherwise": "mine", "context": {}},
        {"flag": "search", "type": "string", "otherwise": "mine", "context": {}},
    ]

    answers = node("openfeature", url=shop.base_url, key=shop.client_key, cases=cases)

    assert [details["value"] for details in answers] == ["mine"] * 3
    assert [details["errorCode"] for details in answers] == [
        "FLAG_NOT_FOUND",
        "TARGETING_KEY_MISSING",
        "TYPE_MISMATCH",
    ]
