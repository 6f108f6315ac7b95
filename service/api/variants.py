"""OFREP: which variant does this unit see? The hot lane answers the same calls with the same function."""

from http import HTTPStatus

from flask import Blueprint, Response, request
from marshmallow import Schema, fields

from service.api.context import services
from service.api.describe import Description, document, read_body
from service.errors import ProblemError
from service.use_cases.expose import answer_exposed
from service.use_cases.ofrep import BODY_LIMIT, SCOPES, Call, Reply
from service.use_cases.ofrep import answer as answer_from_memory

bp = Blueprint("variants", __name__, url_prefix="/ofrep/v1/evaluate")


class EvaluationRequest(Schema):
    """OFREP's request. `expose` (single flag only) stores the exposure before it answers."""

    context = fields.Dict(keys=fields.String())
    expose = fields.Boolean()


class Evaluation(Schema):
    """One flag. `metadata` holds decision, enrolled, phase, revision and unit."""

    key = fields.String(required=True)
    value = fields.Raw(required=True)
    reason = fields.String(required=True)
    variant = fields.String(required=True)
    metadata = fields.Dict(keys=fields.String(), required=True)


class Evaluations(Schema):
    """All flags; one that fails has errorCode and errorDetails instead of a value."""

    flags = fields.List(fields.Nested(Evaluation), required=True)
    metadata = fields.Dict(keys=fields.String())


@bp.post("/flags")
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


@bp.post("/flags/<path:key>")
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


def _answer(key: str | None) -> Response:
    headers = request.headers
    call = Call(
        key=key,
        body=_body(),
        authorization=headers.get("Authorization", ""),
        x_api_key=headers.get("X-API-Key", ""),
        origin=headers.get("Origin", ""),
        host=headers.get("Host", ""),
        if_none_match=headers.get("If-None-Match", ""),
    )
    reply = answer_from_memory(services(), call)
    return _response(answer_exposed(services(), call) if reply is None else reply)


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
    return response
