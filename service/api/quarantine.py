"""The quarantine over HTTP: count, list, show, judge again, delete."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.api.context import caller, services
from service.api.describe import Query, describe, invalid_query
from service.errors import Pointer, ProblemError
from service.log import logger
from service.storage.records import KeyClass
from service.use_cases.quarantine import (
    NAME,
    Asked,
    Place,
    Replay,
    begin_with,
    drop_reason,
    place_text,
    read_place,
    summary,
    whole,
)
from service.use_cases.quarantine_reasons import check_reason, words_of
from service.wire import Identifier, JsonField, Truth, Whole

bp = Blueprint("quarantine", __name__, url_prefix="/v1/quarantine")

TAG = "quarantine"
ADMIN = frozenset({KeyClass.ADMIN})
MAX_LISTED = 500
MAX_AT_ONCE = 1_000
MAX_DROPPED = 10_000
DIGITS = 64


class Cursor(JsonField[Place]):
    """Where a page ended: `next` of the answer before, as it came."""

    def read(self, value: object) -> Place:
        """Return the place."""
        return read_place(value if isinstance(value, str) else "")


class EventName(JsonField[str]):
    """The whole name of an event in quarantine: 64 hex digits."""

    def read(self, value: object) -> str:
        """Return the name, unchanged."""
        if not isinstance(value, str) or len(value) != DIGITS or not NAME.fullmatch(value):
            raise ValueError("expected `event` of the list: 64 hex digits")
        return value


class ListQuery(Query):
    """What to list: one reason, or all; the page behind `after`, newest first."""

    reason = Identifier(load_default="")
    after = Cursor(load_default=None)
    limit = fields.Integer(load_default=100, validate=validate.Range(1, MAX_LISTED))


class ReasonSchema(Schema):
    """How many events are in quarantine for one reason, since when, and what helps."""

    reason = fields.String(required=True)
    n = fields.Integer(required=True)
    first_at = fields.AwareDateTime(required=True)
    last_at = fields.AwareDateTime(required=True)
    meaning = fields.String(required=True)
    help = fields.String(required=True)


class SummarySchema(Schema):
    """What a list says of an event; `event` is its name."""

    event = fields.String(required=True)
    event_id = fields.String(required=True)
    reason = fields.String(required=True)
    detail = fields.String(required=True)
    received_at = fields.AwareDateTime(required=True)
    source = fields.String(required=True)
    trust = fields.String(required=True)


class ListAnswer(Schema):
    """Every reason with its count, and a page of events; `next` is null after the last."""

    reasons = fields.List(fields.Nested(ReasonSchema), required=True)
    events = fields.List(fields.Nested(SummarySchema), required=True)
    next = fields.String(required=True, allow_none=True)


class EventAnswer(SummarySchema):
    """An event whole: `body` is what was sent (base64 if `encoding` says so), `canonical` what was judged."""

    body = fields.String(required=True)
    encoding = fields.String(required=True)
    canonical = fields.String(required=True)
    context = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class ReplayBody(Schema):
    """Which events to judge again: those named, those of a reason, or all; up to `limit` behind `after`."""

    reason = Identifier(load_default="")
    events = fields.List(EventName(), load_default=list, validate=validate.Length(max=MAX_AT_ONCE))
    dry_run = Truth(load_default=False)
    before_launch = Truth(load_default=False)
    after = Cursor(load_default=None, allow_none=True)
    limit = Whole(load_default=MAX_AT_ONCE, least=1, most=MAX_AT_ONCE)

    @validates_schema
    def asks_for_one_thing(self, data: dict[str, Any], **_: object) -> None:
        """Refuse events and a reason together: it would be unclear which is meant."""
        if data.get("events") and data.get("reason"):
            raise ValidationError("name events or a reason, not both")


class OutcomeSchema(Schema):
    """How many events became what: accepted, duplicate, refused, or the reason they are held for now."""

    was = fields.String(required=True)
    now = fields.String(required=True)
    n = fields.Integer(required=True)
    why = fields.String(required=True)


class ReplayAnswer(Schema):
    """What became of the events; with `next` there are more: send it as `after`."""

    dry_run = fields.Boolean(required=True)
    judged = fields.Integer(required=True)
    accepted = fields.Integer(required=True)
    duplicate = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    quarantined = fields.Integer(required=True)
    outcomes = fields.List(fields.Nested(OutcomeSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class DropBody(Schema):
    """Which events to delete: those named, or those of a reason."""

    reason = Identifier(load_default="")
    events = fields.List(EventName(), load_default=list, validate=validate.Length(max=MAX_AT_ONCE))

    @validates_schema
    def names_something(self, data: dict[str, Any], **_: object) -> None:
        """Refuse to delete everything, or what is unclear."""
        if bool(data.get("events")) == bool(data.get("reason")):
            raise ValidationError("name events, or a reason")


class DropAnswer(Schema):
    """How many were deleted; `left` of the reason are there still: send the same again."""

    dropped = fields.Integer(required=True)
    left = fields.Integer(required=True)


@bp.get("")
@describe(
    summary="Count quarantined events by reason and list the newest",
    tag=TAG,
    scopes=ADMIN,
    body=ListQuery,
    answer=ListAnswer,
)
def get_quarantine(asked: dict[str, Any]) -> dict[str, Any]:
    """List a page."""
    store, limit = services().store, asked["limit"]
    _check(asked["reason"], invalid_query)
    found = store.quarantined(reason=asked["reason"], after=asked["after"], limit=limit)
    last = found[-1] if len(found) == limit else None
    reasons = [
        {
            "reason": one.reason,
            "n": one.n,
            "first_at": one.first_at.isoformat(),
            "last_at": one.last_at.isoformat(),
            **words_of(one.reason)._asdict(),
        }
        for one in store.quarantine_reasons()
    ]
    return {
        "reasons": reasons,
        "events": [summary(one) for one in found],
        "next": place_text((last.held.received_at, last.digest)) if last else None,
    }


@bp.get("/<event>")
@describe(summary="Show one quarantined event whole", tag=TAG, scopes=ADMIN, answer=EventAnswer)
def get_event(event: str) -> dict[str, Any]:
    """Show an event by its name, or by its first 6 digits or more."""
    found = begin_with(services().store, event)
    if not found:
        raise ProblemError(404, "not_found", "no event in quarantine has a name that begins like this")
    if len(found) > 1:
        raise ProblemError(409, "conflict", "more than one event has a name that begins like this")
    return whole(found[0])


@bp.post("/replay")
@describe(
    summary="Judge quarantined events again by the catalog of today; harmless to repeat",
    tag=TAG,
    scopes=ADMIN,
    body=ReplayBody,
    answer=ReplayAnswer,
)
def replay(body: dict[str, Any]) -> dict[str, Any]:
    """Judge a page of events again."""
    wired = services()
    if body["after"] is None:
        _check(body["reason"], _invalid_body)
    asked = Asked(
        reason=body["reason"],
        digests=body["events"],
        dry_run=body["dry_run"],
        before_launch=body["before_launch"],
    )
    again = Replay(wired.store, wired.exposures, wired.snapshots.current.loaded, asked)
    report, place = again.page(body["after"], limit=body["limit"])
    if not asked.dry_run:
        report.record(by=caller().key_id)
    return {
        "dry_run": asked.dry_run,
        **report.members(),
        "next": place_text(place) if place else None,
    }


@bp.delete("")
@describe(
    summary="Delete quarantined events for good: those named, or those of a reason",
    tag=TAG,
    scopes=ADMIN,
    body=DropBody,
    answer=DropAnswer,
)
def delete_quarantine(body: dict[str, Any]) -> dict[str, Any]:
    """Delete up to ten thousand events."""
    store, reason = services().store, body["reason"]
    _check(reason, _invalid_body)
    if reason:
        dropped = drop_reason(store, reason, limit=MAX_DROPPED)
    else:
        dropped = store.drop_quarantined(body["events"])
    logger().info("quarantine_dropped", by=caller().key_id, reason=reason, events=dropped)
    return {"dropped": dropped, "left": store.quarantine_counts().get(reason, 0)}


def _check(reason: str, refusal: Callable[[Pointer], ProblemError]) -> None:
    try:
        check_reason(services().store, reason)
    except ValueError as error:
        raise refusal(Pointer("/reason", str(error))) from error


def _invalid_body(where: Pointer) -> ProblemError:
    return ProblemError(422, "invalid_body", "some members are missing or wrong", (where,))
