"""OFREP: which variant does this unit see? The hot lane answers the same calls with the same function."""

from http import HTTPStatus

from flask import Blueprint, Response, request
from marshmallow import Schema, fields

from service.api.context import services
from service.api.describe import Description, document, read_body
from service.errors import ProblemError
from service.use_cases import ofrep, streams
from service.use_cases.admission import SCOPES
from service.use_cases.exchange import Call, Reply
from service.use_cases.expose import answer_exposed
from service.use_cases.limits import client_address
from service.use_cases.ofrep import BODY_LIMIT
from service.use_cases.preview import HEADER

bp = Blueprint("variants", __name__, url_prefix="/ofrep/v1")

COUNTED = "opportune.counted"


class EvaluationRequest(Schema):
    """OFREP's request. `expose` (single flag only) stores the exposure before it answers."""

    context = fields.Dict(keys=fields.String())
    expose = fields.Boolean()


class Evaluation(Schema):
    """One flag.

    `metadata` holds decision, enrolled, phase, revision, unit, flagSetId, version, contextId and eventsUrl.
    """

    key = fields.String(required=True)
    value = fields.Raw(required=True)
    reason = fields.String(required=True)
    variant = fields.String(required=True)
    metadata = fields.Dict(keys=fields.String(), required=True)


class Evaluations(Schema):
    """All flags; one that fails has errorCode and errorDetails instead of a value."""

    flags = fields.List(fields.Nested(Evaluation), required=True)
    metadata = fields.Dict(keys=fields.String())
    eventStreams = fields.List(fields.Dict(keys=fields.String()))  # noqa: N815 - OFREP's name


@bp.post("/evaluate/flags")
@document(
    Description(
        summary="Evaluate every flag for one context (OFREP bulk; ETag and If-None-Match)",
        tag="variants",
        scopes=SCOPES,
        body=EvaluationRequest,
        answer=Evaluations,
    )
)
def post_flags() -> Response:
    """Evaluate all flags."""
    return _answer(None)


@bp.post("/evaluate/flags/<path:key>")
@document(
    Description(
        summary="Evaluate one flag for one context (OFREP); body member expose: true stores the exposure",
        tag="variants",
        scopes=SCOPES,
        body=EvaluationRequest,
        answer=Evaluation,
    )
)
def post_flag(key: str) -> Response:
    """Evaluate one flag."""
    return _answer(key)


@bp.get("/streams")
@document(
    Description(
        summary="Hear of changes (server-sent events); the address comes with a bulk evaluation",
        tag="variants",
        scopes=SCOPES,
        media_type="text/event-stream",
    )
)
def get_stream() -> Response:
    """Answer one message: only the dispatcher can keep a stream open."""
    get = request.headers.get
    call = streams.StreamCall(
        path=request.path,
        query=request.query_string.decode("latin-1"),
        last_event_id=get("Last-Event-ID", ""),
        origin=get("Origin", ""),
        host=get("Host", ""),
    )
    return _response(streams.answer_once(services(), call, streams.open_ofrep))


def _answer(key: str | None) -> Response:
    call = _call(key)
    reply = ofrep.answer(services(), call)
    if reply is None:
        call = ofrep.refreshed(services(), call)
        reply = ofrep.answer(services(), call) or answer_exposed(services(), call)
    return _response(reply)


def _call(key: str | None) -> Call:
    get = request.headers.get
    return Call(
        key=key,
        body=_body(),
        query=request.query_string.decode("latin-1"),
        authorization=get("Authorization", ""),
        x_api_key=get("X-API-Key", ""),
        origin=get("Origin", ""),
        host=get("Host", ""),
        if_none_match=get("If-None-Match", ""),
        user_agent=get("User-Agent", ""),
        preview=get(HEADER, ""),
        cookie=get("Cookie", ""),
        address=_address(),
        person_token=get("X-Person-Token", ""),
    )


def _address() -> str:
    """Return whose requests are limited; empty when the hot lane has counted this one."""
    if not services().limit.rate or request.environ.get(COUNTED):
        return ""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return client_address(request.remote_addr or "-", forwarded, services().settings.proxies)


def _body() -> bytes:
    try:
        return read_body(BODY_LIMIT)
    except ProblemError as problem:
        if problem.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:  # OFREP's clients know 400 only.
            return b"\x00"
        raise


def _response(reply: Reply) -> Response:
    response = Response(reply.body, status=reply.status)
    del response.headers["Content-Type"]
    response.headers.extend(reply.headers)
    if reply.etag:
        response.headers["ETag"] = reply.etag
    return response
