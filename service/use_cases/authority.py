"""Whose key came with a request, and whether it opens the door; the same for Flask and the event lane."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from service.errors import ProblemError
from service.storage.records import KeyClass
from service.use_cases.access import SECRET_CLASSES, Caller, find_caller, origin_allowed, presented_key
from service.use_cases.exchange import Call
from service.use_cases.services import Services

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="opportune"'}
IN_BODY = "writeKey"
IN_QUERY = "client_key"


def may_ride_in_body(call: Call, scopes: frozenset[KeyClass]) -> bool:
    """Tell whether the key, absent from headers and query, may be in the body of this request."""
    return KeyClass.CLIENT in scopes and not _header_key(call) and not _query_key(call)


def authenticate(
    services: Services, call: Call, scopes: frozenset[KeyClass], payload: object = None
) -> Caller:
    """Return the caller.

    A client key is public, so it may also ride in the query (`client_key`) or the body (`writeKey`):
    sendBeacon sends no headers. A secret key found there is refused.

    Raises
    ------
    ProblemError
        401 or 403, which says why not.
    """
    key, in_header = _header_key(call), True
    if not key and KeyClass.CLIENT in scopes:
        key, in_header = _query_key(call) or _write_key(payload), False
    caller = find_caller(services.snapshots.current.keys, key, origin=call.origin)
    if caller is None:
        raise ProblemError(401, "unauthorized", _missing(key), headers=dict(CHALLENGE))
    _check_scope(services, call, caller, scopes, in_header=in_header)
    return caller


def allowed_classes(scopes: frozenset[KeyClass]) -> str:
    """Return the classes in words: ``ck_ or sk_``."""
    return " or ".join(f"{c.value}_" for c in KeyClass if c in scopes)


def _check_scope(
    services: Services, call: Call, caller: Caller, scopes: frozenset[KeyClass], *, in_header: bool
) -> None:
    secret = caller.key_class in SECRET_CLASSES
    if secret and not in_header:
        raise ProblemError(403, "forbidden", "a secret key belongs in the Authorization header, nowhere else")
    if secret and caller.origin:
        raise ProblemError(
            403, "forbidden", "a secret key was sent by a web page; take it out and replace it"
        )
    if caller.key_class not in scopes:
        raise ProblemError(403, "forbidden", f"this needs a key of class {allowed_classes(scopes)}")
    allowed = services.settings.origins
    if caller.origin and not origin_allowed(caller.origin, allowed, host=call.host):
        raise ProblemError(403, "origin_not_allowed", "add the page's origin to OPPORTUNE_ORIGINS")


def _header_key(call: Call) -> str:
    return presented_key(call.authorization, call.x_api_key)


def _query_key(call: Call) -> str:
    if not call.query:
        return ""
    return next((value for name, value in parse_qsl(call.query) if name == IN_QUERY), "")


def _write_key(payload: object) -> str:
    key = payload.get(IN_BODY) if isinstance(payload, Mapping) else None
    return key if isinstance(key, str) else ""


def _missing(key: str) -> str:
    if not key:
        return "send a key: Authorization: Bearer <key>, or X-API-Key: <key>"
    return "the key sent is not known here; it may have been replaced"
