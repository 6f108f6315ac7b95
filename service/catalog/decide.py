"""`decide:` of an experiment: when a verdict may speak, and what it takes to ship or to roll back."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load

from experiments.automatic import Automatic
from experiments.decision_rules import (
    ANY_GUARDRAIL,
    EVERY_GUARDRAIL,
    PRIMARY,
    AllOf,
    AnyOf,
    Leaf,
    Not,
    Rule,
)
from experiments.definitions import DecisionPlan, MetricPlan
from experiments.notation import seconds_in
from experiments.rule_faults import all_faults
from experiments.states import POSSIBLE, MetricState, Role
from service.catalog.compound import Sub, graft
from service.catalog.fields import (
    Duration,
    OneOf,
    Said,
    StrictSchema,
    YesOrNo,
    as_text,
    nested,
    refuse,
    show,
)
from service.catalog.findings import did_you_mean

SUBJECTS = (PRIMARY, ANY_GUARDRAIL, EVERY_GUARDRAIL)
STATES = tuple(state.value for state in MetricState if state is not MetricState.CONTROL)
AUTOMATIC = {
    one.word: one for one in (Automatic(rollback=r, ship=s) for s in (False, True) for r in (False, True))
}
EXAMPLE = "for example {all: [{primary: better}, {not: {any_guardrail: worse}}]}"
MAX_PARTS = 20
_OF_SUBJECT = {
    PRIMARY: POSSIBLE[Role.PRIMARY],
    **dict.fromkeys((ANY_GUARDRAIL, EVERY_GUARDRAIL), POSSIBLE[Role.GUARDRAIL]),
}
"""Which states are worth offering; of a metric's key the role is not known yet."""


class RuleField(fields.Field[Rule]):
    """An expression of `experiments.decision_rules`; every bad part is told."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> Rule:  # noqa: ANN401 - anything may come
        return _rule(value)


class AutomaticSchema(StrictSchema):
    """The long form of what rules may do by themselves."""

    rollback = YesOrNo(load_default=False)
    ship = YesOrNo(load_default=False)

    @post_load
    def to_automatic(self, given: dict[str, bool], **_: object) -> Automatic:
        """Leave the wire form."""
        return Automatic(**given)


class AutomaticField(Sub):
    """``none``, ``rollback``, ``ship``, ``rollback_and_ship``, or a mapping of the two."""

    def __init__(self) -> None:
        super().__init__(AutomaticSchema)

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - as Sub
        if isinstance(value, dict):
            return super()._deserialize(value, *args, **kwargs)
        return AUTOMATIC[OneOf(AUTOMATIC).deserialize(value)]


class DecideSchema(StrictSchema):
    """When a verdict may speak."""

    later = ("max_runtime",)
    min_runtime = Duration()
    automatic = AutomaticField()
    at_end_otherwise = OneOf(["keep_control"], later=["ship", "keep_treatment"])
    ship_when = RuleField()
    rollback_when = RuleField()

    @post_load
    def to_plan(self, given: dict[str, Any], **_: object) -> DecisionPlan:
        """Leave the wire form."""
        given.pop("at_end_otherwise", None)
        if "min_runtime" in given:
            given["min_runtime_s"] = given.pop("min_runtime")
        return DecisionPlan(**given)


def refuse_unanswerable(decide: DecisionPlan, metrics: MetricPlan) -> None:
    """Refuse rules about what the experiment cannot have, and rules that make no sense, all at once."""
    roles = metrics.roles()
    errors: dict[Any, Any] = {}
    for name, fault in all_faults(decide.ship_when, decide.rollback_when, roles):
        hint = fault.hint
        if fault.code == "E361" and fault.path[-1] not in SUBJECTS:
            near = did_you_mean(str(fault.path[-1]), [*SUBJECTS, *roles, *_PARTS])
            hint = near if near.startswith("did") else hint
        said = Said(fault.code, fault.message, hint, at_key=fault.at_key)
        graft(errors, ("decide", name, *fault.path), said)
    if errors:
        raise nested(errors)


def _rule(value: object) -> Rule:
    if not isinstance(value, dict):
        raise refuse("E360", f"expected a rule, not {show(value)}", EXAMPLE)
    if len(value) != 1:
        message = f"one condition in each pair of braces, not {len(value)}"
        raise refuse("E360", message, "join several with all: [...] or any: [...]")
    ((key, inner),) = value.items()
    try:
        return _PARTS.get(key, _leaf)(key, inner)
    except ValidationError as error:
        raise nested({key: error.messages}) from error


def _joined(key: str, inner: object) -> Rule:
    if not isinstance(inner, list) or not 1 <= len(inner) <= MAX_PARTS:
        raise refuse("E360", f"'{key}' needs a list of 1 to {MAX_PARTS} conditions", EXAMPLE)
    parts = tuple(_each(inner, _rule))
    return AllOf(parts) if key == "all" else AnyOf(parts)


def _opposite(_key: str, inner: object) -> Rule:
    return Not(_rule(inner))


_PARTS: Mapping[str, Callable[[str, object], Rule]] = {"all": _joined, "any": _joined, "not": _opposite}


def _leaf(key: str, inner: object) -> Rule:
    if seconds_in(inner) is not None:
        message = f"a rule looks at metrics, and '{key}: {inner}' is a length of time"
        raise refuse("E360", message, "for a shortest runtime: decide: {min_runtime: 14d}", at_key=True)
    if isinstance(inner, list) and inner:
        return Leaf(key, tuple(_each(inner, lambda one: _state(key, one))))
    return Leaf(key, (_state(key, inner),))


def _state(subject: str, value: object) -> MetricState:
    word = as_text(value)
    if isinstance(word, str) and word in STATES:
        return MetricState(word)
    can_be = [state for state in STATES if state in _OF_SUBJECT.get(subject, STATES)]
    hint = did_you_mean(word, can_be) if isinstance(word, str) else ""
    raise refuse("E360", f"{show(value)} is not one of {', '.join(can_be)}", hint)


def _each(items: list[Any], read: Callable[[object], Any]) -> Iterator[Any]:
    done, errors = [], {}
    for i, item in enumerate(items):
        try:
            done.append(read(item))
        except ValidationError as error:
            errors[i] = error.messages
    if errors:
        raise nested(errors)
    yield from done
