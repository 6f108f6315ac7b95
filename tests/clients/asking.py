"""What the server says of a person over plain HTTP, and every client's answer in the same form."""

from dataclasses import asdict
from typing import Any

from tests.clients.catalog import ASKS, Ask
from tests.server import Server

BULK = "/ofrep/v1/evaluate/flags"
TOLD = ("decision", "enrolled", "revision")


def expected(shop: Server, context: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return value, variant, decision, enrolled and revision of every flag, in the order of ASKS."""
    flags = {flag["key"]: flag for flag in shop.post(BULK, {"context": context}).json()["flags"]}
    return [
        _row(flags[ask.flag]["value"], flags[ask.flag]["variant"], flags[ask.flag]["metadata"])
        for ask in ASKS
    ]


def told(details: dict[str, Any]) -> tuple[Any, ...]:
    """Return the same of a JavaScript SDK's evaluation details."""
    assert "errorCode" not in details, details
    return _row(details["value"], details["variant"], details["flagMetadata"])


def _row(value: Any, variant: str, metadata: dict[str, Any]) -> tuple[Any, ...]:
    return value, variant, *(metadata[name] for name in TOLD)


def asks(context: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return every question of ASKS as the JavaScript side takes it."""
    return [{**asdict(ask), "type": _js_type(ask), "context": context} for ask in ASKS]


def _js_type(ask: Ask) -> str:
    return {"integer": "number", "float": "number"}.get(ask.type, ask.type)
