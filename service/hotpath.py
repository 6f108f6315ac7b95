"""The hot lane: bytes in, bytes out, on the event loop, from memory. No Flask, no I/O, no waiting."""

from collections.abc import Mapping
from typing import Any

from service.use_cases import cors, ofrep
from service.use_cases.ofrep import Call, Reply
from service.use_cases.services import Services

HEALTH = "/healthz"
HEALTH_BODY = b'{"status":"ok"}'
METHODS = "OPTIONS, POST"

Scope = Mapping[str, Any]


class HotPath:
    """Answers what can be answered from the snapshot alone; everything it declines goes to Flask."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._health = Reply(200, (*ofrep.JSON_TYPE, *ofrep.PRIVATE), HEALTH_BODY)

    def is_mine(self, method: str, path: str) -> bool:
        """Tell whether `answer` should be asked about this request."""
        if path == HEALTH:
            return method == "GET"
        return method in ("POST", "OPTIONS") and ofrep.flag_key(path)[0]

    def answer(self, scope: Scope, path: str, body: bytes) -> Reply | None:
        """Return the reply, or None when the request needs the store."""
        if path == HEALTH:
            return self._health
        headers = text_headers(scope)
        if scope["method"] == "OPTIONS":
            return self._preflight(headers)
        call = Call(
            key=ofrep.flag_key(path)[1],
            body=body,
            authorization=headers.get(b"authorization", ""),
            x_api_key=headers.get(b"x-api-key", ""),
            origin=headers.get(b"origin", ""),
            host=headers.get(b"host", ""),
            if_none_match=headers.get(b"if-none-match", ""),
        )
        return ofrep.answer(self._services, call)

    def _preflight(self, headers: Mapping[bytes, str]) -> Reply | None:
        if b"access-control-request-method" not in headers:
            return None
        told = cors.preflight_headers(
            headers.get(b"origin", ""),
            self._services.settings.origins,
            host=headers.get(b"host", ""),
            methods=METHODS,
        )
        return Reply(204, (*told, *ofrep.PRIVATE), b"")


def text_headers(scope: Scope) -> dict[bytes, str]:
    """Return the request headers by lower-case name; repeated ones are joined, as WSGI does."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        found[name] = f"{found[name]},{text}" if name in found else text
    return found
