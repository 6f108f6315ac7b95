"""GrowthBook's SDKs through Flask. The hot lane answers the first two with the same functions."""

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from service.api.auth import authenticate
from service.api.context import services
from service.api.describe import Description, document, read_body, read_payload
from service.storage.records import KeyClass
from service.use_cases import growthbook, streams
from service.use_cases.exchange import Call, Reply
from service.use_cases.growthbook_track import take_tracked
from service.use_cases.limits import client_address
from service.use_cases.ofrep import BODY_LIMIT
from service.use_cases.preview import HEADER

bp = Blueprint("growthbook", __name__)

TRACK_SCOPES = frozenset({KeyClass.CLIENT, KeyClass.SERVER})
COUNTED = "opportune.counted"


class Features(Schema):
    """Features by key, as GrowthBook's SDKs read them."""

    status = fields.Integer(required=True)
    dateUpdated = fields.String()  # noqa: N815 - GrowthBook's name
    features = fields.Dict(keys=fields.String(), required=True)
    savedGroups = fields.Dict(keys=fields.String(), required=True)  # noqa: N815 - GrowthBook's name


class RemoteEvaluation(Schema):
    """What an SDK in remote evaluation sends; only `attributes` counts."""

    attributes = fields.Dict(keys=fields.String())
    forcedVariations = fields.Dict(keys=fields.String())  # noqa: N815 - GrowthBook's name
    forcedFeatures = fields.List(fields.Raw())  # noqa: N815 - GrowthBook's name
    url = fields.String()


class Tracked(Schema):
    """What became of each event: accepted, duplicate, quarantined with a reason, or counted."""

    results = fields.List(fields.Dict(keys=fields.String()), required=True)


@bp.get("/api/features/<client_key>")
@document(
    Description(
        summary="Features for GrowthBook's SDKs (ETag and If-None-Match); the client key is in the path",
        tag="growthbook",
        scopes=growthbook.SCOPES,
        answer=Features,
    )
)
def get_features(client_key: str) -> Response:
    """Return the payload."""
    return _response(growthbook.answer_features(services(), _call(client_key, b"")))


@bp.post("/api/eval/<client_key>")
@document(
    Description(
        summary="Remote evaluation for GrowthBook's SDKs: features decided for the attributes sent",
        tag="growthbook",
        scopes=growthbook.SCOPES,
        body=RemoteEvaluation,
        answer=Features,
    )
)
def post_evaluation(client_key: str) -> Response:
    """Decide every feature."""
    return _response(growthbook.answer_evaluation(services(), _call(client_key, read_body(BODY_LIMIT))))


@bp.get("/sub/<client_key>")
@document(
    Description(
        summary="Hear of new features (server-sent events), for GrowthBook's SDKs",
        tag="growthbook",
        scopes=growthbook.SCOPES,
        media_type="text/event-stream",
    )
)
def get_stream(client_key: str) -> Response:  # noqa: ARG001 - the stream reads it from the path
    """Answer one message: only the dispatcher can keep a stream open."""
    get = request.headers.get
    call = streams.StreamCall(
        path=request.path,
        query=request.query_string.decode("latin-1"),
        last_event_id=get("Last-Event-ID", ""),
        origin=get("Origin", ""),
        host=get("Host", ""),
    )
    return _response(streams.answer_once(services(), call, growthbook.open_features))


@bp.post("/track")
@document(
    Description(
        summary="Events from GrowthBook's tracking plugins: a JSON array; ?client_key=ck_...",
        tag="growthbook",
        scopes=TRACK_SCOPES,
        answer=Tracked,
    )
)
def post_track() -> ResponseReturnValue:
    """Store exposures and other events."""
    caller = authenticate(TRACK_SCOPES)
    results = take_tracked(services(), read_payload(), caller=caller)
    for result in results:
        services().meters.count("events", str(result["status"]))
    return jsonify({"results": results})


def _call(client_key: str, body: bytes) -> Call:
    get = request.headers.get
    return Call(
        key=client_key,
        body=body,
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


def _response(reply: Reply) -> Response:
    response = Response(reply.body, status=reply.status)
    del response.headers["Content-Type"]
    response.headers.extend(reply.headers)
    if reply.etag:
        response.headers["ETag"] = reply.etag
    return response
