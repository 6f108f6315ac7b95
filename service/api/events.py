"""Events in: stored once, or quarantined with a reason; answered after the commit."""

from flask import Blueprint, Response
from marshmallow import Schema, fields, validate

from service.api.describe import Description, document
from service.api.doors import answer_at
from service.use_cases.doors import EITHER_KEY
from service.use_cases.doors_by_path import EVENTS
from service.use_cases.ingest import MAX_EVENTS

bp = Blueprint("events", __name__, url_prefix="/v1")


class EventWire(Schema):
    """One fact; documented here, checked one by one at ingest, so that a bad one spoils no other."""

    event_id = fields.String(required=True)
    type = fields.String(required=True)
    user_id = fields.String()
    anonymous_id = fields.String()
    occurred_at = fields.AwareDateTime(required=True)
    properties = fields.Dict(keys=fields.String())


class Batch(Schema):
    """One request: up to 500 events."""

    events = fields.List(fields.Nested(EventWire), required=True, validate=validate.Length(1, MAX_EVENTS))


class EventResult(Schema):
    """What became of one event: accepted, duplicate, quarantined or refused, the last two with a reason."""

    index = fields.Integer(required=True)
    event_id = fields.String(required=True)
    status = fields.String(required=True)
    reason = fields.String()
    detail = fields.String()


class Results(Schema):
    """One result for each event, in order."""

    results = fields.List(fields.Nested(EventResult), required=True)


@bp.post("/events")
@document(
    Description(
        summary="Store a batch of events; repeats are harmless, a bad one spoils no other",
        tag="events",
        scopes=EITHER_KEY,
        body=Batch,
        answer=Results,
        status=202,
    )
)
def post_events() -> Response:
    """Store a batch of events."""
    return answer_at(EVENTS)
