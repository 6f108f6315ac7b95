"""Segment's HTTP tracking API, and the settings that its browser library loads first."""

from flask import Blueprint, Response, jsonify, request
from marshmallow import Schema, fields

from service.api.context import services
from service.api.describe import Description, document
from service.api.doors import answer_at
from service.api.exchange import call_of
from service.use_cases import segment, segment_settings
from service.use_cases.doors import EITHER_KEY
from service.use_cases.growthbook import admit

bp = Blueprint("segment", __name__, url_prefix="/v1")


class SegmentCall(Schema):
    """One call of a library, in Segment's words; more members are let pass and not stored."""

    type = fields.String()
    messageId = fields.String()  # noqa: N815 - Segment's name
    userId = fields.String()  # noqa: N815 - Segment's name
    anonymousId = fields.String()  # noqa: N815 - Segment's name
    previousId = fields.String()  # noqa: N815 - Segment's name
    groupId = fields.String()  # noqa: N815 - Segment's name
    event = fields.String()
    name = fields.String()
    category = fields.String()
    properties = fields.Dict(keys=fields.String())
    traits = fields.Dict(keys=fields.String())
    timestamp = fields.AwareDateTime()
    sentAt = fields.AwareDateTime()  # noqa: N815 - Segment's name
    writeKey = fields.String()  # noqa: N815 - Segment's name


class SegmentBatch(Schema):
    """Up to 500 calls of any kind."""

    batch = fields.List(fields.Nested(SegmentCall), required=True)
    sentAt = fields.AwareDateTime()  # noqa: N815 - Segment's name
    writeKey = fields.String()  # noqa: N815 - Segment's name


class Success(Schema):
    """Said after the commit: what became of each call, in order."""

    success = fields.Boolean(required=True)
    results = fields.List(fields.Dict(keys=fields.String()), required=True)


class LibrarySettings(Schema):
    """Where the library sends its calls."""

    integrations = fields.Dict(keys=fields.String(), required=True)


def _about(summary: str, body: type[Schema]) -> Description:
    return Description(summary=summary, tag="segment", scopes=EITHER_KEY, body=body, answer=Success)


@bp.post("/batch")
@bp.post("/b")
@bp.post("/import")
@document(
    _about("Calls of Segment's libraries, many at once; the key is the user name of Basic", SegmentBatch)
)
def post_batch() -> Response:
    """Store a batch of calls."""
    return answer_at(segment.BATCHES)


@bp.post("/identify")
@bp.post("/i")
@document(_about("Segment's identify: who somebody is", SegmentCall))
def post_identify() -> Response:
    """Store one call."""
    return answer_at(segment.ONE_CALL["identify"])


@bp.post("/track")
@bp.post("/t")
@document(_about("Segment's track: what somebody did", SegmentCall))
def post_track() -> Response:
    """Store one call."""
    return answer_at(segment.ONE_CALL["track"])


@bp.post("/page")
@bp.post("/p")
@document(_about("Segment's page: a page was seen", SegmentCall))
def post_page() -> Response:
    """Store one call."""
    return answer_at(segment.ONE_CALL["page"])


@bp.post("/screen")
@bp.post("/s")
@document(_about("Segment's screen: a screen of an app was seen", SegmentCall))
def post_screen() -> Response:
    """Store one call."""
    return answer_at(segment.ONE_CALL["screen"])


@bp.post("/group")
@bp.post("/g")
@document(_about("Segment's group: which group somebody belongs to", SegmentCall))
def post_group() -> Response:
    """Store one call."""
    return answer_at(segment.ONE_CALL["group"])


@bp.post("/alias")
@bp.post("/a")
@document(_about("Segment's alias: two ids are one person", SegmentCall))
def post_alias() -> Response:
    """Store one call."""
    return answer_at(segment.ONE_CALL["alias"])


@bp.get("/projects/<client_key>/settings")
@document(
    Description(
        summary="What Segment's browser library loads first; the client key is in the path",
        tag="segment",
        scopes=segment_settings.SCOPES,
        answer=LibrarySettings,
    )
)
def get_settings(client_key: str) -> Response:
    """Return where to send calls."""
    call = call_of(client_key, b"")
    admit(services(), services().snapshots.current, call)
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    api_host, protocol = segment_settings.api_of(
        services().settings.public_url, host=call.host, origin=call.origin, forwarded_proto=forwarded
    )
    return jsonify(segment_settings.library_settings(client_key, api_host=api_host, protocol=protocol))
