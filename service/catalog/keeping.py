"""The form of `data:`: what may come in, what counts as agreed, and how long it stays."""

from typing import Any

from marshmallow import fields, post_load

from experiments.notation import duration_words, seconds_in
from service.catalog.compound import Sub
from service.catalog.fields import OneOf, StrictSchema, refuse, show
from service.catalog.rules import DataRules
from service.storage.ports import Keep

DAY_S = 86_400
LEAST_EVENTS = 30
"""Days: a repeat of an older event could not be told from a new one, and a device may send late."""


class Days(fields.Field[int]):
    """A length of time in whole days, at least `least` of them."""

    def __init__(self, *, least: int = 1, why: str = "", **kwargs: Any) -> None:  # noqa: ANN401 - marshmallow's
        super().__init__(**kwargs)
        self.least, self.why = least, why

    def _deserialize(self, value: Any, *_: object, **__: object) -> int:  # noqa: ANN401 - anything may come
        seconds = 0 if value == "0d" else seconds_in(value)
        if seconds is None or seconds % DAY_S:
            message = f"expected whole days up to 400d, not {show(value)}"
            raise refuse("E306", message, "for example 90d or 26w")
        if seconds < self.least * DAY_S:
            message = f"{duration_words(seconds)} is too short: at least {self.least}d"
            raise refuse("E340", message, self.why)
        return seconds // DAY_S


class KeepSchema(StrictSchema):
    """For how long what is kept."""

    later = ("consents", "links", "items", "verdicts")
    events = Days(least=LEAST_EVENTS, why="repeats of an event are recognized for as long as it is kept")
    interactions = Days()
    quarantine = Days()
    slates = Days()

    @post_load
    def to_keep(self, given: dict[str, int], **_: object) -> Keep:
        """Leave the wire form."""
        return Keep(**given)


class DataSchema(StrictSchema):
    """The one `data:` of a catalog."""

    later = ("residency", "purposes")
    client_revenue = OneOf(["allow", "refuse"], load_default="refuse")
    unknown_consent = OneOf(["granted", "denied"], load_default="granted")
    opt_out_signals = OneOf(["respect", "record"], load_default="respect")
    keep = Sub(KeepSchema, load_default=Keep)

    @post_load
    def to_rules(self, given: dict[str, Any], **_: object) -> DataRules:
        """Leave the wire form."""
        return DataRules(
            client_revenue=given["client_revenue"] == "allow",
            unknown_consent=given["unknown_consent"] == "granted",
            respect_signals=given["opt_out_signals"] == "respect",
            keep=given["keep"],
        )
