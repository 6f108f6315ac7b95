"""The hot lane: bytes in, bytes out, on the event loop, from memory. No Flask, no I/O, no waiting."""

from collections.abc import Mapping
from typing import Any

from service.clock import utc_now
from service.use_cases import cors, growthbook, ofrep, request_facts
from service.use_cases.exchange import JSON_TYPE, PRIVATE, Call, Reply
from service.use_cases.limits import client_address
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot

HEALTH = "/healthz"
HEALTH_BODY = b'{"status":"ok"}'
METHODS = "OPTIONS, POST"
GROWTHBOOK = frozenset({("GET", growthbook.FEATURES), ("POST", growthbook.EVALUATE)})

Scope = Mapping[str, Any]


class HotPath:
    """Answers what can be answered from the snapshot alone; everything it declines goes to Flask."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._health = Reply(200, (*JSON_TYPE, *PRIVATE), HEALTH_BODY)

    def is_mine(self, method: str, path: str, headers: Mapping[bytes, str]) -> bool:
        """Tell whether `answer` should be asked about this request.

        A body in another encoding, and a path with a line break or a NUL, are refused in Flask's words.
        """
        if b"content-encoding" in headers and headers[b"content-encoding"].lower() != "identity":
            return False
        if "\n" in path or "\0" in path:
            return False
        if ofrep.flag_key(path)[0]:
            return method in ("POST", "OPTIONS")
        if path == HEALTH:
            return method == "GET"
        return (method, growthbook.client_key(path)[0]) in GROWTHBOOK

    def answer(
        self, scope: Scope, headers: Mapping[bytes, str], path: str, body: bytes, name: str
    ) -> Reply | None:
        """Return the reply, or None when the request needs the store or Flask's router.

        `headers` are `text_headers`, `name` is the request's id.
        """
        if path == HEALTH:
            return self._health
        if scope["method"] == "OPTIONS":
            return self._preflight(headers)
        get = headers.get
        is_ofrep, key = ofrep.flag_key(path)
        what = ""
        if not is_ofrep:
            what, key = growthbook.client_key(path)
        call = Call(
            key,
            body,
            path,
            str(scope["query_string"], "latin-1"),
            get(b"authorization", ""),
            get(b"x-api-key", ""),
            get(b"origin", ""),
            get(b"host", ""),
            get(b"if-none-match", ""),
            get(b"user-agent", ""),
            get(b"x-opportune-preview", ""),
            get(b"cookie", ""),
            self._address(scope, headers) if self._services.limit.rate else "",
            get(b"x-person-token", ""),
            name,
        )
        if is_ofrep:
            return ofrep.answer(self._services, call)
        if what == growthbook.FEATURES:
            return growthbook.answer_features(self._services, call)
        return growthbook.answer_evaluation(self._services, call)

    def _address(self, scope: Scope, headers: Mapping[bytes, str]) -> str:
        peer = scope["client"]
        forwarded = headers.get(b"x-forwarded-for", "")
        return client_address(peer[0] if peer else "-", forwarded, self._services.settings.proxies)

    def _preflight(self, headers: Mapping[bytes, str]) -> Reply | None:
        if headers.get(b"access-control-request-method") != "POST":
            return None
        told = cors.preflight_headers(
            headers.get(b"origin", ""),
            self._services.settings.origins,
            host=headers.get(b"host", ""),
            methods=METHODS,
        )
        return Reply(204, (*told, *PRIVATE), b"")


def text_headers(scope: Scope) -> dict[bytes, str]:
    """Return the request headers by lower-case name; repeated ones are joined, as WSGI does."""
    headers = scope["headers"]
    found = {name: str(value, "latin-1") for name, value in headers}
    if len(found) == len(headers):
        return found
    return {name: ",".join(str(v, "latin-1") for n, v in headers if n == name) for name in found}


def prepare(snapshot: ServingSnapshot) -> None:
    """Make beforehand what a snapshot will need and what takes too long on the event loop."""
    if snapshot.compiled.reads_request:
        request_facts.parser()
    growthbook.current_features(snapshot, utc_now())
