"""The forms of what stands before a variant: layers, holdouts, prerequisites, ramps; and lists."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from marshmallow import ValidationError, fields, post_load

from experiments.errors import InvalidDefinitionError
from experiments.gates import ANONYMOUS_UNIT, SERVED_VALUE, Holdout, Layer, LayerSlot, Prerequisite
from experiments.lifecycle import TOTAL_BP, RampStep, Schedule
from experiments.targeting import parse_condition
from experiments.targeting.operators import Scalar
from service.catalog.compound import AT_KEY, ConditionField, ListOf, MappingOf, Sub, graft
from service.catalog.fields import (
    BasisPoints,
    Duration,
    Instant,
    Name,
    OneOf,
    Said,
    StrictSchema,
    Unit,
    Whole,
    Word,
    checked_name,
    nested,
    refuse,
    show,
)

START = "start"
GUARDRAILS_OK = "guardrails_ok"
MAX_LIST = 20_000
MAX_STEPS = 100
MAX_PREREQUISITES = 20


class LayerSchema(StrictSchema):
    """One layer of a collection."""

    later = ("share", "owner")
    key = Name(required=True)
    unit = Unit(load_default=ANONYMOUS_UNIT)
    seed = Word(longest=256, load_default="")
    hash_version = Whole(1, 2, load_default=2)
    description = Word(load_default="")

    @post_load
    def to_layer(self, given: dict[str, Any], **_: object) -> Layer:
        """Leave the wire form."""
        return Layer(**given)


class HoldoutSchema(StrictSchema):
    """One holdout of a collection."""

    key = Name(required=True)
    share = BasisPoints(required=True)
    unit = Unit(load_default=ANONYMOUS_UNIT)
    seed = Word(longest=256, load_default="")
    owner = Word(longest=256, load_default="")
    description = Word(load_default="")

    @post_load
    def to_holdout(self, given: dict[str, Any], **_: object) -> Holdout:
        """Leave the wire form."""
        return Holdout(share_bp=given.pop("share"), **given)


class ScheduleSchema(StrictSchema):
    """When a scheduled or running definition serves."""

    later = ("timezone",)
    start = Instant(load_default=None)
    end = Instant(load_default=None)


class SlotSchema(StrictSchema):
    """The place that a definition has in a layer."""

    name = Name(required=True)
    start = BasisPoints(load_default=0, data_key="from")
    share = BasisPoints(load_default=TOTAL_BP)


class Slot(Sub):
    """A place in a layer; its name alone would take the whole layer without saying so."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - as Sub
        if isinstance(value, str):
            hint = f"for example {{name: {value}, from: 0%, share: 50%}}"
            raise refuse("E301", "a layer needs a place in it", hint)
        return super()._deserialize(value, *args, **kwargs)


class At(Instant):
    """A time with its zone, or the word for the start of the schedule."""

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - anything may come
        return value if value == START else super()._deserialize(value, *args, **kwargs)


class RampStepSchema(StrictSchema):
    """One step of a ramp; with `if` it also waits for what a verdict finds."""

    at = At()
    after = Duration()
    share = BasisPoints(required=True)
    condition = OneOf([GUARDRAILS_OK], data_key="if", load_default="")

    @post_load
    def to_step(self, given: dict[str, Any], **_: object) -> dict[str, Any]:
        """Keep the parts: only the definition knows its start."""
        if "at" in given and "after" in given:
            raise refuse("E300", "a step has either 'at' or 'after'", "remove one of the two")
        if "at" not in given and "after" not in given:
            raise refuse("E302", "a step needs its time", "add 'at: start' or 'after: 24h'")
        return given


class Prerequisites(fields.Field[tuple[Prerequisite, ...]]):
    """What others must serve, by key: a value, or operators that its value must fit."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> tuple[Prerequisite, ...]:  # noqa: ANN401
        if not isinstance(value, dict):
            raise refuse(
                "E301", f"expected 'key: value' pairs, not {show(value)}", "for example {dark: true}"
            )
        if len(value) > MAX_PREREQUISITES:
            raise refuse("E308", f"at most {MAX_PREREQUISITES} prerequisites, not {len(value):,}")
        made: list[Prerequisite] = []
        errors: dict[Any, Any] = {}
        for key, wanted in value.items():
            try:
                if isinstance(wanted, list):
                    raise refuse(
                        "E204", f"'{key}' is compared with a list", f"such as {{{key}: {{in: [...]}}}}"
                    )
                condition = parse_condition({SERVED_VALUE: wanted})
                made.append(Prerequisite(checked_name(key), condition))
            except ValidationError as error:
                errors[key] = error.messages
            except InvalidDefinitionError as error:
                said = Said(error.code, str(error), error.hint, at_key=error.code in AT_KEY)
                graft(errors, (key, *error.path[1:]), said)
        if errors:
            raise nested(errors)
        return tuple(made)


class ListField(ListOf):
    """Texts, numbers or booleans that a condition may ask for by the name of the list."""

    def __init__(self) -> None:
        super().__init__(Item(), longest=MAX_LIST)

    def _deserialize(self, value: Any, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - as ListOf
        return tuple(super()._deserialize(value, *args, **kwargs))


class Item(fields.Field[Scalar]):
    """One member of a list."""

    def _deserialize(self, value: Any, *_: object, **__: object) -> Scalar:  # noqa: ANN401 - anything may come
        if not isinstance(value, str | bool | int | float):
            raise refuse("E301", f"expected a text or a number, not {show(value)}")
        return value


class GatedSchema(StrictSchema):
    """The keys that experiments and flags share."""

    owner = Word(longest=256, load_default="")
    schedule = Sub(ScheduleSchema, load_default=dict)
    unit = Unit(load_default=ANONYMOUS_UNIT)
    seed = Word(longest=256, load_default="")
    layer = Slot(SlotSchema, load_default=None)
    holdout = Name(load_default=None)
    prerequisites = Prerequisites(load_default=())
    audience = ConditionField(load_default=None)
    allocation = BasisPoints()
    ramp = ListOf(Sub(RampStepSchema), longest=MAX_STEPS, load_default=list)
    overrides = MappingOf(ListOf(Word(longest=128)), load_default=dict)


def gated(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shared parts of an experiment or flag as its constructor takes them; tell all that is wrong.

    Raises
    ------
    ValidationError
        With what contradicts itself, by path.
    """
    made: dict[str, Any] = {}
    errors: dict[Any, Any] = {}
    for name, make in (("schedule", _schedule), ("layer", _slot), ("ramp", _ramp)):
        try:
            made[name] = make(given)
        except InvalidDefinitionError as error:
            graft(errors, error.path, Said(error.code, str(error), error.hint))
        except ValidationError as error:
            errors.update(error.messages)  # type: ignore[arg-type]  # `nested` makes a mapping
    if errors:
        raise nested(errors)
    ramp = made["ramp"]
    return {
        **made,
        **{name: given[name] for name in ("owner", "unit", "seed", "prerequisites", "audience")},
        "holdout": Holdout(key=given["holdout"]) if given["holdout"] else None,
        "allocation_bp": ramp[-1].share_bp if ramp else given.get("allocation", TOTAL_BP),
        "overrides": {key: tuple(units) for key, units in given["overrides"].items()},
    }


def _schedule(given: Mapping[str, Any]) -> Schedule:
    schedule = given["schedule"]
    return Schedule(start_at=schedule.get("start"), end_at=schedule.get("end"))


def _slot(given: Mapping[str, Any]) -> LayerSlot | None:
    slot = given["layer"]
    if slot is None:
        return None
    return LayerSlot(layer=Layer(key=slot["name"]), start_bp=slot["start"], share_bp=slot["share"])


def _ramp(given: Mapping[str, Any]) -> tuple[RampStep, ...]:
    if not given["ramp"]:
        return ()
    if "allocation" in given:
        hint = "remove it: the last step of the ramp is the allocation"
        raise nested({"allocation": [Said("E323", "there is a ramp too", hint, at_key=True)]})
    start = given["schedule"].get("start")
    errors: dict[Any, Any] = {}
    steps: list[RampStep] = []
    for i, step in enumerate(given["ramp"]):
        at = _moment(step, start)
        if at is None:
            word = "after" if "after" in step else "at"
            said = Said("E325", "the ramp needs a start to count from", "add 'schedule: {start: ...}'")
            graft(errors, ("ramp", i, word), said)
        else:
            steps.append(RampStep(at, step["share"], gated=step["condition"] == GUARDRAILS_OK))
    if errors:
        raise nested(errors)
    return tuple(steps)


def _moment(step: Mapping[str, Any], start: datetime | None) -> datetime | None:
    if "after" in step:
        return start + timedelta(seconds=step["after"]) if start else None
    at: datetime | str = step["at"]
    return at if isinstance(at, datetime) else start
