"""What an evaluation says, and every answer that one definition can give, made once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from experiments.allocation import SWITCHED_ON, Definition
from experiments.definitions import Experiment, Flag, JsonValue
from experiments.errors import ExperimentError

DEFAULT_VARIANT = "default"
SWITCHED_OFF = "off"


class Reason(StrEnum):
    """Why a value was served, in OpenFeature's words."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"


DISABLED_BY = frozenset({"killed", "not_running"})


class MissingUnitError(ExperimentError):
    """The flag must split, but the context does not say whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The computed answer. Only `enrolled` units belong to the analysis.

    Attributes
    ----------
    variant_key : str
        A variant of the experiment; ``default`` for a unit that is not enrolled; a flag's ``on`` or ``off``.
    decision : str
        The finer reason: enrolled, override, killed, not_running, prerequisite, not_in_audience, no_unit,
        holdout, not_in_layer, not_in_allocation or shipped; for flags also static, targeting_match or
        in_allocation.
    """

    key: str
    variant_key: str
    value: JsonValue
    reason: Reason
    decision: str
    enrolled: bool
    phase: int


def outside(definition: Definition, decision: str) -> Assignment:
    """Return the answer to a unit that is not enrolled.

    Parameters
    ----------
    definition : Experiment or Flag
        What was asked for.
    decision : str
        Why not.

    Returns
    -------
    Assignment
        With the default value; a flag is off.
    """
    flag = isinstance(definition, Flag)
    return Assignment(
        key=definition.key,
        variant_key=SWITCHED_OFF if flag else DEFAULT_VARIANT,
        value=definition.otherwise if isinstance(definition, Flag) else definition.default_value,
        reason=Reason.DISABLED if decision in DISABLED_BY else Reason.DEFAULT,
        decision=decision,
        enrolled=False,
        phase=1 if isinstance(definition, Flag) else definition.phase,
    )


def split_arms(definition: Definition) -> Mapping[str, Assignment]:
    """Return the answer for each variant to a unit that was split into it.

    Parameters
    ----------
    definition : Experiment or Flag
        A flag's only variant is ``on``, and nobody is enrolled in it.

    Returns
    -------
    mapping of variant key to Assignment
    """
    if isinstance(definition, Flag):
        return {SWITCHED_ON: switched_on(definition, Reason.SPLIT, "in_allocation")}
    return {
        variant.key: Assignment(
            key=definition.key,
            variant_key=variant.key,
            value=variant.value,
            reason=Reason.SPLIT,
            decision="enrolled",
            enrolled=True,
            phase=definition.phase,
        )
        for variant in definition.variants
    }


def switched_on(flag: Flag, reason: Reason, decision: str) -> Assignment:
    """Return the answer of a flag that is on."""
    return Assignment(
        key=flag.key,
        variant_key=SWITCHED_ON,
        value=flag.value,
        reason=reason,
        decision=decision,
        enrolled=False,
        phase=1,
    )


def shipped_arm(experiment: Experiment) -> Assignment:
    """Return the answer of an experiment that serves one variant to everybody; nobody is enrolled any more.

    Parameters
    ----------
    experiment : Experiment
        With a shipped variant.

    Returns
    -------
    Assignment
        STATIC where no gate asks who it is.
    """
    asks = experiment.audience is not None or experiment.prerequisites or experiment.holdout
    return replace(
        forced_arms(experiment)[experiment.shipped],
        reason=Reason.TARGETING_MATCH if asks else Reason.STATIC,
        decision="shipped",
    )


def forced_arms(definition: Definition) -> Mapping[str, Assignment]:
    """Return the answer for each variant to somebody who is only looking: never enrolled.

    Parameters
    ----------
    definition : Experiment or Flag
        A flag has the variants ``on`` and ``off``.

    Returns
    -------
    mapping of variant key to Assignment
    """
    if isinstance(definition, Flag):
        values = {SWITCHED_ON: definition.value, SWITCHED_OFF: definition.otherwise}
        phase = 1
    else:
        values = {variant.key: variant.value for variant in definition.variants}
        phase = definition.phase
    return {
        variant_key: Assignment(
            key=definition.key,
            variant_key=variant_key,
            value=value,
            reason=Reason.TARGETING_MATCH,
            decision="override",
            enrolled=False,
            phase=phase,
        )
        for variant_key, value in values.items()
    }
