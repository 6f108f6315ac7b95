"""OFREP: which variant does this unit see? The hot lane answers the same calls with the same function."""

from http import HTTPStatus

from flask import Blueprint, Response, request
from marshmallow import Schema, fields

from service.api.context import services
from service.api.describe import Description, document, read_body
from service.api.exchange import call_of, response_of, stream_call
from service.errors import ProblemError
from service.use_cases import ofrep, streams
from service.use_cases.expose import answer_exposed
from service.use_cases.ofrep import BODY_LIMIT
from service.use_cases.streams import SCOPES

bp = Blueprint("variants", __name__, url_prefix="/ofrep/v1")


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
    return _answer()


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
def post_flag(key: str) -> Response:  # noqa: ARG001 - the route drops a final line break, the path has it
    """Evaluate one flag."""
    return _answer()


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
    return response_of(streams.answer_once(services(), stream_call(), streams.open_ofrep))


def _answer() -> Response:
    call = call_of(ofrep.flag_key(request.path)[1], _body())
    reply = ofrep.answer(services(), call)
    if reply is None:
        call = ofrep.refreshed(services(), call)
        reply = ofrep.answer(services(), call) or answer_exposed(services(), call)
    return response_of(reply)


def _body() -> bytes:
    try:
        return read_body(BODY_LIMIT)
    except ProblemError as problem:
        if problem.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:  # OFREP's clients know 400 only.
            return b"\x00"
        raise
