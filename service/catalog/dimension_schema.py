"""The form of one dimension: a property of the first exposure, and the values that are groups."""

from typing import Any

from marshmallow import post_load

from experiments.metrics import MAX_GROUPS, Dimension
from service.catalog.compound import ListOf
from service.catalog.fields import Name, Plain, StrictSchema, Word

HINT = "for example 'values: [mobile, desktop]'"


class DimensionSchema(StrictSchema):
    """One dimension of a collection."""

    later = ("event", "buckets", "ranges")
    key = Name(required=True)
    property = Word(longest=64, required=True)
    values = ListOf(Plain(hint=HINT), required=True, longest=MAX_GROUPS)
    label = Word(longest=200, load_default="")

    @post_load
    def to_dimension(self, given: dict[str, Any], **_: object) -> Dimension:
        """Leave the wire form."""
        return Dimension(**{**given, "values": tuple(given["values"])})
