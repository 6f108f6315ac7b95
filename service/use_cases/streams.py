"""Event streams: who may open one, what is sent on it, and which configuration a client has heard of.

A stream carries notices, not values: whoever hears one evaluates again. Its address holds a token instead of
the key, since a browser's EventSource sends no headers. The token is made from the digest of the key that the
server stores anyway, so it needs no secret of its own and tells nothing about the key; it is the same for one
slot of time, so that it does not change the entity tags of answers.

To serve another kind of stream (GrowthBook's ``/sub/<client_key>``) write a function of the type `Opener`,
which returns None for a path that is not its own, and add it to `OPENERS` in service/sse.py. All kinds share
one hub: it notices changes, sends heartbeats, counts streams and ends them.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qs

import orjson

from service.errors import PROBLEM_TYPE, ProblemError
from service.storage.records import KeyClass
from service.use_cases.access import SECRET_CLASSES, origin_allowed
from service.use_cases.cors import answer_headers
from service.use_cases.exchange import PRIVATE, Headers, Reply
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot
from service.wire import read_instant

PATH = "/ofrep/v1/streams"
SLOT_S = 6 * 3_600
INACTIVITY_S = 120
FRESH_S = 10
"""A stream opened without a last event id within so many seconds of a change is told of it: its client may
have evaluated just before."""
RETRY_ALONE_MS = 30_000

STREAM_TYPE: Headers = (("Content-Type", "text/event-stream"), ("X-Accel-Buffering", "no"))
SCOPES = frozenset({KeyClass.CLIENT, KeyClass.SERVER})
_TOKEN = re.compile(r"([0-9a-f]{12})\.([0-9]{1,8})\.([0-9a-f]{32})", re.ASCII)
HIGHEST = 10**18
_MARK = re.compile(r'"?(-?[0-9]{1,18})\.[0-9]{1,18}"?', re.ASCII)


class Mark(NamedTuple):
    """Names what is served at a moment: equal in every worker, different after each change of it."""

    event_id: str
    changed_at: datetime
    """When this process noticed it."""


class StreamCall(NamedTuple):
    """A request for a stream. Header values are empty when absent."""

    path: str
    query: str
    last_event_id: str = ""
    origin: str = ""
    host: str = ""
    authorization: str = ""
    x_api_key: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A stream that is allowed.

    `message` makes the event that is sent after each change; it is called on the event loop, so it must work
    from memory. The hub calls it once for a mark and sends what it made to all streams with the same
    function, so give a function of a module. The stream ends when `key_digest` is not valid any more.
    """

    key_digest: str
    headers: Headers
    message: Callable[[ServingSnapshot, Mark], bytes]


Opener: TypeAlias = Callable[[Services, StreamCall, datetime], Opened | Reply | None]


def event_id(snapshot: ServingSnapshot, now: datetime) -> str:
    """Return the name of what `snapshot` serves at `now`: store version and next moment of a schedule."""
    boundary = snapshot.compiled.next_change(now)
    return f"{snapshot.state.version}.{int(boundary.timestamp()) if boundary else 0}"


def event(name: str, mark: Mark, data: bytes) -> bytes:
    """Return one event in the stream's format; `data` holds no line break."""
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), mark.event_id.encode(), data)


def opening(mark: Mark, *, retry_ms: int) -> bytes:
    """Return what a stream begins with: when to come back, and the id to come back with."""
    return b"retry: %d\nid: %s\n\n" % (retry_ms, mark.event_id.encode())


def should_tell(mark: Mark, last_event_id: str, now: datetime) -> bool:
    """Tell whether a stream that opens now may have missed the last change."""
    if last_event_id:
        return last_event_id != mark.event_id
    return now - mark.changed_at < timedelta(seconds=FRESH_S)


# --- OFREP's stream


def advertised(public_url: str, key_digest: str, now: datetime) -> bytes:
    """Return OFREP's member ``eventStreams`` as JSON."""
    target = f"{PATH}?token={make_token(key_digest, now)}"
    where = {"url": public_url + target} if public_url else {"endpoint": {"requestUri": target}}
    return orjson.dumps([{"type": "sse", **where, "inactivityDelaySec": INACTIVITY_S}])


def slot_of(now: datetime) -> int:
    """Return the number of the slot of time in which a token is made."""
    return int(now.timestamp()) // SLOT_S


def slot_end(now: datetime) -> datetime:
    """Return when the slot of `now` ends."""
    return datetime.fromtimestamp((slot_of(now) + 1) * SLOT_S, UTC)


def make_token(key_digest: str, now: datetime) -> str:
    """Return the token of this slot; it is good until the end of the next one."""
    return _token(key_digest, slot_of(now))


def key_of(token: str, keys: Mapping[str, KeyClass], now: datetime) -> str | None:
    """Return the digest of the key that a token stands for; None if it is forged, old, or its key is gone."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    slot = int(found[2])
    if slot not in (slot_of(now), slot_of(now) - 1):
        return None
    for digest, key_class in keys.items():
        if digest.startswith(found[1]) and key_class in SCOPES:
            return digest if hmac.compare_digest(token, _token(digest, slot)) else None
    return None


def _token(key_digest: str, slot: int) -> str:
    sealed = hmac.new(key_digest.encode(), b"stream\0%d" % slot, "sha256").hexdigest()
    return f"{key_digest[:12]}.{slot}.{sealed[:32]}"


def open_ofrep(services: Services, call: StreamCall, now: datetime) -> Opened | Reply | None:
    """Open the stream that bulk answers advertise."""
    if call.path != PATH:
        return None
    token = parse_qs(call.query).get("token", [""])[0]
    digest = key_of(token, services.snapshots.current.keys, now)
    if digest is None:
        return refusal(services, call, 401, "unauthorized", "evaluate all flags again for a new address")
    if call.origin and services.snapshots.current.keys[digest] in SECRET_CLASSES:
        return refusal(services, call, 403, "forbidden", "a secret key's stream was opened by a web page")
    return admitted(services, call, digest, refetch)


def admitted(
    services: Services, call: StreamCall, digest: str, message: Callable[[ServingSnapshot, Mark], bytes]
) -> Opened | Reply:
    """Return the stream of a key that is known, if the page's origin is allowed too."""
    allowed = services.settings.origins
    if call.origin and not origin_allowed(call.origin, allowed, host=call.host):
        return refusal(
            services, call, 403, "origin_not_allowed", "add the page's origin to OPPORTUNE_ORIGINS"
        )
    told = answer_headers(call.origin, allowed, host=call.host)
    return Opened(key_digest=digest, headers=(*STREAM_TYPE, *PRIVATE, *told), message=message)


def refusal(
    services: Services, call: StreamCall, status: int, code: str, detail: str, *, retry_s: int = 0
) -> Reply:
    """Return the answer to a stream that is not opened."""
    told = answer_headers(call.origin, services.settings.origins, host=call.host)
    later: Headers = (("Retry-After", str(retry_s)),) if retry_s else ()
    body = orjson.dumps(ProblemError(status, code, detail).body(call.request_id))
    return Reply(HTTPStatus(status), (("Content-Type", PROBLEM_TYPE), *PRIVATE, *told, *later), body)


def refetch(snapshot: ServingSnapshot, mark: Mark) -> bytes:  # noqa: ARG001 - the signature of a message
    """Return OFREP's notice: evaluate again, the configuration is at least this new."""
    data = {
        "type": "refetchEvaluation",
        "etag": mark.event_id,
        "lastModified": int(mark.changed_at.timestamp()),
    }
    return event("message", mark, orjson.dumps(data))


# --- what a client was told of


def is_behind(version: int, looked_at: datetime, query: str) -> bool:
    """Tell whether a client was told of a configuration that this process may not know yet.

    `query` may hold ``flagConfigEtag`` (an event's, which holds the store's version) and
    ``flagConfigLastModified`` (unix seconds or ISO 8601); what cannot be read counts as news.
    """
    if "flagConfig" not in query:
        return False
    told = parse_qs(query)
    etag = told.get("flagConfigEtag", [""])[0]
    if etag and (found := _MARK.fullmatch(etag.removeprefix("W/"))):
        return int(found[1]) > version
    modified = told.get("flagConfigLastModified", [""])[0]
    if not modified:
        return bool(etag)
    return looked_at < _moment(modified) + timedelta(seconds=1)


def told_version(query: str) -> int:
    """Return the version that a client was told of; the highest there is if it named none."""
    found = _MARK.fullmatch(parse_qs(query).get("flagConfigEtag", [""])[0].removeprefix("W/"))
    return int(found[1]) if found else HIGHEST


def _moment(text: str) -> datetime:
    """Return the moment of a text, the end of time for one that names none."""
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text[:12]), UTC)
        return read_instant(text)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC) - timedelta(days=1)


# --- where no stream can stay open


def answer_once(services: Services, call: StreamCall, opener: Opener) -> Reply:
    """Answer one message and end: a thread each would be too dear. The client comes back after 30 seconds."""
    now = services.clock()
    opened = opener(services, call, now)
    if not isinstance(opened, Opened):
        return opened or refusal(services, call, 404, "not_found", "no stream has this path")
    snapshot = services.snapshots.current
    mark = Mark(event_id(snapshot, now), services.snapshots.changed_at)
    body = opening(mark, retry_ms=RETRY_ALONE_MS)
    if should_tell(mark, call.last_event_id, now):
        body += opened.message(snapshot, mark)
    return Reply(200, opened.headers, body)
