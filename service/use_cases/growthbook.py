"""GrowthBook's SDKs: the features of a client key, evaluation on their behalf, and a stream of changes.

Each answer is made from memory and is the same through the hot lane and through Flask.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from experiments.assignment import Assignment, unit_id_of
from experiments.definitions import Experiment
from experiments.growthbook.payload import HASH_VERSION, default_value, payload
from service.errors import PROBLEM_TYPE, ProblemError
from service.log import logger
from service.storage.records import KeyClass
from service.use_cases import preview, streams
from service.use_cases.access import Caller, find_caller, hash_key, origin_allowed
from service.use_cases.cors import answer_headers
from service.use_cases.exchange import JSON_TYPE, PRIVATE, Call, Headers, Reply
from service.use_cases.histories import with_known
from service.use_cases.limits import check_rate
from service.use_cases.ofrep import BODY_LIMIT, matches
from service.use_cases.request_facts import with_facts
from service.use_cases.services import Services
from service.use_cases.snapshot import ServingSnapshot
from service.use_cases.streams import Mark, Opened, StreamCall
from service.wire import read_json

FEATURES, EVALUATE, STREAM = "/api/features/", "/api/eval/", "/sub/"
SCOPES = frozenset({KeyClass.CLIENT})
MEMO = "growthbook"
STREAMING: Headers = (("x-sse-support", "enabled"),)
BEFORE_US = datetime(2020, 1, 1, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)


class Features(NamedTuple):
    """A payload as it is sent, and until when it is right."""

    body: bytes
    etag: str
    until: datetime


class Asked(NamedTuple):
    """What a remote evaluation is asked with; `forced` maps keys to the variants of a preview."""

    attributes: Mapping[str, Any]
    forced: dict[str, str]


def client_key(path: str) -> tuple[str, str]:
    """Return which answer a tidy path asks for and the client key in it; two empty texts for another path.

    Examples
    --------
    >>> client_key("/api/features/ck_1")
    ('/api/features/', 'ck_1')
    """
    for prefix in (FEATURES, EVALUATE):
        if path.startswith(prefix) and "/" not in path[len(prefix) :]:
            return prefix, path[len(prefix) :]
    return "", ""


def answer_features(services: Services, call: Call) -> Reply:
    """Return every feature that the client key in `call.key` may see; 304 when the client has them."""
    snapshot = services.snapshots.current
    try:
        admit(services, snapshot, call)
        found = current_features(snapshot, services.clock())
    except ProblemError as problem:
        return _refused(services, call, problem)
    except Exception:  # noqa: BLE001 - a page gets an answer, the log the rest
        logger().exception("growthbook_failed")
        return _refused(services, call, _broken())
    headers = (("Cache-Control", "no-cache"), *PRIVATE[1:], *STREAMING, *_told(services, call))
    if call.if_none_match and matches(call.if_none_match, found.etag):
        return Reply(304, headers, b"", found.etag)
    return Reply(200, (*JSON_TYPE, *headers), found.body, found.etag)


def answer_evaluation(services: Services, call: Call) -> Reply:
    """Return features that are decided already, for the attributes in the body."""
    snapshot = services.snapshots.current
    try:
        check_rate(services.limit, call.address)
        caller = admit(services, snapshot, call)
        now = services.clock()
        asked = _understand(services, snapshot, call, caller, now)
        features = _decided(snapshot, asked, now)
        services.meters.count("evaluations", "growthbook", by=len(features))
        body = orjson.dumps({"status": 200, "features": features, "savedGroups": {}})
    except ProblemError as problem:
        return _refused(services, call, problem)
    except Exception:  # noqa: BLE001 - a page gets an answer, the log the rest
        logger().exception("growthbook_failed")
        return _refused(services, call, _broken())
    return Reply(200, (*JSON_TYPE, *PRIVATE, *_told(services, call)), body)


def current_features(snapshot: ServingSnapshot, now: datetime) -> Features:
    """Return the payload of a moment; it is made once for each stretch of time between two changes."""
    known: Features | None = snapshot.memo.get(MEMO)
    if known is None or now >= known.until:
        known = snapshot.memo[MEMO] = _make_features(snapshot, now)
    return known


def open_features(services: Services, call: StreamCall, now: datetime) -> Opened | Reply | None:  # noqa: ARG001
    """Open the stream on which an SDK hears of new features."""
    key = call.path.removeprefix(STREAM)
    if key == call.path or "/" in key:
        return None
    caller = find_caller(services.snapshots.current.keys, key, origin=call.origin)
    if caller is None or caller.key_class is not KeyClass.CLIENT:
        detail = "the path ends with a client key (ck_...); this one is not known here"
        return streams.refusal(services, call, 401, "unauthorized", detail)
    return streams.admitted(services, call, hash_key(key), _news)


def _news(snapshot: ServingSnapshot, mark: Mark) -> bytes:
    return streams.event("features", mark, current_features(snapshot, mark.changed_at).body)


def _make_features(snapshot: ServingSnapshot, now: datetime) -> Features:
    found = payload(snapshot.loaded.catalog, killed=snapshot.state.killed, now=now)
    until = snapshot.compiled.next_change(now)
    body = orjson.dumps({"status": 200, "dateUpdated": _stamp(snapshot, now), **found})
    return Features(body, f'"{blake2b(body, digest_size=16).hexdigest()}"', until or FOREVER)


def _stamp(snapshot: ServingSnapshot, now: datetime) -> str:
    """Return a time that is later after each change, and the same in every worker.

    SDKs only compare it. When a change was made no worker knows; how many there were they all do.
    """
    ours, by_themselves = max(snapshot.state.version, 0), snapshot.compiled.changes_until(now)
    at = BEFORE_US + timedelta(seconds=ours, microseconds=by_themselves)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- remote evaluation


def _understand(
    services: Services, snapshot: ServingSnapshot, call: Call, caller: Caller, now: datetime
) -> Asked:
    body = read_json(call.body, limit=BODY_LIMIT)
    attributes = body.get("attributes", {}) if isinstance(body, dict) else None
    if not isinstance(attributes, dict):
        raise ProblemError(400, "bad_request", "send a JSON object whose member 'attributes' is an object")
    token = preview.presented_token(attributes.get(preview.ATTRIBUTE), call.preview, call.cookie)
    secret = services.settings.signing_secret
    forced = preview.read_preview(secret, token, now=now) if token else None
    known: Mapping[str, Any] = attributes
    if snapshot.compiled.reads_request:
        known = with_facts(attributes, now=now, user_agent=call.user_agent, zone=services.settings.zone)
    if snapshot.compiled.reads_history:
        known = with_known(known, caller, call, settings=services.settings, now=now)
    return Asked(known, dict(forced or {}))


def _decided(snapshot: ServingSnapshot, asked: Asked, now: datetime) -> dict[str, Any]:
    compiled, catalog = snapshot.compiled, snapshot.loaded.catalog
    found: dict[str, Any] = {}
    for key, assigned in zip(compiled.keys, compiled.assign_all(asked.attributes, now=now), strict=True):
        one = catalog.experiments.get(key) or catalog.flags[key]
        found[key] = (
            {"defaultValue": default_value(one)} if assigned is None else _feature(one, assigned, asked)
        )
    for key, variant_key in asked.forced.items():
        previewed = compiled.preview(key, variant_key)
        if previewed is not None:
            found[key] = {"defaultValue": previewed.value}
    return found


def _feature(one: object, assigned: Assignment, asked: Asked) -> dict[str, Any]:
    """Return one feature; an SDK reports the exposure that a rule carries with it."""
    if not assigned.enrolled or not isinstance(one, Experiment):
        return {"defaultValue": assigned.value}
    tracks = [_track(one, assigned, unit_id_of(one.unit, asked.attributes) or "")]
    return {"defaultValue": assigned.value, "rules": [{"force": assigned.value, "tracks": tracks}]}


def _track(one: Experiment, assigned: Assignment, unit_id: str) -> dict[str, Any]:
    """Return what an SDK would say of the exposure; it does not learn what the other variants serve."""
    index = next(i for i, variant in enumerate(one.variants) if variant.key == assigned.variant_key)
    shown = [assigned.value if i == index else None for i in range(len(one.variants))]
    return {
        "experiment": {
            "key": one.key,
            "variations": shown,
            "hashVersion": HASH_VERSION,
            "hashAttribute": one.unit,
            "phase": str(one.phase),
        },
        "result": {
            "key": assigned.variant_key,
            "featureId": one.key,
            "variationId": index,
            "value": assigned.value,
            "inExperiment": True,
            "hashUsed": True,
            "hashAttribute": one.unit,
            "hashValue": unit_id,
            "stickyBucketUsed": False,
        },
    }


# --- who may ask


def admit(services: Services, snapshot: ServingSnapshot, call: Call) -> Caller:
    """Return the caller whose client key stands in the path.

    Raises
    ------
    ProblemError
        401 or 403, which says why not.
    """
    caller = find_caller(snapshot.keys, call.key or "", origin=call.origin)
    if caller is None:
        detail = "the path ends with a client key (ck_...); this one is not known here"
        raise ProblemError(401, "unauthorized", detail)
    if caller.key_class not in SCOPES:
        raise ProblemError(
            403, "forbidden", "a secret key was sent in an address; replace it, and send a ck_"
        )
    if call.origin and not origin_allowed(call.origin, services.settings.origins, host=call.host):
        raise ProblemError(403, "origin_not_allowed", "add the page's origin to OPPORTUNE_ORIGINS")
    return caller


def _told(services: Services, call: Call) -> Headers:
    return answer_headers(call.origin, services.settings.origins, host=call.host)


def _broken() -> ProblemError:
    return ProblemError(500, "internal", "something went wrong on our side")


def _refused(services: Services, call: Call, problem: ProblemError) -> Reply:
    headers = (("Content-Type", PROBLEM_TYPE), *PRIVATE, *_told(services, call), *problem.headers.items())
    return Reply(HTTPStatus(problem.status), headers, orjson.dumps(problem.body(call.request_id)))
