"""The form of one metric: which keys its kind needs, which it may have, and which would have no effect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from marshmallow import fields, post_load

from experiments.definitions import Direction, Metric, MetricKind
from service.catalog.compound import MappingOf
from service.catalog.fields import (
    Duration,
    Fraction,
    Name,
    OneOf,
    Plain,
    Positive,
    Said,
    StrictSchema,
    Word,
    decimal_in,
    nested,
    percent_in,
    refuse,
    show,
)

SCALE = re.compile(r"([0-9]{1,3})\s?-\s?([0-9]{1,3})", re.ASCII)
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
CAP_HINT = "the largest value of one unit, for example 'cap: 500'"
WHERE_HINT = "'where' only asks for equality: make one metric for each value, or send a property that says it"
HIGHEST = 100
LEAST_STEPS = 2
MAX_FACTOR = 1_000_000
FACTOR_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Keys:
    """What a kind needs and what it may have beside the keys that every metric has."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


KEYS: Mapping[MetricKind, Keys] = MappingProxyType(
    {
        MetricKind.CONVERSION: Keys(),
        MetricKind.COUNT: Keys(may=("cap", "lookback")),
        MetricKind.MEAN: Keys(("value",), ("currency", "cap", "lookback")),
        MetricKind.RATIO: Keys(("per",), ("value", "per_value", "currency", "cap", "lookback")),
        MetricKind.QUANTILE: Keys(("value", "quantile"), ("currency",)),
        MetricKind.NPS: Keys(("value",)),
        MetricKind.CSAT: Keys(("value",), ("scale",)),
        MetricKind.CES: Keys(("value",), ("scale",)),
        MetricKind.RETENTION: Keys(("after",)),
        MetricKind.CHURN: Keys(("after",)),
        MetricKind.REPEAT_PURCHASE: Keys(),
        MetricKind.CART_ABANDONMENT: Keys(("then",)),
        MetricKind.FUNNEL: Keys(("then",)),
        MetricKind.LIFETIME_VALUE: Keys(("value", "factor"), ("currency", "cap", "lookback")),
    }
)
BY_KIND = (
    "value",
    "currency",
    "cap",
    "lookback",
    "per",
    "per_value",
    "quantile",
    "scale",
    "after",
    "then",
    "factor",
)
"""The keys of which a kind has some."""
EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "value": "for example 'value: revenue', the property that holds the number",
        "per": "for example 'per: Order Completed', the event that it is divided by",
        "quantile": "for example 'quantile: 90%'; the median is 50%",
        "after": "for example 'after: 7d': events from then on, counted from the first exposure",
        "then": "for example 'then: Order Completed', the event that should follow",
        "factor": "for example 'factor: 30%', what one unit of the value is worth",
    }
)
SCORE = "for example 'value: score', the property that holds the answer"
SCALES: Mapping[MetricKind, tuple[int, int]] = MappingProxyType(
    {MetricKind.NPS: (0, 10), MetricKind.CSAT: (1, 5), MetricKind.CES: (1, 7)}
)
FEWER_IS_BETTER = frozenset({MetricKind.CHURN, MetricKind.CART_ABANDONMENT})


class Scale(fields.Field[tuple[int, int]]):
    """The lowest and the highest score of a survey: '1-5'."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> tuple[int, int]:  # noqa: ANN401
        match = SCALE.fullmatch(value.strip()) if isinstance(value, str) else None
        low, high = (int(match[1]), int(match[2])) if match else (0, 0)
        if not low + LEAST_STEPS <= high <= HIGHEST:
            message = f"expected the lowest and the highest score, three steps at least, not {show(value)}"
            raise refuse("E336", message, "for example 1-5")
        return low, high


class Factor(fields.Field[float]):
    """What one unit is worth: '30%' or 0.3; above 0, with at most six decimals, so that sums stay whole."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> float:  # noqa: ANN401 - anything may come
        percent = percent_in(value)
        number = percent / 100 if percent is not None else None
        if type(value) in (int, float):
            number = decimal_in(repr(value))
        if number is None or not 0 < number <= MAX_FACTOR:
            hint = "for example 30% or 0.3"
            raise refuse(
                "E308", f"expected a factor above 0, at most {MAX_FACTOR:,}, not {show(value)}", hint
            )
        if number != round(number, FACTOR_DIGITS):
            raise refuse("E308", f"{show(value)} has more than six decimals", "round it")
        return float(number)


class Currency(fields.Field[str]):
    """A currency as events name it: 'EUR'."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> str:  # noqa: ANN401 - anything may come
        if not isinstance(value, str) or not CURRENCY.fullmatch(value):
            better = value.strip().upper() if isinstance(value, str) else ""
            hint = f"write {better}" if CURRENCY.fullmatch(better) else "such as EUR"
            raise refuse("E337", f"expected three capital letters, not {show(value)}", hint)
        return value


class MetricSchema(StrictSchema):
    """One metric of a collection."""

    later = ("owner", "unit", "numerator", "denominator", "covariate", "missing")
    key = Name(required=True)
    kind = OneOf([kind.value for kind in MetricKind], required=True)
    event = Word(longest=64, required=True)
    where = MappingOf(Plain(hint=WHERE_HINT), names=False, load_default=dict)
    window = Duration(required=True, empty="E331")
    direction = OneOf([d.value for d in Direction])
    label = Word(longest=200, load_default="")
    value = Word(longest=64)
    currency = Currency()
    cap = Positive(1e9, hint=CAP_HINT, not_above="E332")
    lookback = Duration(attribute="lookback_s")
    per = Word(longest=64)
    per_value = Word(longest=64)
    quantile = Fraction(example="90%; the median is 50%", least=10)
    scale = Scale()
    after = Duration(attribute="after_s")
    then = Word(longest=64)
    factor = Factor()

    @post_load
    def to_metric(self, given: dict[str, Any], **_: object) -> Metric:
        """Leave the wire form."""
        kind = MetricKind(given.pop("kind"))
        self._check_keys(kind, given)
        usual = Direction.DOWN if kind in FEWER_IS_BETTER else Direction.UP
        direction = Direction(given.pop("direction", usual))
        scale = given.pop("scale", SCALES.get(kind))
        return Metric(kind=kind, window_s=given.pop("window"), direction=direction, scale=scale, **given)

    def _check_keys(self, kind: MetricKind, given: Mapping[str, Any]) -> None:
        """Refuse what would have no effect, and ask for what is missing, all at once."""
        has = {key for key in BY_KIND if (self.fields[key].attribute or key) in given}
        keys = KEYS[kind]
        wrong = {key: _unused(kind, key) for key in BY_KIND if key in has.difference(keys.needs, keys.may)}
        wrong |= {key: _missing(kind, key) for key in keys.needs if key not in has}
        if kind is MetricKind.RATIO and "currency" in has and not has & {"value", "per_value"}:
            message = "a ratio of counted events does not use 'currency'"
            hint = "remove it, or say with 'value' or 'per_value' which amounts are added up"
            wrong["currency"] = Said("E333", message, hint, at_key=True)
        if "then" in has and "then" not in wrong and given["then"] == given["event"]:
            message = "'then' is the 'event' itself: everybody with the one has the other"
            wrong["then"] = Said("E338", message, EXAMPLES["then"])
        if wrong:
            raise nested({key: [said] for key, said in wrong.items()})


def _unused(kind: MetricKind, key: str) -> Said:
    users = [other.value for other, keys in KEYS.items() if key in (*keys.needs, *keys.may)]
    hint = f"remove it: it is for {', '.join(users)}"
    if kind is MetricKind.NPS and key == "scale":
        hint = "remove it: the scale of an nps is 0-10"
    return Said("E333", f"'{kind.value}' does not use '{key}'", hint, at_key=True)


def _missing(kind: MetricKind, key: str) -> Said:
    code = "E330" if key == "value" else "E334"
    survey = key == "value" and kind in SCALES
    return Said(code, f"'{kind.value}' needs '{key}'", SCORE if survey else EXAMPLES[key])
