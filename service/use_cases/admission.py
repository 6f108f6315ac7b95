"""Who may evaluate: the look-up of a caller, and what follows from it, kept for as long as a snapshot is."""

from datetime import datetime

import orjson

from service.use_cases.access import (
    SECRET_CLASSES,
    Caller,
    find_caller,
    hash_key,
    origin_allowed,
    presented_key,
)
from service.use_cases.cors import answer_headers
from service.use_cases.exchange import JSON_TYPE, PRIVATE, Call, Headers
from service.use_cases.fragments import digest, set_metadata
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot
from service.use_cases.streams import SCOPES, advertised, slot_end

EVENTS_PATH = "/v1/events"
MOST_KNOWN = 1_000
MEMO = "admissions"


class OfrepError(Exception):
    """An evaluation that is refused, in OFREP's own words."""

    def __init__(self, status: int, code: str, details: str, *, headers: Headers = ()) -> None:
        super().__init__(details)
        self.status = status
        self.code = code
        self.details = details
        self.headers = headers


class Tail:
    """How a bulk answer ends: up to the context's id, after it, and a digest of both."""

    def __init__(self, services: Services, snapshot: ServingSnapshot, key_digest: str, now: datetime) -> None:
        url = services.settings.public_url
        told = orjson.dumps(set_metadata(snapshot, events_url=url + EVENTS_PATH))
        self.until = slot_end(now)
        self.head = b'],"metadata":' + told[:-1]
        self.end = b'},"eventStreams":' + advertised(url, key_digest, now) + b"}"
        self.digest = digest(self.head + b"\0" + self.end)


class Admission:
    """A caller who may evaluate, with everything that is the same in all its answers."""

    def __init__(self, services: Services, snapshot: ServingSnapshot, call: Call, caller: Caller) -> None:
        told = answer_headers(call.origin, services.settings.origins, host=call.host)
        self.caller = caller
        self.headers: Headers = (*PRIVATE, *told)
        self.typed_headers: Headers = (*JSON_TYPE, *self.headers)
        self._services = services
        self._snapshot = snapshot
        self._digest = hash_key(presented_key(call.authorization, call.x_api_key))
        self._tail: Tail | None = None

    def tail(self, now: datetime) -> Tail:
        """Return the end of this caller's bulk answers in this slot of time."""
        known = self._tail
        if known is None or now >= known.until:
            known = self._tail = Tail(self._services, self._snapshot, self._digest, now)
        return known


def admit(services: Services, snapshot: ServingSnapshot, call: Call) -> Admission:
    """Return the caller of `call`, looked up once for the same headers.

    Raises
    ------
    OfrepError
        401 or 403; who is refused is looked up each time, so that nobody can fill the memory.
    """
    known: dict[tuple[str, str, str, str], Admission] = snapshot.memo.setdefault(MEMO, {})
    named = (call.authorization, call.x_api_key, call.origin, call.host)
    found = known.get(named)
    if found is None:
        found = Admission(services, snapshot, call, _allowed_caller(services, snapshot, call))
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[named] = found
    return found


def _allowed_caller(services: Services, snapshot: ServingSnapshot, call: Call) -> Caller:
    key = presented_key(call.authorization, call.x_api_key)
    caller = find_caller(snapshot.keys, key, origin=call.origin)
    if caller is None:
        why = "the key sent is not known here" if key else "send Authorization: Bearer <client key>"
        raise OfrepError(401, "GENERAL", why, headers=(("WWW-Authenticate", 'Bearer realm="opportune"'),))
    if call.origin and caller.key_class in SECRET_CLASSES:
        raise OfrepError(403, "GENERAL", "a secret key was sent by a web page; take it out and replace it")
    if caller.key_class not in SCOPES:
        raise OfrepError(403, "GENERAL", "this needs a key of class ck_ or sk_")
    if call.origin and not origin_allowed(call.origin, services.settings.origins, host=call.host):
        raise OfrepError(403, "GENERAL", "this web origin is not allowed: add it to OPPORTUNE_ORIGINS")
    return caller
