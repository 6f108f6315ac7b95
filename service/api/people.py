"""Single persons: a token that lets a browser see its own history, what is known of them, and erasure."""

from datetime import timedelta
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.api.context import services
from service.api.describe import describe
from service.errors import ProblemError
from service.storage.records import KeyClass
from service.use_cases.access import sign_person_token
from service.use_cases.people import delete_person
from service.use_cases.profile import profile
from service.wire import Identifier

bp = Blueprint("people", __name__, url_prefix="/v1")

HOUR_S = 3_600
MAX_TTL_S = 30 * 24 * HOUR_S


class WhoSchema(Schema):
    """A person by either id; at least one is given."""

    user_id = Identifier()
    anonymous_id = Identifier()

    @validates_schema
    def names_somebody(self, data: dict[str, Any], **_: object) -> None:
        """Refuse a person without an id."""
        if not data.get("user_id") and not data.get("anonymous_id"):
            raise ValidationError("give user_id or anonymous_id")


class TokenRequest(WhoSchema):
    """Whom the token names (user_id first) and for how long."""

    ttl_s = fields.Integer(strict=True, load_default=HOUR_S, validate=validate.Range(60, MAX_TTL_S))


class TokenAnswer(Schema):
    """The token goes to the browser, which sends it as `person_token` or X-Person-Token."""

    person_token = fields.String(required=True)
    expires_at = fields.AwareDateTime(required=True)


class ErasureAnswer(Schema):
    """Rows erased, by table."""

    deleted = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


@bp.post("/person-tokens")
@describe(
    summary="Make a signed, expiring token for one person's browser",
    tag="people",
    scopes=frozenset({KeyClass.SERVER}),
    body=TokenRequest,
    answer=TokenAnswer,
    status=201,
)
def post_person_token(ask: dict[str, Any]) -> ResponseReturnValue:
    """Sign a token."""
    secret = services().settings.signing_secret
    if not secret:
        raise ProblemError(409, "conflict", "set OPPORTUNE_SIGNING_SECRET: nothing can be signed without it")
    subject = f"u:{ask['user_id']}" if ask.get("user_id") else f"a:{ask['anonymous_id']}"
    expires_at = (services().clock() + timedelta(seconds=ask["ttl_s"])).replace(microsecond=0)
    token = sign_person_token(secret, subject=subject, expires_at=expires_at)
    return {"person_token": token, "expires_at": expires_at.isoformat()}, 201


class ProfileAnswer(Schema):
    """What is known of the person under all ids that a server linked."""

    user_ids = fields.List(fields.String(), required=True)
    anonymous_ids = fields.List(fields.String(), required=True)
    links = fields.List(fields.Dict(), required=True)
    in_force = fields.Dict(keys=fields.String(), values=fields.Dict(), required=True)
    consents = fields.List(fields.Dict(), required=True)
    last_seen = fields.AwareDateTime(required=True, allow_none=True)
    activity = fields.List(fields.Dict(), required=True)
    interactions = fields.List(fields.Dict(), required=True)


@bp.post("/people/profile")
@describe(
    summary="Show what is known of one person: ids, links, decisions, activity, latest interactions",
    tag="people",
    scopes=frozenset({KeyClass.SERVER, KeyClass.ADMIN}),
    body=WhoSchema,
    answer=ProfileAnswer,
)
def post_profile(who: dict[str, Any]) -> ResponseReturnValue:
    """Show one person."""
    return profile(services().store, user_id=who.get("user_id"), anonymous_id=who.get("anonymous_id"))


@bp.delete("/people")
@describe(
    summary="Erase one person: every event, interaction, link, decision, slate and quarantined body",
    tag="people",
    scopes=frozenset({KeyClass.ADMIN}),
    body=WhoSchema,
    answer=ErasureAnswer,
)
def delete_people(who: dict[str, Any]) -> ResponseReturnValue:
    """Erase one person."""
    deleted = delete_person(services(), user_id=who.get("user_id"), anonymous_id=who.get("anonymous_id"))
    return {"deleted": dict(deleted)}
