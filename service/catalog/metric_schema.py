"""The form of one metric: which keys its kind needs, which it may have, and which would have no effect."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from marshmallow import fields, post_load, pre_load

from experiments.errors import InvalidDefinitionError
from experiments.event_filters import parse_filter
from experiments.metric_kinds import MetricKind
from experiments.metrics import Aggregate, Direction, Metric
from service.catalog.compound import AT_KEY, Sub, graft
from service.catalog.fields import (
    Duration,
    Fraction,
    Name,
    OneOf,
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
from service.catalog.findings import did_you_mean
from service.catalog.metric_templates import GIVEN, TEMPLATES, keys_of

SCALE = re.compile(r"([0-9]{1,3})\s?-\s?([0-9]{1,3})", re.ASCII)
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
CAP_HINT = "the largest value of one unit, for example 'cap: 500'"
HIGHEST = 100
LEAST_STEPS = 2
MAX_FACTOR = 1_000_000
FACTOR_DIGITS = 6


SHOWN = ("currency", "unit")
LONG = ("numerator", "denominator")
SAID_BY_PARTS = ("event", "value", "where", "per", "per_value")
SPELLED_OUT = "numerator"
TEMPLATES_HINT = "`opportune metric templates` lists them"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a kind needs and what it may have beside the keys that every metric has."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


KEYS: Mapping[MetricKind, Keys] = MappingProxyType(
    {
        MetricKind.CONVERSION: Keys(),
        MetricKind.COUNT: Keys(may=("unit", "cap", "lookback")),
        MetricKind.MEAN: Keys(("value",), ("aggregate", *SHOWN, "cap", "lookback")),
        MetricKind.RATIO: Keys(("per",), ("value", "aggregate", "per_value", *SHOWN, "cap", "lookback")),
        MetricKind.QUANTILE: Keys(("value", "quantile"), ("aggregate", *SHOWN)),
        MetricKind.NPS: Keys(("value",)),
        MetricKind.CSAT: Keys(("value",), ("scale",)),
        MetricKind.CES: Keys(("value",), ("scale", "unit")),
        MetricKind.RETENTION: Keys(("after",)),
        MetricKind.CHURN: Keys(("after",)),
        MetricKind.REPEAT_PURCHASE: Keys(),
        MetricKind.CART_ABANDONMENT: Keys(("then",)),
        MetricKind.FUNNEL: Keys(("then",)),
        MetricKind.LIFETIME_VALUE: Keys(("value", "factor"), ("aggregate", *SHOWN, "cap", "lookback")),
        MetricKind.MARGIN: Keys(("value", "factor", "currency"), ("minus", "cap", "lookback")),
    }
)
BY_KIND = (
    "value",
    "aggregate",
    "currency",
    "unit",
    "cap",
    "lookback",
    "per",
    "per_value",
    "quantile",
    "scale",
    "after",
    "then",
    "factor",
    "minus",
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
        "currency": "for example 'currency: EUR': a margin is money",
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


class Where(fields.Field[dict[str, Any]]):
    """Which events count, as written; every bad part is told."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> dict[str, Any]:  # noqa: ANN401 - anything may come
        if not isinstance(value, dict):
            raise refuse(
                "E301", f"expected 'key: value' pairs, not {show(value)}", "for example {category: tea}"
            )
        errors: dict[Any, Any] = {}
        for name, wanted in value.items():
            try:
                parse_filter({name: wanted})
            except InvalidDefinitionError as error:
                said = Said(error.code, str(error), error.hint, at_key=error.code in (*AT_KEY, "E212"))
                graft(errors, error.path, said)
        if errors:
            raise nested(errors)
        return value


class PartSchema(StrictSchema):
    """One half of a ratio."""

    event = Word(longest=64, required=True)
    value = Word(longest=64, load_default="")
    where = Where(load_default=dict)


class MetricSchema(StrictSchema):
    """One metric of a collection."""

    later = ("covariate", "missing", "tags")
    key = Name(required=True)
    template = Word()
    kind = OneOf([kind.value for kind in MetricKind], required=True)
    event = Word(longest=64, required=True)
    where = Where(load_default=dict)
    window = Duration(required=True, empty="E331")
    direction = OneOf([d.value for d in Direction])
    label = Word(longest=200, load_default="")
    owner = Word(longest=200, load_default="")
    value = Word(longest=64)
    aggregate = OneOf([a.value for a in Aggregate])
    currency = Currency()
    unit = Word(longest=16)
    cap = Positive(1e9, hint=CAP_HINT, not_above="E332")
    lookback = Duration(attribute="lookback_s")
    per = Word(longest=64)
    per_value = Word(longest=64)
    numerator = Sub(PartSchema)
    denominator = Sub(PartSchema)
    quantile = Fraction(example="90%; the median is 50%", least=10)
    scale = Scale()
    after = Duration(attribute="after_s")
    then = Word(longest=64)
    factor = Factor()
    minus = Word(longest=64)

    @pre_load
    def written_out(self, data: dict[str, Any], **_: object) -> dict[str, Any]:
        """Put the keys that a template stands for under those that are given."""
        long = [key for key in LONG if key in data]
        if long:
            _check_parts(data, long)
        whole = {**_template(data), **data}
        if not long:
            return whole
        return {k: v for k, v in whole.items() if k not in SAID_BY_PARTS} | {"event": SPELLED_OUT}

    @post_load(pass_original=True)
    def to_metric(self, given: dict[str, Any], original: Mapping[str, Any], **_: object) -> Metric:
        """Leave the wire form."""
        kind = MetricKind(given.pop("kind"))
        template = given.pop("template", "")
        self._join_parts(kind, given)
        self._check_keys(kind, given, original)
        usual = Direction.DOWN if kind in FEWER_IS_BETTER else Direction.UP
        direction = Direction(given.pop("direction", usual))
        aggregate = Aggregate(given.pop("aggregate", Aggregate.SUM))
        scale = given.pop("scale", SCALES.get(kind))
        window_s = given.pop("window")
        try:
            return Metric(
                kind=kind, window_s=window_s, direction=direction, aggregate=aggregate, scale=scale, **given
            )
        except InvalidDefinitionError as error:
            if not template or error.path[0] in original:
                raise
            hint = f"the template '{template}' says {_yaml(keys_of(template), *map(str, error.path))}"
            raise InvalidDefinitionError(str(error), path=("window",), code=error.code, hint=hint) from error

    def _join_parts(self, kind: MetricKind, given: dict[str, Any]) -> None:
        """Turn the two halves of a ratio into its keys."""
        parts = {key: given.pop(key) for key in LONG if key in given}
        if not parts:
            return
        if kind is not MetricKind.RATIO:
            raise nested({key: [_unused(kind, key)] for key in parts})
        above, below = parts["numerator"], parts["denominator"]
        given |= {name: value for name, value in above.items() if value}
        given |= {f"per_{name}": value for name, value in below.items() if value and name != "event"}
        given["per"] = below["event"]

    def _check_keys(self, kind: MetricKind, given: Mapping[str, Any], original: Mapping[str, Any]) -> None:
        """Refuse what would have no effect, and ask for what is missing, all at once."""
        has = {key for key in BY_KIND if (self.fields[key].attribute or key) in given}
        keys = KEYS[kind]
        wrong = {key: _unused(kind, key) for key in BY_KIND if key in has.difference(keys.needs, keys.may)}
        wrong |= {key: _missing(kind, key) for key in keys.needs if key not in has}
        if "currency" in has and "unit" in has and not wrong:
            message = f"the numbers are shown in {given['currency']}"
            wrong["unit"] = Said(
                "E333", message, "remove 'unit', or 'currency' if they are no money", at_key=True
            )
        if kind is MetricKind.RATIO:
            wrong |= _without_effect(has)
        if kind is MetricKind.MARGIN and given.get("factor", 0) > 1:
            wrong["factor"] = _more_than_all(original["factor"])
        if "then" in has and "then" not in wrong and given["then"] == given["event"]:
            message = "'then' is the 'event' itself: everybody with the one has the other"
            wrong["then"] = Said("E338", message, EXAMPLES["then"])
        if wrong:
            raise nested({key: [said] for key, said in wrong.items()})


def _check_parts(data: Mapping[str, Any], long: list[str]) -> None:
    """Refuse half of the long form of a ratio, and keys that it says again."""
    twice = [key for key in SAID_BY_PARTS if key in data]
    wrong = {
        key: [Said("E333", f"'{key}' is said by the numerator and the denominator", "remove it", at_key=True)]
        for key in twice
    }
    if len(long) < len(LONG):
        other = next(key for key in LONG if key not in long)
        wrong[long[0]] = [
            Said("E334", f"'{long[0]}' needs '{other}'", f"add '{other}: {{event: ...}}'", at_key=True)
        ]
    if wrong:
        raise nested(wrong)


def _template(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the keys that the template of a metric stands for; none without one."""
    name = data.get("template")
    if "template" not in data:
        return {}
    if not isinstance(name, str) or name not in TEMPLATES:
        near = did_you_mean(name if isinstance(name, str) else "", TEMPLATES)
        hint = near or TEMPLATES_HINT
        raise nested({"template": [Said("E341", f"unknown template {show(name)}", hint)]})
    keys = keys_of(name)
    if data.get("kind", keys["kind"]) != keys["kind"]:
        message = f"the template '{name}' is of the kind {keys['kind']}"
        raise nested({"kind": [Said("E341", message, "remove 'kind', or 'template'")]})
    missing = {
        key: [Said("E334", f"the template '{name}' needs '{key}'", f"for example '{key}: {GIVEN[key]}'")]
        for key in TEMPLATES[name].asks
        if key not in data
    }
    if missing:
        raise nested(missing)
    return keys


def _without_effect(has: set[str]) -> dict[str, Said]:
    """Return what a ratio of counted events does not use."""
    wrong: dict[str, Said] = {}
    if "currency" in has and not has & {"value", "per_value"}:
        message = "a ratio of counted events does not use 'currency'"
        hint = "remove it, or say with 'value' or 'per_value' which amounts are added up"
        wrong["currency"] = Said("E333", message, hint, at_key=True)
    if "aggregate" in has and "value" not in has:
        message = "a ratio that counts its events does not use 'aggregate'"
        wrong["aggregate"] = Said(
            "E333", message, "remove it, or say with 'value' what is looked at", at_key=True
        )
    return wrong


def _yaml(keys: Mapping[str, Any], *names: str) -> str:
    """Return the first of some keys as YAML: 'after: 7d'."""
    return next(
        (f"{name}: {json.dumps(keys[name])}".replace('"', "") for name in names if name in keys), "it"
    )


def _more_than_all(factor: object) -> Said:
    bare = isinstance(factor, int | float) and factor <= HIGHEST
    hint = f"write {factor:g}%" if bare else "for example 35%"
    return Said("E308", f"a margin is at most 100% of the value, not {show(factor)}", hint)


def _unused(kind: MetricKind, key: str) -> Said:
    users = [other.value for other, keys in KEYS.items() if key in (*keys.needs, *keys.may)]
    hint = f"remove it: it is for {', '.join(users) or MetricKind.RATIO.value}"
    if kind is MetricKind.NPS and key == "scale":
        hint = "remove it: the scale of an nps is 0-10"
    return Said("E333", f"'{kind.value}' does not use '{key}'", hint, at_key=True)


def _missing(kind: MetricKind, key: str) -> Said:
    code = "E330" if key == "value" else "E334"
    survey = key == "value" and kind in SCALES
    return Said(code, f"'{kind.value}' needs '{key}'", SCORE if survey else EXAMPLES[key])
