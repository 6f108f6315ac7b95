"""What people agree to: decisions in, and what browsers may read about opt-out signals."""

from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from service.api.context import caller, services
from service.api.describe import describe
from service.api.exchange import call_of
from service.api.people import WhoSchema
from service.storage.records import KeyClass, Purpose
from service.use_cases.consent import ConsentAsk, Decision, decide
from service.use_cases.terms import signals_of
from service.use_cases.wishes import DENIED, GRANTED
from service.wire import Identifier, Instant, Text

bp = Blueprint("consent", __name__)

MAX_PROOF = 4_096
GPC_UPDATED = "2026-11-22"
"""When what /.well-known/gpc.json says was last changed by a release."""


class DecisionSchema(Schema):
    """One purpose, granted or denied."""

    purpose = fields.String(required=True, validate=validate.OneOf([one.value for one in Purpose]))
    status = fields.String(required=True, validate=validate.OneOf([GRANTED, DENIED]))
    decided_at = Instant(load_default=None)

    @post_load
    def to_decision(self, data: dict[str, Any], **_: object) -> Decision:
        """Leave the wire form here."""
        return Decision(
            purpose=Purpose(data["purpose"]), status=data["status"], decided_at=data["decided_at"]
        )


class ConsentRequest(WhoSchema):
    """Who decided what, having read which words. With both ids it is recorded under both."""

    decisions = fields.List(
        fields.Nested(DecisionSchema), required=True, validate=validate.Length(1, len(Purpose))
    )
    text_version = Identifier(required=True)
    proof = Text(most=MAX_PROOF, load_default="")
    consent_id = Identifier(load_default="")
    person_token = Text(most=2_048, load_default="")

    @validates_schema
    def each_purpose_is_decided_once(self, data: dict[str, Any], **_: object) -> None:
        """Refuse two decisions about one purpose."""
        purposes = [one.purpose for one in data.get("decisions", ())]
        if len(set(purposes)) != len(purposes):
            raise ValidationError("a purpose is given twice", "decisions")

    @post_load
    def to_ask(self, data: dict[str, Any], **_: object) -> ConsentAsk:
        """Leave the wire form here."""
        token = data.pop("person_token") or request.headers.get("X-Person-Token", "")
        return ConsentAsk(person_token=token, signals=signals_of(call_of(None, b"")), **data)


class ConsentAnswer(Schema):
    """What is in force now: person id -> purpose -> status. `stored` counts the decisions that were new."""

    consent_id = fields.String(required=True)
    stored = fields.Integer(required=True)
    in_force = fields.Dict(keys=fields.String(), values=fields.Dict(), required=True)


class SignalAnswer(Schema):
    """The resource of the Global Privacy Control specification."""

    gpc = fields.Boolean(required=True)
    last_update = fields.String(data_key="lastUpdate", required=True)


@bp.post("/v1/consent")
@describe(
    summary="Record what a person agrees to or refuses, by purpose",
    tag="people",
    scopes=frozenset({KeyClass.CLIENT, KeyClass.SERVER}),
    body=ConsentRequest,
    answer=ConsentAnswer,
)
def post_consent(ask: ConsentAsk) -> ResponseReturnValue:
    """Record decisions."""
    return decide(services(), ask, caller=caller())


@bp.get("/.well-known/gpc.json")
@describe(
    summary="Tell browsers whether Global Privacy Control is respected here",
    tag="people",
    scopes=None,
    answer=SignalAnswer,
)
def get_gpc() -> ResponseReturnValue:
    """Tell whether the signal is respected."""
    respected = services().snapshots.current.loaded.data.respect_signals
    return {"gpc": respected, "lastUpdate": GPC_UPDATED}
