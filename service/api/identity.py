"""Which ids belong to one person."""

from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

from service.api.context import caller, services
from service.api.describe import describe
from service.storage.records import KeyClass
from service.use_cases.linking import LinkAsk, link
from service.wire import Identifier, Text

bp = Blueprint("identity", __name__, url_prefix="/v1/identity")


class LinkRequest(Schema):
    """`anonymous_id` is a device of `user_id`, or `previous_user_id` an account that became `user_id`."""

    user_id = Identifier(required=True)
    anonymous_id = Identifier(load_default=None)
    previous_user_id = Identifier(load_default=None)
    person_token = Text(most=2_048, load_default="")

    @validates_schema
    def joins_two_ids(self, data: dict[str, Any], **_: object) -> None:
        """Refuse what joins nothing."""
        if not data.get("anonymous_id") and not data.get("previous_user_id"):
            raise ValidationError("give anonymous_id or previous_user_id")
        if data.get("previous_user_id") == data.get("user_id"):
            raise ValidationError("it is the user_id itself", "previous_user_id")

    @post_load
    def to_ask(self, data: dict[str, Any], **_: object) -> LinkAsk:
        """Leave the wire form here."""
        token = data.pop("person_token") or request.headers.get("X-Person-Token", "")
        return LinkAsk(person_token=token, **data)


class KnownAnswer(Schema):
    """The ids whose history is the user's from now on."""

    user_ids = fields.List(fields.String(), required=True)
    anonymous_ids = fields.List(fields.String(), required=True)


@bp.post("/link")
@describe(
    summary="Join an anonymous id or a former account to a user",
    tag="people",
    scopes=frozenset({KeyClass.CLIENT, KeyClass.SERVER}),
    body=LinkRequest,
    answer=KnownAnswer,
)
def post_link(ask: LinkAsk) -> ResponseReturnValue:
    """Join two ids."""
    return link(services(), ask, caller=caller())
