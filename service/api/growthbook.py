"""GrowthBook's SDKs through Flask. The hot lane answers the first two with the same functions."""

from flask import Blueprint, Response
from marshmallow import Schema, fields

from service.api.context import services
from service.api.describe import Description, document, read_body
from service.api.doors import answer_at
from service.api.exchange import call_of, response_of, stream_call
from service.use_cases import growthbook, streams
from service.use_cases.doors import EITHER_KEY
from service.use_cases.growthbook_track import TRACK, TRACK_PATH
from service.use_cases.ofrep import BODY_LIMIT

bp = Blueprint("growthbook", __name__)


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
    return response_of(growthbook.answer_features(services(), call_of(client_key, b"")))


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
    return response_of(growthbook.answer_evaluation(services(), call_of(client_key, read_body(BODY_LIMIT))))


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
    return response_of(streams.answer_once(services(), stream_call(), growthbook.open_features))


@bp.post(TRACK_PATH)
@document(
    Description(
        summary="Events from GrowthBook's tracking plugins: a JSON array; ?client_key=ck_...",
        tag="growthbook",
        scopes=EITHER_KEY,
        answer=Tracked,
    )
)
def post_track() -> Response:
    """Store exposures and other events."""
    return answer_at(TRACK)
