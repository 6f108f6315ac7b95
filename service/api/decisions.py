"""Decisions over HTTP: what was decided about experiments, when, why, and what was done."""

from flask import Blueprint
from marshmallow import Schema, fields, validate

from service.api.context import services
from service.api.describe import Description, Query, document, read_query
from service.api.verdicts import READERS, admit
from service.errors import ProblemError
from service.use_cases.decisions import LOOK_BACK, find_decision, wire_form
from service.use_cases.verdicts import unknown

bp = Blueprint("decisions", __name__, url_prefix="/v1/decisions")

TAG = "Decisions"


class DecisionsQuery(Query):
    """Of which experiment, all unless told; and how many, the newest."""

    experiment = fields.String(load_default=None, validate=validate.Length(1, 64))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, LOOK_BACK))


class DecisionSchema(Schema):
    """One decision; docs/actions.md explains every member."""

    id = fields.String(required=True)
    experiment = fields.String(required=True)
    phase = fields.Integer(required=True)
    decision = fields.String(required=True)
    variant = fields.String(required=True, allow_none=True)
    rule = fields.String(required=True)
    action = fields.String(required=True)
    reason = fields.String(required=True)
    verdict = fields.String(required=True, allow_none=True)
    revision = fields.Integer(required=True)
    decided_at = fields.AwareDateTime(required=True)


class DecisionsSchema(Schema):
    """Decisions, newest first."""

    decisions = fields.List(fields.Nested(DecisionSchema), required=True)


@bp.get("")
@document(
    Description(
        summary="List what was decided",
        tag=TAG,
        scopes=READERS,
        sign_in=True,
        body=DecisionsQuery,
        answer=DecisionsSchema,
    )
)
def get_decisions() -> dict[str, object]:
    """Return the newest decisions; of an experiment that left the catalog, too."""
    admit()
    asked, wired = read_query(DecisionsQuery()), services()
    key = asked["experiment"] or ""
    found = wired.store.decisions(key, limit=asked["limit"])
    catalog = wired.snapshots.current.loaded.catalog
    if key and not found and key not in catalog.experiments:
        raise unknown(catalog, key)
    return {"decisions": [wire_form(decision) for decision in found]}


@bp.get("/<name>")
@document(
    Description(
        summary="Read one decision by its id, such as free-shipping.1.d3",
        tag=TAG,
        scopes=READERS,
        sign_in=True,
        answer=DecisionSchema,
    )
)
def get_decision(name: str) -> dict[str, object]:
    """Return one decision."""
    admit()
    decision = find_decision(services().store, name)
    if decision is None:
        raise ProblemError(404, "unknown_decision", f"no decision {name[:100]!r} is on record")
    return wire_form(decision)
