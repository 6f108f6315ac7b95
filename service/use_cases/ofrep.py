"""OFREP 0.3.0: one function answers an evaluation, whichever door it came through.

Real clients choke on a missing variant, on reasons outside their list, on whole numbers for float flags and
on statuses other than 200, 304, 400, 401, 403, 404, 429 and 500; see docs/decisions/0005-server.md.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from experiments.assignment import Assignment, MissingUnitError
from experiments.definitions import JsonValue
from experiments.errors import UnknownFlagError
from experiments.identifiers import MAX_IDENTIFIER, is_identifier
from service.errors import ProblemError
from service.log import logger
from service.storage.records import KeyClass
from service.use_cases.access import SECRET_CLASSES, Caller, find_caller, origin_allowed, presented_key
from service.use_cases.cors import Headers, answer_headers
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot
from service.wire import read_json

PREFIX = "/ofrep/v1/evaluate/flags"
BODY_LIMIT = 64 << 10
SCOPES = frozenset({KeyClass.CLIENT, KeyClass.SERVER})

JSON_TYPE: Headers = (("Content-Type", "application/json"),)
PRIVATE: Headers = (
    ("Cache-Control", "private, no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One evaluation request; `key` is None for all flags. Header values are empty when absent."""

    key: str | None
    body: bytes
    authorization: str = ""
    x_api_key: str = ""
    origin: str = ""
    host: str = ""
    if_none_match: str = ""


class Reply(NamedTuple):
    """What goes back, byte for byte."""

    status: int
    headers: Headers
    body: bytes


class OfrepError(Exception):
    """An evaluation that is refused, in OFREP's own words."""

    def __init__(self, status: int, code: str, details: str, *, headers: Headers = ()) -> None:
        super().__init__(details)
        self.status = status
        self.code = code
        self.details = details
        self.headers = headers


class Asked(NamedTuple):
    """An evaluation request that is understood and allowed."""

    caller: Caller
    context: Mapping[str, Any]
    expose: bool


def flag_key(path: str) -> tuple[bool, str | None]:
    """Return whether `path` is an evaluation, and of which flag (None: all); stray slashes are forgiven.

    Examples
    --------
    >>> flag_key("//ofrep/v1/evaluate/flags/checkout/")
    (True, 'checkout')
    >>> flag_key("/ofrep/v1/evaluate/flags")
    (True, None)
    """
    if "//" in path or path.endswith("/"):
        path = "/" + "/".join(part for part in path.split("/") if part)
    if path == PREFIX:
        return True, None
    if path.startswith(PREFIX + "/"):
        return True, path[len(PREFIX) + 1 :]
    return False, None


def answer(services: Services, call: Call) -> Reply | None:
    """Answer from memory; None when the request wants its exposure stored first, which memory cannot do."""
    snapshot = services.snapshots.current
    try:
        asked = understand(services, snapshot, call)
        if asked.expose and call.key is not None:
            return None
        now = services.clock()
        if call.key is None:
            return _bulk(services, snapshot, call, asked.context, now)
        services.meters.count("evaluations", "single")
        assigned = assign(snapshot, call.key, asked.context, now=now)
        return success(services, call, fragment(snapshot, assigned))
    except OfrepError as error:
        return failure(services, call, error)
    except Exception:  # noqa: BLE001 - a page gets an answer, the log the rest
        logger().exception("evaluation_failed")
        return failure(services, call, OfrepError(500, "GENERAL", "something went wrong on our side"))


def understand(services: Services, snapshot: ServingSnapshot, call: Call) -> Asked:
    """Check the key and read the body.

    Raises
    ------
    OfrepError
        401, 403 or 400, in this order. The body's size is the door's business.
    """
    caller = _allowed_caller(services, snapshot, call)
    try:
        payload = read_json(call.body, limit=BODY_LIMIT)
    except ProblemError as error:
        raise OfrepError(400, "PARSE_ERROR", error.detail) from error
    if not isinstance(payload, dict):
        raise OfrepError(400, "PARSE_ERROR", "the body must be a JSON object with a member 'context'")
    context = payload.get("context")
    if context is None:
        context = {}
    if not isinstance(context, dict):
        raise OfrepError(400, "INVALID_CONTEXT", "'context' must be a JSON object")
    _check_targeting_key(context)
    return Asked(caller, context, payload.get("expose") is True)


def assign(snapshot: ServingSnapshot, key: str, context: Mapping[str, Any], *, now: datetime) -> Assignment:
    """Return the assignment of one flag.

    Raises
    ------
    OfrepError
        404 for an unknown flag, 400 when the flag must split and there is nothing to split by.
    """
    try:
        return snapshot.compiled.assign(key, context, now=now)
    except UnknownFlagError as error:
        raise OfrepError(
            404, "FLAG_NOT_FOUND", f"no flag or running experiment has the key {key!r}"
        ) from error
    except MissingUnitError as error:
        raise OfrepError(
            400, "TARGETING_KEY_MISSING", "this flag splits: send context.targetingKey"
        ) from error


def members(snapshot: ServingSnapshot, assigned: Assignment) -> dict[str, Any]:
    """Return the members of a successful evaluation; every one of them is always there."""
    return {
        "key": assigned.key,
        "value": _typed(snapshot, assigned),
        "reason": assigned.reason.value,
        "variant": assigned.variant_key,
        "metadata": {
            "decision": assigned.decision,
            "enrolled": assigned.enrolled,
            "phase": assigned.phase,
            "revision": snapshot.state.revision,
            "unit": _unit(snapshot, assigned.key),
        },
    }


def fragment(snapshot: ServingSnapshot, assigned: Assignment) -> bytes:
    """Return `members` as JSON, rendered once for each different answer of a snapshot."""
    known = snapshot.fragments.get(id(assigned))
    if known is None:
        # The memo keeps the assignment too: an identity is only good while its object lives.
        known = snapshot.fragments[id(assigned)] = (assigned, orjson.dumps(members(snapshot, assigned)))
    return known[1]


def success(services: Services, call: Call, body: bytes) -> Reply:
    """Return a 200 of one flag."""
    return Reply(200, (*JSON_TYPE, *_common(services, call)), body)


def failure(services: Services, call: Call, error: OfrepError) -> Reply:
    """Return a refusal in OFREP's form, with the headers a browser needs to read it."""
    body = orjson.dumps(error_members(call.key, error.code, error.details))
    return Reply(error.status, (*JSON_TYPE, *_common(services, call), *error.headers), body)


def error_members(key: str | None, code: str, details: str) -> dict[str, str]:
    """Return OFREP's failure; bulk has no key."""
    named = {} if key is None else {"key": key}
    return {**named, "errorCode": code, "errorDetails": details}


def _bulk(
    services: Services, snapshot: ServingSnapshot, call: Call, context: Mapping[str, Any], now: datetime
) -> Reply:
    parts = [_one_of_many(snapshot, key, context, now) for key in snapshot.compiled.keys]
    services.meters.count("evaluations", "bulk", by=len(parts))
    revision = b'],"metadata":{"revision":%d}}' % snapshot.state.revision
    body = b'{"flags":[' + b",".join(parts) + revision
    etag = '"' + hashlib.blake2b(body, digest_size=16).hexdigest() + '"'
    headers = (("ETag", etag), *_common(services, call))
    if call.if_none_match and matches(call.if_none_match, etag):
        return Reply(304, headers, b"")
    return Reply(200, (*JSON_TYPE, *headers), body)


def _one_of_many(snapshot: ServingSnapshot, key: str, context: Mapping[str, Any], now: datetime) -> bytes:
    """Return one flag's part of a bulk answer; a flag that fails spoils no other."""
    try:
        return fragment(snapshot, assign(snapshot, key, context, now=now))
    except OfrepError as error:
        return orjson.dumps(error_members(key, error.code, error.details))
    except Exception:  # noqa: BLE001 - a page gets an answer, the log the rest
        logger().exception("evaluation_failed", flag=key)
        return orjson.dumps(error_members(key, "GENERAL", "something went wrong on our side"))


def matches(if_none_match: str, etag: str) -> bool:
    """Tell whether a list of entity tags names `etag`; weak ones count."""
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in (etag, "*") for tag in tags)


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


def _check_targeting_key(context: Mapping[str, Any]) -> None:
    unit = context.get("targetingKey")
    if unit is not None and unit != "" and not is_identifier(unit):
        form = f"a string of at most {MAX_IDENTIFIER} characters without control characters"
        raise OfrepError(400, "INVALID_CONTEXT", f"targetingKey must be {form}")


def _common(services: Services, call: Call) -> Headers:
    return (*PRIVATE, *answer_headers(call.origin, services.settings.origins, host=call.host))


def _unit(snapshot: ServingSnapshot, key: str) -> str:
    catalog = snapshot.loaded.catalog
    found = catalog.experiments.get(key) or catalog.flags.get(key)
    return found.unit if found else ""


def _typed(snapshot: ServingSnapshot, assigned: Assignment) -> JsonValue:
    """Return the value; if any variant of its flag is a float, so are they all: clients want the point."""
    value = assigned.value
    if type(value) is int and any(type(v) is float for v in _values(snapshot, assigned.key)):
        return float(value)
    return value


def _values(snapshot: ServingSnapshot, key: str) -> Sequence[JsonValue]:
    experiment = snapshot.loaded.catalog.experiments.get(key)
    if experiment is not None:
        return [variant.value for variant in experiment.variants]
    flag = snapshot.loaded.catalog.flags.get(key)
    return [flag.value, flag.otherwise] if flag else []
