"""The forms of catalog definitions: marshmallow schemas that end in frozen domain objects.

A rule about form lives here, a rule about meaning in `__post_init__` of the domain object.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from marshmallow import fields, post_load

from experiments.definitions import (
    AnalysisPlan,
    ControlValue,
    DecisionPlan,
    Experiment,
    Flag,
    Guardrail,
    JsonValue,
    MetricPlan,
)
from experiments.lifecycle import Status
from recommender.definitions import Placement, RankBy, Recommender
from service.catalog.compound import ConditionField, ListOf, MappingOf, Sub, Variants
from service.catalog.decide import DecideSchema, refuse_unanswerable
from service.catalog.dimension_schema import DimensionSchema
from service.catalog.fields import (
    MAX_SHOWN,
    Day,
    Fraction,
    Json,
    Margin,
    Name,
    OneOf,
    Positive,
    Said,
    StrictSchema,
    Whole,
    Word,
    checked_name,
    nested,
    refuse,
    show,
)
from service.catalog.gates import GatedSchema, HoldoutSchema, LayerSchema, ListField, gated
from service.catalog.goal_schema import GOALS, GoalSchema
from service.catalog.keeping import DataSchema
from service.catalog.metric_schema import MetricSchema
from service.catalog.money_schema import MoneySchema
from service.catalog.webhooks import WEBHOOKS, Notify, WebhookSchema


class HypothesisSchema(StrictSchema):
    """What is expected and why; `target` and `due` are kept with the revision for people."""

    statement = Word()
    baseline = Fraction()
    target = Fraction()
    due = Day()


class Hypothesis(Sub):
    """A hypothesis, or only its statement."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - as Sub
        whole = {"statement": value} if isinstance(value, str) else value
        return super()._deserialize(whole, *args, **kwargs)


class GuardrailSchema(StrictSchema):
    """A metric that must not get worse."""

    later = ("define",)
    metric = Name(required=True)
    margin = Margin(required=True)

    @post_load
    def to_guardrail(self, given: dict[str, Any], **_: object) -> Guardrail:
        """Leave the wire form."""
        amount, relative = given["margin"]
        return Guardrail(metric=given["metric"], margin=amount, relative=relative)


class GuardrailField(Sub):
    """A guardrail; the name of a metric alone is shown how to go on."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - as Sub
        if isinstance(value, str):
            hint = f"for example {{metric: {value[:MAX_SHOWN]}, margin: 2% relative}}, or '0.5 absolute'"
            raise refuse("E301", f"expected a metric and its margin, not {show(value)}", hint)
        return super()._deserialize(value, *args, **kwargs)


class MetricPlanSchema(StrictSchema):
    """Which metrics judge an experiment."""

    primary = Name(required=True)
    secondary = ListOf(Name(), load_default=list, longest=20)
    guardrails = ListOf(GuardrailField(GuardrailSchema), load_default=list, longest=20)

    @post_load
    def to_plan(self, given: dict[str, Any], **_: object) -> MetricPlan:
        """Leave the wire form."""
        return MetricPlan(
            primary=given["primary"],
            secondary=tuple(given["secondary"]),
            guardrails=tuple(given["guardrails"]),
        )


class AnalysisSchema(StrictSchema):
    """How the experiment is judged."""

    later = ("variance_reduction", "assume", "burn_in", "horizon", "prior", "looks", "segments")
    test = OneOf(["sequential"], later=["fixed", "planned", "group_sequential", "bayesian"])
    alpha = Fraction()
    power = Fraction(example="80% or 0.8", least=50)
    mde = Fraction(relative=True)
    look = OneOf(["day"], later=["hour", "week"])


class ExperimentSchema(GatedSchema):
    """One experiment, short or long form."""

    later = ("force", "name", "offer", "offers", "switchback", "bandit", "tags")
    elsewhere = MappingProxyType(
        {
            **dict.fromkeys(("statement", "baseline", "target", "due"), "hypothesis"),
            **dict.fromkeys(("primary", "secondary", "guardrails"), "metrics"),
            **dict.fromkeys(("alpha", "power", "mde"), "analysis"),
            **dict.fromkeys(("start", "end"), "schedule"),
            **dict.fromkeys(("min_runtime", "ship_when", "rollback_when", "automatic"), "decide"),
        }
    )
    experiment = Name(required=True)
    hypothesis = Hypothesis(HypothesisSchema, load_default=dict)
    status = OneOf([s.value for s in Status], load_default=Status.RUNNING.value)
    phase = Whole(1, 1_000, load_default=1)
    variants = Variants(required=True)
    otherwise = Json(load_default=ControlValue.CONTROL, allow_none=True)
    metrics = Sub(MetricPlanSchema, required=True)
    analysis = Sub(AnalysisSchema, load_default=dict)
    decide = Sub(DecideSchema, load_default=DecisionPlan)
    money = Sub(MoneySchema, load_default=None)
    notify = Notify(load_default=None)

    @post_load
    def to_experiment(self, given: dict[str, Any], **_: object) -> Experiment:
        """Leave the wire form."""
        analysis = {k: v for k, v in given["analysis"].items() if k in ("alpha", "power", "mde")}
        if "baseline" in given["hypothesis"]:
            analysis["baseline"] = given["hypothesis"]["baseline"]
        refuse_unanswerable(given["decide"], given["metrics"])
        return Experiment(
            key=given["experiment"],
            variants=given["variants"],
            metrics=given["metrics"],
            statement=given["hypothesis"].get("statement", ""),
            status=Status(given["status"]),
            phase=given["phase"],
            otherwise=given["otherwise"],
            analysis=AnalysisPlan(**analysis),
            decide=given["decide"],
            money=given["money"],
            notify=given["notify"],
            **gated(given),
        )


class FlagSchema(GatedSchema):
    """One flag; in a collection its key is the name of the entry."""

    later = ("rules", "variants")
    flag = Name(required=True)
    value = Json(load_default=True, allow_none=True)
    otherwise = Json(load_default=False, allow_none=True)
    status = OneOf([s.value for s in Status], load_default=Status.RUNNING.value)

    @post_load
    def to_flag(self, given: dict[str, Any], **_: object) -> Flag:
        """Leave the wire form."""
        return Flag(
            key=given["flag"],
            value=given["value"],
            otherwise=given["otherwise"],
            status=Status(given["status"]),
            **gated(given),
        )


class RecommenderSchema(StrictSchema):
    """One recommender of a collection."""

    later = ("explore", "diversity", "filters", "boost", "candidates", "context")
    key = Name(required=True)
    rank_by = OneOf([r.value for r in RankBy], load_default=RankBy.MODEL.value)
    hide = ListOf(Word(longest=64), load_default=list)
    only_had = ListOf(Word(longest=64), load_default=list, data_key="only")  # Schema has an `only` of its own
    weights = MappingOf(Positive(100), names=False)

    @post_load
    def to_recommender(self, given: dict[str, Any], **_: object) -> Recommender:
        """Leave the wire form."""
        weights = {"weights": given["weights"]} if given.get("weights") else {}
        return Recommender(
            key=given["key"],
            rank_by=RankBy(given["rank_by"]),
            hide=frozenset(given["hide"]),
            only=frozenset(given["only_had"]),
            **weights,
        )


class PlacementSchema(StrictSchema):
    """One placement of a collection."""

    later = ("timeout", "fallback", "url_env", "secret_env", "caps")
    key = Name(required=True)
    recommender = Name(required=True)
    slots = Whole(1, 100, load_default=6)
    channel = OneOf(["web"], later=["webhook", "email", "push"], load_default="web")

    @post_load
    def to_placement(self, given: dict[str, Any], **_: object) -> Placement:
        """Leave the wire form."""
        return Placement(**given)


COLLECTIONS: Mapping[str, type[StrictSchema] | fields.Field[Any]] = {
    "metrics": MetricSchema,
    "dimensions": DimensionSchema,
    "audiences": ConditionField(),
    "flags": FlagSchema,
    "layers": LayerSchema,
    "holdouts": HoldoutSchema,
    "lists": ListField(),
    "recommenders": RecommenderSchema,
    "placements": PlacementSchema,
    WEBHOOKS: WebhookSchema,
    GOALS: GoalSchema,
}
SINGLES: Mapping[str, type[StrictSchema]] = {"experiment": ExperimentSchema, "flag": FlagSchema}
DATA = "data"
"""The one definition without a name: `data:` may come once in a catalog."""
LATER_KINDS = ("offer", "offers", "places", "feeds", "calendars", "experiments")


def build(kind: str, key: str, value: JsonValue) -> Any:  # noqa: ANN401 - one of the domain objects
    """Return the domain object of one entry of a collection, or of a file with a single definition.

    Raises
    ------
    ValidationError
        With a tree of `Said` by path.
    InvalidDefinitionError, InvalidRecommenderError
        When the form is right and the meaning is not.
    """
    if kind in SINGLES:
        return _schema(SINGLES[kind]).load(value)  # type: ignore[arg-type]  # a mapping: its file has one
    if kind == DATA:
        return Sub(DataSchema).deserialize({} if value is None else value)
    checked_name(key)
    schema = COLLECTIONS[kind]
    if isinstance(schema, fields.Field):
        return schema.deserialize(value)
    if not isinstance(value, dict):
        raise refuse("E301", f"expected a mapping for '{key}', not {show(value)}")
    name = "flag" if kind == "flags" else "key"
    if name in value:
        raise nested(
            {name: [Said("E102", f"unknown key '{name}'", "the name of the entry is its key", at_key=True)]}
        )
    return _schema(schema).load({name: key, **value})


@cache
def _schema(schema: type[StrictSchema]) -> StrictSchema:
    """Return one instance for all definitions: making one costs more than using it."""
    return schema()
