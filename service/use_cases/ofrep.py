"""OFREP 0.3.0: one function answers an evaluation, whichever door it came through.

Real clients choke on a missing variant, on reasons outside their list, on whole numbers for float flags and
on statuses other than 200, 304, 400, 401, 403, 404, 429 and 500; see docs/decisions/0005-server.md.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from experiments.allocation import TARGETING_KEY
from experiments.assignment import Assignment, MissingUnitError
from experiments.errors import UnknownFlagError
from experiments.identifiers import MAX_IDENTIFIER, is_identifier
from service.errors import ProblemError
from service.log import logger
from service.use_cases import preview
from service.use_cases.access import Caller
from service.use_cases.admission import EVENTS_PATH, Admission, OfrepError, admit
from service.use_cases.cors import answer_headers
from service.use_cases.exchange import JSON_TYPE, PRIVATE, Call, Reply
from service.use_cases.fragments import DIGEST_BYTES, OPENING, Fragments, digest, error_members, members
from service.use_cases.histories import with_known
from service.use_cases.limits import check_rate
from service.use_cases.request_facts import with_facts
from service.use_cases.services import Services
from service.use_cases.snapshot import POLL_S, ServingSnapshot
from service.use_cases.streams import is_behind, told_version
from service.wire import read_json

PREFIX = "/ofrep/v1/evaluate/flags"
BODY_LIMIT = 64 << 10
MEMO = "fragments"
MISSING_FOR = timedelta(seconds=POLL_S)
"""A version that the store does not know is not looked for again before the next poll."""

BROKEN = "something went wrong on our side"
NOBODY: Mapping[str, str] = {}


class Asked(NamedTuple):
    """An evaluation request that is understood and allowed.

    `forced` maps keys to the variants that a preview token names; `preview` says whether one was good.
    """

    admission: Admission
    context: Mapping[str, Any]
    expose: bool
    forced: Mapping[str, str] = NOBODY
    preview: str = ""

    @property
    def caller(self) -> Caller:
        """Whose key came with the request."""
        return self.admission.caller


def flag_key(path: str) -> tuple[bool, str | None]:
    """Return whether a tidy path is an evaluation, and of which flag (None: all).

    Examples
    --------
    >>> flag_key("/ofrep/v1/evaluate/flags/checkout")
    (True, 'checkout')
    >>> flag_key("/ofrep/v1/evaluate/flags")
    (True, None)
    """
    if path == PREFIX:
        return True, None
    if path.startswith(PREFIX + "/"):
        return True, path[len(PREFIX) + 1 :]
    return False, None


def answer(services: Services, call: Call) -> Reply | None:
    """Answer from memory; None when the store must be asked first, which memory cannot do.

    That is so when the exposure is to be stored, and when the caller was told of something newer.
    """
    snapshot = services.snapshots.current
    try:
        check_rate(services.limit, call.address)
        now = services.clock()
        asked = understand(services, snapshot, call, now=now)
        behind = bool(call.query) and _is_behind(services, call)
        exposes = asked.expose and call.key is not None
        if exposes or (behind and not _is_known_missing(services, call, now)):
            return None
        if behind:
            call = call._replace(if_none_match="")
        if call.key is None:
            return _bulk(services, snapshot, call, asked, now)
        services.meters.count("evaluations", "single")
        assigned = assign(snapshot, call.key, asked, now=now)
        return success(asked, _single(services, snapshot, asked, assigned))
    except OfrepError as error:
        return failure(services, call, error)
    except ProblemError as refused:
        headers = tuple(refused.headers.items())
        return failure(services, call, OfrepError(refused.status, "GENERAL", refused.detail, headers=headers))
    except Exception:  # noqa: BLE001 - a page gets an answer, the log the rest
        logger().exception("evaluation_failed")
        return failure(services, call, OfrepError(500, "GENERAL", BROKEN))


def refreshed(services: Services, call: Call) -> Call:
    """Look at the store if the caller was told of something newer; return `call` as it can be answered now.

    Without a store, and for what the store does not know either, the answer is made from what there is, and
    never is it a 304.
    """
    now = services.clock()
    if _is_behind(services, call) and not _is_known_missing(services, call, now):
        services.snapshots.refresh()
        if _is_behind(services, call):
            services.snapshots.missed = (told_version(call.query), now)
    if _is_behind(services, call):
        call = call._replace(if_none_match="")
    return call._replace(query="", address="")


def understand(services: Services, snapshot: ServingSnapshot, call: Call, *, now: datetime) -> Asked:
    """Check the key and read the body.

    Raises
    ------
    OfrepError
        401, 403 or 400, in this order. The body's size is the door's business.
    """
    admission = admit(services, snapshot, call)
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
    asked = Asked(admission, context, payload.get("expose") is True)
    if snapshot.compiled.reads_request:
        facts = with_facts(context, now=now, user_agent=call.user_agent, zone=services.settings.zone)
        asked = asked._replace(context=facts)
    if snapshot.compiled.reads_history:
        known = with_known(asked.context, admission.caller, call, settings=services.settings, now=now)
        asked = asked._replace(context=known)
    if call.preview or call.cookie or preview.ATTRIBUTE in context:
        return _previewed(services, call, asked, now)
    return asked


def assign(snapshot: ServingSnapshot, key: str, asked: Asked, *, now: datetime) -> Assignment:
    """Return the assignment of one flag.

    Raises
    ------
    OfrepError
        404 for an unknown flag, 400 when the flag must split and there is nothing to split by.
    """
    if key in asked.forced:
        forced = snapshot.compiled.preview(key, asked.forced[key])
        if forced is not None:
            return forced
    try:
        return snapshot.compiled.assign(key, asked.context, now=now)
    except UnknownFlagError as error:
        raise OfrepError(
            404, "FLAG_NOT_FOUND", f"no flag or running experiment has the key {key!r}"
        ) from error
    except MissingUnitError as error:
        raise OfrepError(
            400, "TARGETING_KEY_MISSING", "this flag splits: send context.targetingKey"
        ) from error


def single_members(
    services: Services, snapshot: ServingSnapshot, asked: Asked, assigned: Assignment
) -> dict[str, Any]:
    """Return the members of one flag's answer, the context's own metadata included."""
    answered = members(snapshot, assigned)
    answered["metadata"].update(_context_metadata(services, asked))
    return answered


def success(asked: Asked, body: bytes) -> Reply:
    """Return a 200 of one flag."""
    return Reply(200, asked.admission.typed_headers, body)


def failure(services: Services, call: Call, error: OfrepError) -> Reply:
    """Return a refusal in OFREP's form, with the headers a browser needs to read it."""
    body = orjson.dumps(error_members(call.key, error.code, error.details))
    told = answer_headers(call.origin, services.settings.origins, host=call.host)
    return Reply(error.status, (*JSON_TYPE, *PRIVATE, *told, *error.headers), body)


def _is_behind(services: Services, call: Call) -> bool:
    held = services.snapshots
    return is_behind(held.current.state.version, held.looked_at, call.query)


def _is_known_missing(services: Services, call: Call, now: datetime) -> bool:
    """Tell whether the store was asked a moment ago and did not know so new a version either."""
    version, asked_at = services.snapshots.missed
    return timedelta(0) <= now - asked_at < MISSING_FOR and told_version(call.query) >= version


def _previewed(services: Services, call: Call, asked: Asked, now: datetime) -> Asked:
    token = preview.presented_token(asked.context.get(preview.ATTRIBUTE), call.preview, call.cookie)
    if not token:
        return asked
    forced = preview.read_preview(services.settings.signing_secret, token, now=now)
    if forced is None:
        return asked._replace(preview="invalid")
    return asked._replace(forced=forced, preview="on")


def _single(services: Services, snapshot: ServingSnapshot, asked: Asked, assigned: Assignment) -> bytes:
    if asked.forced:
        return orjson.dumps(single_members(services, snapshot, asked, assigned))
    more = orjson.dumps(_context_metadata(services, asked))
    return _fragments(snapshot).text(assigned)[:-2] + b"," + more[1:] + b"}"


def _context_metadata(services: Services, asked: Asked) -> dict[str, str]:
    told = {"eventsUrl": services.settings.public_url + EVENTS_PATH}
    if unit := asked.context.get(TARGETING_KEY):
        told["contextId"] = unit
    if asked.preview:
        told["preview"] = asked.preview
    return told


def _bulk(services: Services, snapshot: ServingSnapshot, call: Call, asked: Asked, now: datetime) -> Reply:
    parts, digests = _parts(snapshot, asked, now)
    services.meters.count("evaluations", "bulk", by=len(digests) // DIGEST_BYTES)
    tail = asked.admission.tail(now)
    own = b""
    if unit := asked.context.get(TARGETING_KEY):
        own = b',"contextId":' + orjson.dumps(unit)
    if asked.preview:
        own += b',"preview":"%s"' % asked.preview.encode()
    etag = '"' + blake2b(digests + tail.digest + own, digest_size=16).hexdigest() + '"'
    if call.if_none_match and matches(call.if_none_match, etag):
        return Reply(304, asked.admission.headers, b"", etag)
    body = b"".join((*parts, tail.head, own, tail.end))
    return Reply(200, asked.admission.typed_headers, body, etag)


def _parts(snapshot: ServingSnapshot, asked: Asked, now: datetime) -> tuple[list[bytes], bytes]:
    """Return the beginning of a bulk answer, in parts, and what stands for it in its entity tag."""
    known = _fragments(snapshot)
    keys = snapshot.compiled.keys
    if keys and not asked.forced:
        try:
            ids = list(map(id, snapshot.compiled.assign_all(asked.context, now=now)))
            return list(map(known.parts.__getitem__, ids)), b"".join(map(known.digests.__getitem__, ids))
        except Exception as error:  # noqa: BLE001 - one at a time, and each failure is told where it is
            if not isinstance(error, KeyError):
                logger().debug("evaluating_one_by_one", error=type(error).__name__)
    if asked.forced:
        drafts = (key for key, variant in asked.forced.items() if snapshot.compiled.preview(key, variant))
        keys = tuple(sorted({*keys, *drafts}))
    texts = [_one_of_many(snapshot, known, key, asked, now) for key in keys]
    return [OPENING + b",".join(texts)], b"".join(map(digest, texts))


def _one_of_many(snapshot: ServingSnapshot, known: Fragments, key: str, asked: Asked, now: datetime) -> bytes:
    """Return one flag's part of a bulk answer; a flag that fails spoils no other."""
    try:
        assigned = assign(snapshot, key, asked, now=now)
        return orjson.dumps(members(snapshot, assigned)) if key in asked.forced else known.text(assigned)
    except OfrepError as error:
        return orjson.dumps(error_members(key, error.code, error.details))
    except Exception:  # noqa: BLE001 - a page gets an answer, the log the rest
        logger().exception("evaluation_failed", flag=key)
        return orjson.dumps(error_members(key, "GENERAL", BROKEN))


def _fragments(snapshot: ServingSnapshot) -> Fragments:
    found: Fragments | None = snapshot.memo.get(MEMO)
    if found is None:
        found = snapshot.memo[MEMO] = Fragments(snapshot)
    return found


def matches(if_none_match: str, etag: str) -> bool:
    """Tell whether a list of entity tags names `etag`; weak ones count."""
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in (etag, "*") for tag in tags)


def _check_targeting_key(context: Mapping[str, Any]) -> None:
    unit = context.get(TARGETING_KEY)
    if unit is not None and unit != "" and not is_identifier(unit):
        form = f"a string of at most {MAX_IDENTIFIER} characters without control characters"
        raise OfrepError(400, "INVALID_CONTEXT", f"targetingKey must be {form}")
