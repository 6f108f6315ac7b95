"""Control over HTTP: apply a catalog, kill and revive, see what is live."""

from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from experiments.plans import EVERYTHING
from service.api.context import caller, services
from service.api.describe import describe
from service.catalog import CatalogError
from service.catalog.words import slot_words
from service.errors import Pointer, ProblemError
from service.storage.ports import RevisionMovedError
from service.storage.records import KeyClass
from service.use_cases import launch
from service.use_cases.explaining import Asking, explained
from service.use_cases.heartbeat import last_beat

MAX_POINTERS = 100
ADMIN = frozenset({KeyClass.ADMIN})
EXPLAINERS = frozenset({KeyClass.ADMIN, KeyClass.SERVER})
READERS = frozenset({KeyClass.ADMIN, KeyClass.SERVER, KeyClass.ANALYST})

bp = Blueprint("catalog", __name__, url_prefix="/v1")


class CatalogBody(Schema):
    """All files of a catalog: path inside the folder -> YAML text. They replace the live catalog."""

    files = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 200)), values=fields.String(), required=True
    )


class AppliedSchema(Schema):
    """The revision that is live now; `changed` is false when it was live already."""

    revision = fields.Integer(required=True)
    changed = fields.Boolean(required=True)


class SwitchSchema(Schema):
    """The state of one kill switch."""

    key = fields.String(required=True)
    killed = fields.Boolean(required=True)


class DefinitionSchema(Schema):
    """One live experiment or flag; `allocation` is its share now, `layer` its place in one or null."""

    key = fields.String(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True)
    allocation = fields.Float(required=True)
    layer = fields.String(required=True, allow_none=True)
    killed = fields.Boolean(required=True)


class ExplainBody(Schema):
    """The attributes to explain for; `request` may be given to ask about another device or hour."""

    context = fields.Dict(keys=fields.String(), load_default=dict)


class ExplainedSchema(Schema):
    """An assignment with its reasons.

    Each gate has passed (null: it needs an id), decision, detail, change and facts; `decided_by` names the
    gate that ended the evaluation. Without `assignment`, the flag must split and no id came.
    """

    key = fields.String(required=True)
    revision = fields.Integer(required=True)
    unit = fields.String(required=True)
    unit_id = fields.String(required=True, allow_none=True)
    assignment = fields.Dict(keys=fields.String(), required=True, allow_none=True)
    decided_by = fields.String(required=True, allow_none=True)
    change = fields.String(required=True)
    gates = fields.List(fields.Dict(keys=fields.String()), required=True)


class StatusSchema(Schema):
    """What this worker serves; `problem` and `folder_problem` (the watched folder) are empty when well."""

    revision = fields.Integer(required=True)
    digest = fields.String(required=True)
    problem = fields.String(required=True)
    folder_problem = fields.String(required=True)
    killed = fields.List(fields.String(), required=True)
    definitions = fields.List(fields.Nested(DefinitionSchema), required=True)


@bp.post("/catalog")
@describe(
    summary="Make a catalog live: all of it or, with every error told, nothing",
    tag="catalog",
    scopes=ADMIN,
    body=CatalogBody,
    answer=AppliedSchema,
)
def apply_catalog(body: dict[str, Any]) -> ResponseReturnValue:
    """Store a new revision and make it live."""
    try:
        applied = launch.apply(services().store, body["files"], by=caller().key_id, now=services().clock())
    except launch.BlockedError as error:
        raise ProblemError(
            409, "conflict", "the change would harm a running experiment", _pointers(error)
        ) from error
    except RevisionMovedError as error:
        raise ProblemError(409, "conflict", f"{error}; nothing was changed, try again") from error
    except CatalogError as error:
        n = len(error.findings)
        raise ProblemError(422, "invalid_catalog", f"{n} errors; see `errors`", _pointers(error)) from error
    return {"revision": applied.revision, "changed": applied.changed}


@bp.get("/catalog/status")
@describe(summary="What is live, killed and wrong", tag="catalog", scopes=READERS, answer=StatusSchema)
def catalog_status() -> ResponseReturnValue:
    """Answer from the snapshot that this worker serves."""
    snapshot = services().snapshots.current
    beat = last_beat(services().settings.home)
    catalog, killed = snapshot.loaded.catalog, snapshot.state.killed
    now = services().clock()
    kinds = (("experiment", catalog.experiments), ("flag", catalog.flags))
    return {
        "revision": snapshot.state.revision,
        "digest": snapshot.loaded.digest,
        "problem": snapshot.problem,
        "folder_problem": beat.problems.get("catalog", "") if beat else "",
        "killed": sorted(killed),
        "definitions": [
            {
                "key": key,
                "kind": kind,
                "status": definition.status.value,
                "allocation": definition.share_at(now) / 10_000,
                "layer": slot_words(definition.layer) if definition.layer else None,
                "killed": bool(killed & {key, EVERYTHING}),
            }
            for kind, definitions in kinds
            for key, definition in definitions.items()
        ],
    }


@bp.post("/flags/<key>/explain")
@describe(
    summary="Say why a context gets its variant: every gate in order, and what would have to change",
    tag="catalog",
    scopes=EXPLAINERS,
    body=ExplainBody,
    answer=ExplainedSchema,
)
def explain_flag(body: dict[str, Any], key: str) -> ResponseReturnValue:
    """Explain one assignment; it records nothing."""
    snapshots, now = services().snapshots, services().clock()
    asking = Asking(context=body["context"], now=now, zone=services().settings.zone)
    try:
        return explained(snapshots.current, snapshots.membership, key, asking)
    except launch.UnknownKeyError as error:
        raise ProblemError(404, "unknown_flag", str(error)) from error


@bp.post("/flags/<key>/kill")
@describe(
    summary="Serve the control's value at once; `*` is everything",
    tag="catalog",
    scopes=ADMIN,
    answer=SwitchSchema,
)
def kill(key: str) -> ResponseReturnValue:
    """Kill one flag or experiment in every worker."""
    try:
        launch.kill(services().store, key, by=caller().key_id, now=services().clock())
    except launch.UnknownKeyError as error:
        raise ProblemError(404, "unknown_flag", str(error)) from error
    return {"key": key, "killed": True}


@bp.post("/flags/<key>/revive")
@describe(summary="Undo a kill", tag="catalog", scopes=ADMIN, answer=SwitchSchema)
def revive(key: str) -> ResponseReturnValue:
    """Revive one flag or experiment in every worker."""
    try:
        launch.revive(services().store, key, by=caller().key_id, now=services().clock())
    except launch.UnknownKeyError as error:
        raise ProblemError(404, "unknown_flag", str(error)) from error
    return {"key": key, "killed": False}


def _pointers(error: CatalogError) -> tuple[Pointer, ...]:
    """Return the findings as RFC 6901 pointers into the body; the reason says line, column, code and what."""
    return tuple(
        Pointer(
            f"/files/{found.path.replace('~', '~0').replace('/', '~1')}",
            f"{found.line}:{found.column} {found.code} {found.message}"
            + (f" ({found.hint})" if found.hint else ""),
        )
        for found in error.findings[:MAX_POINTERS]
    )
