"""Control over HTTP: apply a catalog, kill and revive, see what is live."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from experiments.definitions import Experiment
from experiments.plans import EVERYTHING
from service.api.context import caller, services
from service.api.describe import describe
from service.catalog import CatalogError
from service.catalog.words import slot_words
from service.errors import Pointer, ProblemError
from service.storage.ports import RevisionMovedError
from service.storage.records import KeyClass
from service.use_cases import launch, shipping
from service.use_cases.explaining import Asking, explained
from service.use_cases.heartbeat import last_beat
from service.use_cases.steer import RefusedError

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
    """One live experiment or flag; `allocation` is its share now, `layer` its place in one or null.

    `shipped` is the variant that everybody gets, or null.
    """

    key = fields.String(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True)
    allocation = fields.Float(required=True)
    layer = fields.String(required=True, allow_none=True)
    killed = fields.Boolean(required=True)
    shipped = fields.String(required=True, allow_none=True)


class ShipBody(Schema):
    """The variant that everybody is to get."""

    variant = fields.String(required=True, validate=validate.Length(1, 64))


class ShippedSchema(Schema):
    """What everybody gets (null: their own variants), whether that is new, and what to know beside it."""

    key = fields.String(required=True)
    shipped = fields.String(required=True, allow_none=True)
    changed = fields.Boolean(required=True)
    notes = fields.List(fields.String(), required=True)


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
                "shipped": (definition.shipped or None) if isinstance(definition, Experiment) else None,
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


@bp.post("/flags/<key>/ship")
@describe(
    summary="Serve one variant of an experiment to everybody at once",
    tag="catalog",
    scopes=ADMIN,
    body=ShipBody,
    answer=ShippedSchema,
)
def ship(body: dict[str, Any], key: str) -> ResponseReturnValue:
    """Ship one variant in every worker; nobody is enrolled any more."""
    with _told():
        done = shipping.ship(
            services().store, key, body["variant"], by=caller().key_id, now=services().clock()
        )
    return {"key": key, "shipped": done.variant, "changed": done.changed, "notes": list(done.notes)}


@bp.post("/flags/<key>/unship")
@describe(summary="Give units their own variants again", tag="catalog", scopes=ADMIN, answer=ShippedSchema)
def unship(key: str) -> ResponseReturnValue:
    """End a shipping in every worker."""
    with _told():
        done = shipping.unship(services().store, key, by=caller().key_id, now=services().clock())
    return {"key": key, "shipped": None, "changed": done.changed, "notes": []}


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a caller can cause into a problem."""
    try:
        yield
    except launch.UnknownKeyError as error:
        raise ProblemError(404, "unknown_flag", str(error)) from error
    except RefusedError as error:
        raise ProblemError(409, "conflict", str(error)) from error


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
