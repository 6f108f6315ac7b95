"""Why does somebody get this answer? Every gate of a definition in order, and what would have to change."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from experiments.account_steps import Step, allocation_step, moment_words, passage_steps
from experiments.allocation import Definition
from experiments.answers import Assignment, MissingUnitError
from experiments.assignment import CompiledCatalog, compile_catalog
from experiments.definitions import Catalog, Experiment, Flag, JsonValue
from experiments.errors import UnknownFlagError
from experiments.gates import SERVED_VALUE, Prerequisite
from experiments.identifiers import MAX_IDENTIFIER
from experiments.lifecycle import TOTAL_BP
from experiments.membership import NOBODY, Membership
from experiments.plans import CLOSED, EVERYTHING, was_exposed
from experiments.targeting import Attributes, behaviours
from experiments.targeting.conditions import Condition
from experiments.targeting.explain import Explanation, explain
from experiments.targeting.phrases import condition_words
from experiments.units import ANONYMOUS_ID, TARGETING_KEY, unit_id_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An answer with its reasons.

    Attributes
    ----------
    assignment : Assignment or None
        What `CompiledCatalog.assign` answers; None where it raises MissingUnitError.
    unit : str
        What the definition splits by.
    unit_id : str or None
        Its value as it is hashed.
    steps : tuple of Step
        Every gate in the order of evaluation, also those behind the one that decided.
    decided_by : Step or None
        The first that the unit did not pass; None if it passed all.
    """

    assignment: Assignment | None
    unit: str
    unit_id: str | None
    steps: tuple[Step, ...]
    decided_by: Step | None


def account(
    catalog: Catalog,
    key: str,
    context: Attributes,
    *,
    now: datetime,
    killed: frozenset[str] = frozenset(),
    membership: Membership = NOBODY,
) -> Account:
    """Answer one question as `CompiledCatalog.assign` does, and tell each gate.

    Parameters
    ----------
    catalog : Catalog
        One revision.
    key : str
        Of a flag or an experiment that is no draft.
    context : mapping of str to object
        Attributes of the unit.
    now : datetime
        Aware.
    killed, membership
        As for `compile_catalog`.

    Returns
    -------
    Account

    Raises
    ------
    UnknownFlagError
        If nothing has that key.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> half = Catalog(flags={"dark": Flag(key="dark", allocation_bp=5000)})
    >>> moment = datetime(2027, 1, 1, tzinfo=UTC)
    >>> told = account(half, "dark", {"anonymous_id": "v-1"}, now=moment)
    >>> told.decided_by.detail
    'bucket 5038 of dark#1; enrolled are 0-4999 on (share 50%)'
    """
    compiled = compile_catalog(catalog, killed=killed, membership=membership)
    try:
        assignment = compiled.assign(key, context, now=now)
    except MissingUnitError:
        assignment = None
    definition: Definition = catalog.flags.get(key) or catalog.experiments[key]
    teller = _Teller(catalog, compiled, definition, context, now, killed, membership)
    steps = tuple(teller.steps())
    return Account(
        assignment=assignment,
        unit=definition.unit,
        unit_id=teller.unit_id,
        steps=steps,
        decided_by=next((step for step in steps if not step.passed), None),
    )


@dataclass(frozen=True, slots=True)
class _Teller:
    catalog: Catalog
    compiled: CompiledCatalog
    definition: Definition
    context: Attributes
    now: datetime
    killed: frozenset[str]
    membership: Membership

    @property
    def unit_id(self) -> str | None:
        return unit_id_of(self.definition.unit, self.context)

    def steps(self) -> Iterator[Step]:
        yield self._kill_switch()
        yield self._status()
        yield self._override()
        yield from self._schedule()
        for prerequisite in self.definition.prerequisites:
            yield self._prerequisite(prerequisite)
        if self.definition.audience is not None:
            yield self._audience(self.definition.audience)
        if isinstance(self.definition, Experiment) and self.definition.shipped:
            yield from self._shipped(self.definition)
            return
        if not self.definition.allocation_bp:
            yield self._nobody()
        if self._splits():
            yield self._unit()
            yield from passage_steps(self.definition, self.unit_id)
            yield allocation_step(self.definition, self.unit_id, self.now)

    def _splits(self) -> bool:
        one = self.definition
        gated = one.allocation_bp < TOTAL_BP or one.ramp or one.layer or one.holdout
        return isinstance(one, Experiment) or bool(gated)

    def _kill_switch(self) -> Step:
        key = self.definition.key
        held = next((name for name in (key, EVERYTHING) if name in self.killed), "")
        how = "its name" if held == key else "the global switch"
        return Step(
            gate="killed",
            passed=not held,
            decision="killed",
            detail=f"killed by {how}" if held else "not killed",
            change=f"opportune revive '{held}'" if held else "",
        )

    def _override(self) -> Step:
        forced = {unit: variant for variant, units in self.definition.overrides.items() for unit in units}
        variant = forced.get(self.unit_id) if self.unit_id is not None else None
        if variant is None:
            detail = f"none of {len(forced)} overridden units" if forced else "no overrides"
            return Step(gate="override", passed=True, decision="override", detail=detail)
        return Step(
            gate="override",
            passed=False,
            decision="override",
            detail=f"the unit is forced into {variant!r} and never analysed",
            change=f"take {self.unit_id!r} out of `overrides`",
            facts={"variant": variant},
        )

    def _status(self) -> Step:
        status = self.definition.status
        closed = status in CLOSED
        return Step(
            gate="status",
            passed=not closed,
            decision="not_running",
            detail=status.value,
            change="a paused one is started again; a stopped one never" if closed else "",
            facts={"status": status.value},
        )

    def _schedule(self) -> Iterator[Step]:
        schedule = self.definition.schedule
        if schedule.start_at is None and schedule.end_at is None:
            return
        start, end = moment_words(schedule.start_at), moment_words(schedule.end_at)
        is_open = schedule.is_open(self.now)
        span = f"{f'from {start}' * bool(start)} {f'until {end}' * bool(end)}".strip()
        early = schedule.start_at is not None and self.now < schedule.start_at
        yield Step(
            gate="schedule",
            passed=is_open,
            decision="not_running",
            detail=f"{span}; asked at {moment_words(self.now)}",
            change="" if is_open else f"it opens at {start}" if early else f"it ended at {end}",
            facts={"start": start or None, "end": end or None, "now": moment_words(self.now)},
        )

    def _prerequisite(self, wanted: Prerequisite) -> Step:
        value, decision = self._served(wanted.key)
        named, lists = self.catalog.audiences, self.catalog.lists
        found = explain(wanted.condition, {SERVED_VALUE: value}, named, lists=lists)
        words = condition_words(wanted.condition)
        return Step(
            gate="prerequisite",
            passed=found.holds,
            decision="prerequisite",
            detail=f"{wanted.key} serves {value!r} ({decision}); wanted: {words}",
            change="" if found.holds else f"see `opportune explain {wanted.key}`",
            facts={"key": wanted.key, "serves": value, "decision": decision, "wanted": words},
        )

    def _served(self, key: str) -> tuple[JsonValue, str]:
        """Return what another one serves: a draft and one that cannot split serve their default."""
        other: Definition = self.catalog.flags.get(key) or self.catalog.experiments[key]
        default = other.otherwise if isinstance(other, Flag) else other.default_value
        try:
            served = self.compiled.assign(key, self.context, now=self.now)
        except MissingUnitError:
            return default, "no_unit"
        except UnknownFlagError:
            return default, "not_running"
        return served.value, served.decision

    def _audience(self, condition: Condition) -> Step:
        found, kept = self._asked(condition)
        holds = found.holds or kept
        seen = f"saw {found.seen!r}" if found.attribute else f"{'yes' if found.seen else 'no'}"
        detail = f"{found.leaf}: {seen}" if found.leaf else "it asks nothing"
        where = f" (audience {found.audience})" if found.audience else ""
        stays = "; but it was exposed, so that what it did since does not count" if kept else ""
        return Step(
            gate="audience",
            passed=holds,
            decision="not_in_audience",
            detail=detail + where + stays,
            change="" if holds else self._wish(condition, found),
            facts={
                "leaf": found.leaf,
                "attribute": found.attribute or None,
                "seen": found.seen,
                "audience": found.audience or None,
            },
        )

    def _wish(self, condition: Condition, found: Explanation) -> str:
        if not found.audience:
            return f"this must hold: {condition_words(condition)}"
        named = self.catalog.audiences[found.audience]
        held = self._explained(named).holds
        return f"audience {found.audience} must {'not ' * held}hold: {condition_words(named)}"

    def _explained(self, condition: Condition, *, frozen: bool = False) -> Explanation:
        lists, facts, named = self.catalog.lists, self.membership, self.catalog.audiences
        return explain(condition, self.context, named, lists=lists, membership=facts, frozen=frozen)

    def _asked(self, condition: Condition) -> tuple[Explanation, bool]:
        """Return the explanation, and whether the unit stays although it does not hold any more."""
        found, one = self._explained(condition), self.definition
        if found.holds or isinstance(one, Flag) or not behaviours(condition, self.catalog.audiences):
            return found, False
        exposed = was_exposed(one, self.membership)(self.context)
        return found, exposed and self._explained(condition, frozen=True).holds

    def _shipped(self, one: Experiment) -> Iterator[Step]:
        if one.holdout:
            yield self._unit()
            yield from passage_steps(self.definition, self.unit_id)
        yield Step(
            gate="shipped",
            passed=False,
            decision="shipped",
            detail=f"everybody who comes here gets {one.shipped!r}; nobody is split or counted any more",
            change=f"opportune unship {one.key}",
            facts={"variant": one.shipped},
        )

    def _nobody(self) -> Step:
        return Step(
            gate="allocation",
            passed=False,
            decision="not_in_allocation",
            detail="its share is 0%",
            change=f"opportune ramp {self.definition.key} SHARE",
        )

    def _unit(self) -> Step:
        unit, unit_id = self.definition.unit, self.unit_id
        sent = self.context.get(unit)
        names = f"{unit} (or {TARGETING_KEY})" if unit == ANONYMOUS_ID else unit
        return Step(
            gate="unit",
            passed=unit_id is not None,
            decision="no_unit",
            detail=f"{unit} is {unit_id!r}" if unit_id is not None else f"no usable {names}: {sent!r}",
            change="" if unit_id is not None else f"send {names}: 1 to {MAX_IDENTIFIER} visible characters",
            facts={"unit": unit, "unit_id": unit_id},
        )
