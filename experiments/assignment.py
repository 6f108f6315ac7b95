"""Who sees what: a catalog is compiled once, then every question is a walk through ready-made answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TypeAlias

from experiments.allocation import ANONYMOUS_ID, TARGETING_KEY, bucket_ranges, unit_id_of, variant_of
from experiments.definitions import Catalog, Experiment, Flag, JsonValue
from experiments.errors import ExperimentError, UnknownFlagError
from experiments.hashing import bucket
from experiments.lifecycle import TOTAL_BP, Status
from experiments.targeting import Attributes, Condition, Predicate, compile_condition

__all__ = [
    "Assignment",
    "CompiledCatalog",
    "MissingUnitError",
    "Reason",
    "compile_catalog",
    "unit_id_of",
    "variant_of",
]

DEFAULT_VARIANT = "default"
EVERYTHING = "*"


class Reason(StrEnum):
    """Why a value was served, in OpenFeature's words."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"


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
        The finer reason: enrolled, override, not_in_allocation, not_in_audience, not_running, killed or
        no_unit; for flags also static, targeting_match or in_allocation.
    """

    key: str
    variant_key: str
    value: JsonValue
    reason: Reason
    decision: str
    enrolled: bool
    phase: int


Plan: TypeAlias = Callable[[Attributes, datetime], Assignment]


@dataclass(frozen=True, slots=True)
class CompiledCatalog:
    """A catalog ready to serve; immutable, so that workers swap one reference.

    Attributes
    ----------
    keys : tuple of str
        Every key that can be asked for, sorted; drafts are not among them.
    """

    keys: tuple[str, ...]
    _plans: Mapping[str, Plan]

    def assign(self, key: str, context: Attributes, *, now: datetime) -> Assignment:
        """Answer one question; the same question has the same answer in every process.

        It records nothing: an exposure is a separate fact.

        Parameters
        ----------
        key : str
            Of a flag or an experiment.
        context : mapping of str to object
            Attributes of the unit, its ids among them.
        now : datetime
            Aware; only schedules look at it.

        Returns
        -------
        Assignment
            Ready-made; calls share it.

        Raises
        ------
        UnknownFlagError
            If nothing has that key.
        MissingUnitError
            If the flag must split and the context holds no usable anonymous_id or targetingKey.
        """
        plan = self._plans.get(key)
        if plan is None:
            raise UnknownFlagError(f"no flag or experiment has the key {key!r}")
        return plan(context, now)


def compile_catalog(catalog: Catalog, *, killed: frozenset[str] = frozenset()) -> CompiledCatalog:
    """Prepare a catalog for serving.

    Parameters
    ----------
    catalog : Catalog
        One revision.
    killed : frozenset of str
        Keys that serve their control value whatever the catalog says; ``*`` is all of them.

    Returns
    -------
    CompiledCatalog
        Drafts are not in it: asking for one is asking for nothing.

    Raises
    ------
    InvalidDefinitionError
        If a condition names an unknown audience or audiences need each other.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> served = compile_catalog(Catalog(flags={"dark": Flag(key="dark")}))
    >>> served.assign("dark", {}, now=datetime(2027, 1, 1, tzinfo=UTC)).reason.value
    'STATIC'
    """
    plans: dict[str, Plan] = {}
    for flag in catalog.flags.values():
        if flag.status is not Status.DRAFT:
            plans[flag.key] = _flag_plan(flag, catalog.audiences, is_killed=_is_killed(flag.key, killed))
    for experiment in catalog.experiments.values():
        if experiment.status is not Status.DRAFT:
            plans[experiment.key] = _experiment_plan(
                experiment, catalog.audiences, is_killed=_is_killed(experiment.key, killed)
            )
    return CompiledCatalog(tuple(sorted(plans)), plans)


def _is_killed(key: str, killed: frozenset[str]) -> bool:
    return key in killed or EVERYTHING in killed


def _always(answer: Assignment) -> Plan:
    return lambda context, now: answer  # noqa: ARG005 - the signature of a plan


def _audience_test(condition: Condition | None, audiences: Mapping[str, Condition]) -> Predicate | None:
    return None if condition is None else compile_condition(condition, audiences)


# --- flags


def _flag_plan(flag: Flag, audiences: Mapping[str, Condition], *, is_killed: bool) -> Plan:
    build = partial(Assignment, key=flag.key, enrolled=False, phase=1)
    switched_on = partial(build, variant_key="on", value=flag.value)
    switched_off = partial(build, variant_key="off", value=flag.otherwise)
    if is_killed:
        return _always(switched_off(reason=Reason.DISABLED, decision="killed"))
    if flag.status is not Status.RUNNING:
        return _always(switched_off(reason=Reason.DISABLED, decision="not_running"))

    eligible = _audience_test(flag.audience, audiences)
    if flag.allocation_bp < TOTAL_BP:
        whole = _flag_split(
            flag,
            inside=switched_on(reason=Reason.SPLIT, decision="in_allocation"),
            rest=switched_off(reason=Reason.DEFAULT, decision="not_in_allocation"),
            no_unit=switched_off(reason=Reason.DEFAULT, decision="no_unit"),
        )
    elif eligible is None:
        whole = _always(switched_on(reason=Reason.STATIC, decision="static"))
    else:
        whole = _always(switched_on(reason=Reason.TARGETING_MATCH, decision="targeting_match"))
    return _targeted(eligible, whole, switched_off(reason=Reason.DEFAULT, decision="not_in_audience"))


def _flag_split(flag: Flag, *, inside: Assignment, rest: Assignment, no_unit: Assignment) -> Plan:
    salt, unit, share = flag.salt, flag.unit, flag.allocation_bp
    if not share:
        return _always(rest)

    def plan(context: Attributes, now: datetime) -> Assignment:  # noqa: ARG001 - the signature of a plan
        unit_id = unit_id_of(unit, context)
        if unit_id is None:
            return _without_unit(flag.key, unit, no_unit)
        return inside if bucket(salt, unit_id) < share else rest

    return plan


def _without_unit(key: str, unit: str, answer: Assignment) -> Assignment:
    if unit == ANONYMOUS_ID:
        raise MissingUnitError(f"{key!r} splits by {ANONYMOUS_ID}: send it, or a {TARGETING_KEY}")
    return answer


# --- experiments


def _experiment_plan(experiment: Experiment, audiences: Mapping[str, Condition], *, is_killed: bool) -> Plan:
    outside = partial(
        Assignment,
        key=experiment.key,
        variant_key=DEFAULT_VARIANT,
        value=experiment.control.value,
        enrolled=False,
        phase=experiment.phase,
    )
    if is_killed:
        return _always(outside(reason=Reason.DISABLED, decision="killed"))
    if experiment.status in (Status.PAUSED, Status.STOPPED):
        return _always(outside(reason=Reason.DISABLED, decision="not_running"))
    closed = outside(reason=Reason.DISABLED, decision="not_running")
    stranger = outside(reason=Reason.DEFAULT, decision="not_in_audience")
    eligible = _audience_test(experiment.audience, audiences)
    targeted = _targeted(eligible, _split(experiment, outside), stranger)
    return _with_overrides(experiment, _within_schedule(experiment, targeted, closed))


def _targeted(eligible: Predicate | None, inner: Plan, stranger: Assignment) -> Plan:
    if eligible is None:
        return inner
    return lambda context, now: inner(context, now) if eligible(context) else stranger


def _split(experiment: Experiment, outside: Callable[..., Assignment]) -> Plan:
    arms = _arms(experiment, reason=Reason.SPLIT, decision="enrolled", enrolled=True)
    owned = tuple((start, end, arms[key]) for start, end, key in bucket_ranges(experiment) if end > start)
    rest = outside(reason=Reason.DEFAULT, decision="not_in_allocation")
    no_unit = outside(reason=Reason.DEFAULT, decision="no_unit")
    if not owned:
        return _always(rest)
    salt, unit, key = experiment.salt, experiment.unit, experiment.key

    def plan(context: Attributes, now: datetime) -> Assignment:  # noqa: ARG001 - the signature of a plan
        unit_id = unit_id_of(unit, context)
        if unit_id is None:
            return _without_unit(key, unit, no_unit)
        number = bucket(salt, unit_id)
        for start, end, answer in owned:
            if start <= number < end:
                return answer
        return rest

    return plan


def _arms(experiment: Experiment, *, reason: Reason, decision: str, enrolled: bool) -> dict[str, Assignment]:
    return {
        variant.key: Assignment(
            key=experiment.key,
            variant_key=variant.key,
            value=variant.value,
            reason=reason,
            decision=decision,
            enrolled=enrolled,
            phase=experiment.phase,
        )
        for variant in experiment.variants
    }


def _within_schedule(experiment: Experiment, inner: Plan, closed: Assignment) -> Plan:
    start_at, end_at = experiment.schedule.start_at, experiment.schedule.end_at
    if start_at is None and end_at is None:
        return inner

    def plan(context: Attributes, now: datetime) -> Assignment:
        if (start_at is not None and now < start_at) or (end_at is not None and now >= end_at):
            return closed
        return inner(context, now)

    return plan


def _with_overrides(experiment: Experiment, inner: Plan) -> Plan:
    """Let QA see its variant, also before the schedule opens."""
    if not experiment.overrides:
        return inner
    arms = _arms(experiment, reason=Reason.TARGETING_MATCH, decision="override", enrolled=False)
    forced = {unit_id: arms[key] for key, ids in experiment.overrides.items() for unit_id in ids}
    unit = experiment.unit

    def plan(context: Attributes, now: datetime) -> Assignment:
        unit_id = unit_id_of(unit, context)
        answer = forced.get(unit_id) if unit_id is not None else None
        return answer if answer is not None else inner(context, now)

    return plan
