"""Whose key came with the request, and what it may call."""

from typing import Any

from flask import g, request

from service.api.context import services
from service.errors import ProblemError
from service.storage.records import KeyClass
from service.use_cases.access import SECRET_CLASSES, Caller, find_caller, origin_allowed, presented_key

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="opportune"'}


def header_key() -> str:
    """Return the key in the headers of this request, empty if there is none."""
    return presented_key(request.headers.get("Authorization", ""), request.headers.get("X-API-Key", ""))


def may_ride_in_body(scopes: frozenset[KeyClass]) -> bool:
    """Tell whether the key, absent from headers and query, may be in the body of this request."""
    return KeyClass.CLIENT in scopes and not header_key() and not request.args.get("client_key")


def authenticate(scopes: frozenset[KeyClass], payload: Any = None) -> Caller:  # noqa: ANN401 - any JSON
    """Return the caller, or raise the 401 or 403 that says why not.

    A client key is public, so it may also ride in the query (`client_key`) or the body (`writeKey`):
    sendBeacon sends no headers. A secret key found there is refused.
    """
    key, in_header = header_key(), True
    if not key and KeyClass.CLIENT in scopes:
        key, in_header = request.args.get("client_key", "") or _write_key(payload), False
    caller = find_caller(services().snapshots.current.keys, key, origin=request.headers.get("Origin", ""))
    if caller is None:
        raise ProblemError(401, "unauthorized", _missing(key), headers=CHALLENGE)
    _check_scope(caller, scopes, in_header=in_header)
    g.caller = caller
    return caller


def _check_scope(caller: Caller, scopes: frozenset[KeyClass], *, in_header: bool) -> None:
    secret = caller.key_class in SECRET_CLASSES
    if secret and not in_header:
        raise ProblemError(403, "forbidden", "a secret key belongs in the Authorization header, nowhere else")
    if secret and caller.origin:
        raise ProblemError(
            403, "forbidden", "a secret key was sent by a web page; take it out and replace it"
        )
    if caller.key_class not in scopes:
        raise ProblemError(403, "forbidden", f"this needs a key of class {allowed_classes(scopes)}")
    allowed = services().settings.origins
    if caller.origin and not origin_allowed(caller.origin, allowed, host=request.headers.get("Host", "")):
        raise ProblemError(403, "origin_not_allowed", "add the page's origin to OPPORTUNE_ORIGINS")


def allowed_classes(scopes: frozenset[KeyClass]) -> str:
    """Return the classes in words: ``ck_ or sk_``."""
    return " or ".join(f"{c.value}_" for c in KeyClass if c in scopes)


def _write_key(payload: Any) -> str:  # noqa: ANN401 - any JSON
    key = payload.get("writeKey") if isinstance(payload, dict) else None
    return key if isinstance(key, str) else ""


def _missing(key: str) -> str:
    if not key:
        return "send a key: Authorization: Bearer <key>, or X-API-Key: <key>"
    return "the key sent is not known here; it may have been replaced"
