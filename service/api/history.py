"""The history of verdicts over HTTP: the snapshots of a phase, and one of them byte for byte."""

from typing import Any

from flask import Blueprint, Response, request
from marshmallow import Schema, fields, validate

from service.api.context import services
from service.api.describe import Description, Query, document, read_query
from service.api.verdicts import READERS, TAG, VerdictSchema, admit, find
from service.use_cases import verdict_history

bp = Blueprint("history", __name__, url_prefix="/v1")

MAX_PHASE = 1_000


class HistoryQuery(Query):
    """Which phase, the newest that was judged unless told; and how many snapshots of it, the newest."""

    phase = fields.Integer(load_default=None, validate=validate.Range(1, MAX_PHASE))
    limit = fields.Integer(load_default=100, validate=validate.Range(1, verdict_history.LIMIT))


class LiftSchema(Schema):
    """A lift with its interval, fractions; null where there is no end."""

    estimate = fields.Float(required=True, allow_none=True)
    lower = fields.Float(required=True, allow_none=True)
    upper = fields.Float(required=True, allow_none=True)


class TreatmentSchema(Schema):
    """The primary metric of one treatment, as the snapshot said it."""

    variant = fields.String(required=True)
    n = fields.Integer(required=True)
    lift = fields.Nested(LiftSchema, required=True)


class SnapshotSchema(Schema):
    """One snapshot; `version` is of the software, null where it was not kept."""

    id = fields.String(required=True)
    as_of = fields.AwareDateTime(required=True)
    computed_at = fields.AwareDateTime(required=True)
    revision = fields.Integer(required=True)
    log_offset = fields.Integer(required=True)
    decision = fields.String(required=True)
    variant = fields.String(required=True, allow_none=True)
    rule = fields.String(required=True)
    metric = fields.String(required=True)
    treatments = fields.List(fields.Nested(TreatmentSchema), required=True)
    digest = fields.String(required=True)
    final = fields.Boolean(required=True)
    version = fields.String(required=True, allow_none=True)


class HistorySchema(Schema):
    """The snapshots of one phase, oldest first."""

    experiment = fields.String(required=True)
    phase = fields.Integer(required=True)
    snapshots = fields.List(fields.Nested(SnapshotSchema), required=True)


@bp.get("/experiments/<key>/history")
@document(
    Description(
        summary="List the verdicts of a phase",
        tag=TAG,
        scopes=READERS,
        sign_in=True,
        body=HistoryQuery,
        answer=HistorySchema,
    )
)
def get_history(key: str) -> dict[str, Any]:
    """Return the newest snapshots of one phase."""
    snapshot = find(key)
    asked = read_query(HistoryQuery())
    phase = asked["phase"] or snapshot.phase
    moments = verdict_history.history(services().store, key, phase, limit=asked["limit"])
    return verdict_history.members(key, phase, moments)


@bp.get("/verdicts/<name>")
@document(
    Description(
        summary="Read one verdict by its id, such as free-shipping.1.17",
        tag=TAG,
        scopes=READERS,
        sign_in=True,
        answer=VerdictSchema,
    )
)
def get_snapshot(name: str) -> Response:
    """Return the snapshot byte for byte as it was judged."""
    admit()
    snapshot = verdict_history.snapshot_named(services().store, name)
    answer = Response(snapshot.body, mimetype="application/json")
    answer.set_etag(snapshot.digest)
    answer.make_conditional(request)
    return answer
