"""Verdicts over HTTP: the list, one verdict as JSON (the stored bytes), CSV or Markdown."""

from flask import Blueprint, Response, request
from marshmallow import Schema, fields

from service.api.auth import authenticate
from service.api.context import services
from service.api.describe import Description, document
from service.storage.records import KeyClass, VerdictSnapshot
from service.use_cases import verdict_exports, verdicts
from service.use_cases.sessions import COOKIE, signed_in

bp = Blueprint("verdicts", __name__, url_prefix="/v1/experiments")

READERS = frozenset({KeyClass.ANALYST, KeyClass.SERVER, KeyClass.ADMIN})
TAG = "Verdicts"


class SummarySchema(Schema):
    """One experiment of the live catalog; members of the verdict are empty before the first one."""

    experiment = fields.String(required=True)
    status = fields.String(required=True)
    killed = fields.Boolean(required=True)
    standing = fields.String(required=True)
    phase = fields.Integer(required=True)
    owner = fields.String(required=True)
    statement = fields.String(required=True)
    decision = fields.String(required=True)
    variant = fields.String(required=True)
    text = fields.String(required=True)
    as_of = fields.String(required=True)
    computed_at = fields.String(required=True)


class ListSchema(Schema):
    """Every experiment of the live catalog, by key."""

    revision = fields.Integer(required=True)
    experiments = fields.List(fields.Nested(SummarySchema), required=True)


class VerdictSchema(Schema):
    """verdict/1; docs/verdicts.md explains every member."""

    schema = fields.String(required=True)
    experiment = fields.String(required=True)
    phase = fields.Integer(required=True)
    revision = fields.Integer(required=True)
    decision = fields.String(required=True)
    variant = fields.String(required=True, allow_none=True)
    rule = fields.String(required=True)
    as_of = fields.DateTime(required=True)
    first_exposure_at = fields.DateTime(required=True, allow_none=True)
    log_offset = fields.Integer(required=True)
    digests = fields.Dict(required=True)
    exposure = fields.Dict(required=True)
    checks = fields.List(fields.Dict(), required=True)
    metrics = fields.List(fields.Dict(), required=True)
    money = fields.Dict(required=True, allow_none=True)
    final = fields.Boolean(required=True)
    forecast = fields.Dict(required=True)
    series = fields.List(fields.Dict(), required=True)
    record = fields.Dict(required=True)
    text = fields.String(required=True)
    warnings = fields.List(fields.Raw(), required=True)


@bp.get("")
@document(
    Description(
        summary="List experiments with status and newest decision",
        tag=TAG,
        scopes=READERS,
        sign_in=True,
        answer=ListSchema,
    )
)
def get_experiments() -> dict[str, object]:
    """Return every experiment of the live catalog."""
    admit()
    wired = services()
    snapshot = wired.snapshots.current
    found = verdicts.listing(snapshot.loaded.catalog, snapshot.state.killed, wired.store, now=wired.clock())
    return {"revision": snapshot.state.revision, "experiments": [summary.members() for summary in found]}


@bp.get("/<key>/verdict")
@document(
    Description(
        summary="Read the newest verdict", tag=TAG, scopes=READERS, sign_in=True, answer=VerdictSchema
    )
)
def get_verdict(key: str) -> Response:
    """Return the snapshot byte for byte as it was judged."""
    snapshot = find(key)
    answer = Response(snapshot.body, mimetype="application/json")
    answer.set_etag(snapshot.digest)
    answer.headers["Content-Location"] = f"/v1/verdicts/{snapshot.id}"
    answer.make_conditional(request)
    return answer


@bp.get("/<key>/verdict.csv")
@document(
    Description(
        summary="Read the newest verdict's metrics as CSV",
        tag=TAG,
        scopes=READERS,
        sign_in=True,
        media_type="text/csv",
    )
)
def get_verdict_csv(key: str) -> Response:
    """Return one row per metric and variant."""
    text = verdict_exports.to_csv(verdicts.body_of(find(key)))
    return _download(text, "text/csv", f"{key}.csv")


@bp.get("/<key>/verdict.md")
@document(
    Description(
        summary="Read the newest verdict as Markdown",
        tag=TAG,
        scopes=READERS,
        sign_in=True,
        media_type="text/markdown",
    )
)
def get_verdict_md(key: str) -> Response:
    """Return a page to paste into a ticket."""
    snapshot, live = find(key), services().snapshots.current
    standing = verdicts.standing(live.loaded.catalog, live.state.killed, key, now=services().clock())
    text = verdict_exports.to_markdown(verdicts.body_of(snapshot), standing=standing)
    return _download(text, "text/markdown", f"{key}.md")


def admit() -> None:
    """Let in a signed-in reader, or a key that may read verdicts."""
    cookie = request.cookies.get(COOKIE, "")
    if not signed_in(services().store, cookie, now=services().clock()):
        authenticate(READERS)


def find(key: str) -> VerdictSnapshot:
    """Return the newest verdict of an experiment to whom it may be shown."""
    admit()
    return verdicts.find(services().snapshots.current.loaded.catalog, services().store, key)


def _download(text: str, kind: str, name: str) -> Response:
    answer = Response(text, content_type=f"{kind}; charset=utf-8")
    answer.headers.set("Content-Disposition", "inline", filename=name)
    return answer
