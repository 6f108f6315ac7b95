"""Segment's HTTP tracking API, and the settings that its browser library loads first."""

from flask import Blueprint, Response, jsonify, request
from marshmallow import Schema, fields

from service.api.context import services
from service.api.describe import Description, View, document
from service.api.doors import answer_at
from service.api.exchange import call_of
from service.use_cases import segment, segment_settings
from service.use_cases.doors import EITHER_KEY, Door
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


SUMMARIES = {
    "batch": "Calls of Segment's libraries, many at once; the key is the user name of Basic",
    "identify": "Segment's identify: who somebody is",
    "track": "Segment's track: what somebody did",
    "page": "Segment's page: a page was seen",
    "screen": "Segment's screen: a screen of an app was seen",
    "group": "Segment's group: which group somebody belongs to",
    "alias": "Segment's alias: two ids are one person",
}


def _view(door: Door, call: str) -> View:
    """Return the view of one path."""

    def view() -> Response:
        return answer_at(door)

    body = SegmentCall if door.single else SegmentBatch
    about = Description(summary=SUMMARIES[call], tag="segment", scopes=EITHER_KEY, body=body, answer=Success)
    return document(about)(view)


for path, (call, door) in segment.PATHS.items():
    name = path.removeprefix("/v1/")
    bp.add_url_rule(f"/{name}", f"post_{name}", _view(door, call), methods=["POST"])


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
