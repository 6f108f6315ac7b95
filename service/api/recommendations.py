"""Slates out, items in."""

from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from service.api.context import caller, services
from service.api.describe import describe
from service.api.exchange import call_of
from service.storage.records import Item, KeyClass
from service.use_cases.recommend import RecommendAsk, recommend
from service.use_cases.terms import signals_of
from service.wire import Identifier, Object, Text, Truth, Whole

bp = Blueprint("recommendations", __name__, url_prefix="/v1")

MAX_K = 100
MAX_LISTED = 1_000
MAX_FILTERS = 20
MAX_ITEMS = 1_000
MAX_CATEGORIES = 50
WRONG_VALUES = f"expected a list of 1 to {MAX_LISTED} strings, whole numbers or booleans"


class Filters(fields.Dict):
    """Field name -> the values of it that may be shown: strings, whole numbers or booleans."""

    def _deserialize(self, value: object, *_: object, **__: object) -> dict[str, list[Any]]:
        if not isinstance(value, dict) or len(value) > MAX_FILTERS:
            raise ValidationError(f"expected an object of at most {MAX_FILTERS} members")
        wrong = {str(name): [WRONG_VALUES] for name, allowed in value.items() if not _is_values(allowed)}
        if wrong:
            raise ValidationError(wrong)
        return value


def _is_values(allowed: object) -> bool:
    return (
        isinstance(allowed, list)
        and 1 <= len(allowed) <= MAX_LISTED
        and all(isinstance(entry, str | int) for entry in allowed)
    )


class Ask(Schema):
    """Who asks for what; `seed_items`, the items of the moment, steer the slate and are not in it."""

    user_id = Identifier(load_default=None, allow_none=True)
    anonymous_id = Identifier(load_default=None, allow_none=True)
    placement = Identifier(load_default="")
    recommender = Identifier(load_default="")
    k = Whole(least=1, most=MAX_K, load_default=None)
    context = Object(load_default=dict)
    filters = Filters(load_default=dict)
    # `exclude` and `fields` are names of marshmallow's own.
    exclude_ids = fields.List(
        Identifier(), data_key="exclude", load_default=list, validate=validate.Length(max=MAX_LISTED)
    )
    seed_items = fields.List(Identifier(), load_default=list, validate=validate.Length(max=MAX_K))
    fields_wanted = fields.List(
        Identifier(), data_key="fields", load_default=None, validate=validate.Length(max=MAX_K)
    )
    person_token = Text(most=2_048, load_default="")

    @post_load
    def to_ask(self, data: dict[str, Any], **_: object) -> RecommendAsk:
        """Leave the wire form here."""
        data["exclude"] = data.pop("exclude_ids")
        token = data.pop("person_token") or request.headers.get("X-Person-Token", "")
        signals = signals_of(call_of(None, b""))
        return RecommendAsk(fields=data.pop("fields_wanted"), person_token=token, signals=signals, **data)


class Why(Schema):
    """One reason for an item: `history` or `seed` name the item it goes with, `popular` names none."""

    reason = fields.String(required=True, validate=validate.OneOf(["history", "seed", "popular"]))
    item_id = fields.String()


class SlateItem(Schema):
    """One item of a slate. `score` orders items of one slate; it is no probability. `propensity` is one."""

    item_id = fields.String(required=True)
    rank = fields.Integer(required=True)
    score = fields.Float(required=True)
    propensity = fields.Float(required=True)
    reasons = fields.List(fields.Nested(Why), required=True)
    fields_shown = fields.Dict(data_key="fields", required=True)


class SlateAnswer(Schema):
    """A slate. `slate_id` is null when it could not be put on record, `model` is empty when there is none."""

    slate_id = fields.String(required=True, allow_none=True)
    model = fields.String(required=True)
    reason = fields.String(required=True, validate=validate.OneOf(["model", "popular"]))
    items = fields.List(fields.Nested(SlateItem), required=True)


class ItemWire(Schema):
    """One item; sending it again replaces it."""

    item_id = Identifier(required=True)
    fields_shown = Object(data_key="fields", load_default=dict)
    categories = fields.List(Identifier(), load_default=list, validate=validate.Length(max=MAX_CATEGORIES))
    active = Truth(load_default=True)

    @post_load
    def to_item(self, data: dict[str, Any], **_: object) -> Item:
        """Leave the wire form here."""
        return Item(
            item_id=data["item_id"],
            fields=data["fields_shown"],
            categories=tuple(data["categories"]),
            active=data["active"],
        )


class ItemBatch(Schema):
    """Items to insert or replace."""

    items = fields.List(fields.Nested(ItemWire), required=True, validate=validate.Length(1, MAX_ITEMS))

    @validates_schema
    def ids_are_different(self, data: dict[str, Any], **_: object) -> None:
        """Refuse an item that is given twice."""
        ids = [item.item_id for item in data.get("items", ())]
        if len(set(ids)) != len(ids):
            raise ValidationError("an item_id is given twice", "items")


class ItemsStored(Schema):
    """How many items were stored."""

    stored = fields.Integer(required=True)


@bp.post("/recommendations")
@describe(
    summary="Choose items for a person or a page, by what the person did seconds ago",
    tag="recommendations",
    scopes=frozenset({KeyClass.CLIENT, KeyClass.SERVER}),
    body=Ask,
    answer=SlateAnswer,
)
def post_recommendations(ask: RecommendAsk) -> ResponseReturnValue:
    """Choose items."""
    return recommend(services(), ask, caller=caller())


@bp.post("/items")
@describe(
    summary="Insert or replace items",
    tag="recommendations",
    scopes=frozenset({KeyClass.SERVER}),
    body=ItemBatch,
    answer=ItemsStored,
)
def post_items(batch: dict[str, Any]) -> ResponseReturnValue:
    """Insert or replace items."""
    stored = services().store.put_items(batch["items"])
    services().models.items_changed(services().store)
    return {"stored": stored}
