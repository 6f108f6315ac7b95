"""Goals over HTTP: how each of them stands, with its values day by day."""

from flask import Blueprint, request
from marshmallow import Schema, fields

from service.api.auth import authenticate
from service.api.context import services
from service.api.describe import Description, document
from service.storage.records import KeyClass
from service.use_cases import goals
from service.use_cases.sessions import COOKIE, signed_in

bp = Blueprint("goals", __name__, url_prefix="/v1/goals")

READERS = frozenset({KeyClass.ANALYST, KeyClass.SERVER, KeyClass.ADMIN})


class DaySchema(Schema):
    """The metric of a goal on one UTC day; `value` is null without units."""

    day = fields.Date(required=True)
    value = fields.Float(required=True, allow_none=True)
    n = fields.Integer(required=True)


class GoalSchema(Schema):
    """One goal; docs/goals.md explains every member."""

    goal = fields.String(required=True)
    statement = fields.String(required=True)
    metric = fields.String(required=True)
    owner = fields.String(required=True)
    start = fields.Date(required=True)
    due = fields.Date(required=True)
    parent = fields.String(required=True)
    baseline = fields.Float(required=True)
    target = fields.Float(required=True)
    value = fields.Float(required=True, allow_none=True)
    n = fields.Integer(required=True)
    progress = fields.Float(required=True, allow_none=True)
    elapsed = fields.Float(required=True)
    state = fields.String(required=True)
    text = fields.String(required=True)
    experiments = fields.List(fields.String(), required=True)
    days = fields.List(fields.Nested(DaySchema), required=True)


class ListSchema(Schema):
    """Every goal of the live catalog: each before the goals that serve it, by key."""

    revision = fields.Integer(required=True)
    goals = fields.List(fields.Nested(GoalSchema), required=True)


@bp.get("")
@document(
    Description(
        summary="List goals with their progress", tag="Goals", scopes=READERS, sign_in=True, answer=ListSchema
    )
)
def get_goals() -> dict[str, object]:
    """Return every goal of the live catalog."""
    wiring = services()
    if not signed_in(wiring.store, request.cookies.get(COOKIE, ""), now=wiring.clock()):
        authenticate(READERS)
    live = wiring.snapshots.current
    found = goals.standings(wiring.store, live.loaded, now=wiring.clock())
    return {"revision": live.state.revision, "goals": [goals.members(one) for one in found]}
