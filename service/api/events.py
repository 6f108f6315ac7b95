"""Events in: stored once, or quarantined with a reason; answered after the commit."""

from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from service.api.context import caller, services
from service.api.describe import describe
from service.storage.records import KeyClass
from service.use_cases.ingest import MAX_EVENTS, ingest

bp = Blueprint("events", __name__, url_prefix="/v1")

SOURCE = "events"


class EventWire(Schema):
    """One fact; documented here, checked one by one at ingest, so that a bad one spoils no other."""

    event_id = fields.String(required=True)
    type = fields.String(required=True)
    user_id = fields.String()
    anonymous_id = fields.String()
    occurred_at = fields.AwareDateTime(required=True)
    properties = fields.Dict(keys=fields.String())


class BatchWire(Schema):
    """How a batch is documented."""

    events = fields.List(fields.Nested(EventWire), required=True, validate=validate.Length(1, MAX_EVENTS))


class Batch(Schema):
    """How a batch is read: the events stay raw."""

    documented_by = BatchWire

    events = fields.List(fields.Raw(allow_none=True), required=True, validate=validate.Length(1, MAX_EVENTS))


class EventResult(Schema):
    """What became of one event: accepted, duplicate, or quarantined with a reason."""

    index = fields.Integer(required=True)
    event_id = fields.String(required=True)
    status = fields.String(required=True)
    reason = fields.String()


class Results(Schema):
    """One result for each event, in order."""

    results = fields.List(fields.Nested(EventResult), required=True)


@bp.post("/events")
@describe(
    summary="Store a batch of events; repeats are harmless, a bad one spoils no other",
    tag="events",
    scopes=frozenset({KeyClass.CLIENT, KeyClass.SERVER}),
    body=Batch,
    answer=Results,
    status=202,
)
def post_events(batch: dict[str, Any]) -> ResponseReturnValue:
    """Store a batch of events."""
    results = ingest(services(), batch["events"], caller=caller(), source=SOURCE)
    for result in results:
        services().meters.count("events", str(result["status"]))
    return {"results": results}, 202
