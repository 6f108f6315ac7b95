"""How one definition answers: its gates in order, each made ready when the catalog is compiled."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, cast

from experiments.allocation import Definition, Passage, is_shipped, passages, split
from experiments.answers import (
    Assignment,
    Reason,
    forced_arms,
    outside,
    shipped_arm,
    split_arms,
    switched_on,
)
from experiments.definitions import Catalog, Experiment, Flag
from experiments.errors import InvalidDefinitionError
from experiments.gates import SERVED_VALUE, Prerequisite
from experiments.hashing import Hasher, unit_raw
from experiments.lifecycle import TOTAL_BP, Schedule, Status
from experiments.membership import KNOWN_AS, Membership, frozen_name, person_of
from experiments.targeting import Attributes, Predicate, behaviours, compile_condition
from experiments.targeting.closures import never
from experiments.units import ANONYMOUS_ID, PEOPLE, unit_id_of, unit_raw_of

EVERYTHING = "*"
MAX_CHAIN = 32
ALWAYS = Schedule()
CLOSED = frozenset({Status.DRAFT, Status.PAUSED, Status.STOPPED})

Memo: TypeAlias = dict[object, Any]
"""What one evaluation found out already: buckets by hasher, answers by plan."""

Gate: TypeAlias = Callable[[Attributes, datetime, "bytes | None", Memo], Assignment | None]
"""An answer that ends the evaluation, or None to go on."""

Split: TypeAlias = Callable[[bytes], Assignment]
Draw: TypeAlias = Callable[[bytes, datetime, Memo], Assignment]
Door: TypeAlias = tuple[Hasher, int, int, Assignment]
"""Whose bucket lies in [start, end) goes on; the others get the answer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """One definition, ready to answer. Its parts are asked in the order of the attributes.

    Attributes
    ----------
    unit : str
        What it splits by.
    before : Gate or None
        Overrides, schedule and prerequisites.
    eligible : Predicate or None
        The audience; None is everybody.
    stranger : Assignment
        The answer to who is not in it.
    settled : Assignment or None
        The answer to all the others, if nothing has to be split.
    no_unit : Assignment
        The answer to who has no id to be split by.
    split : Split or None
        The answer by bucket, if holdout, layer and ramp have no say.
    draw : Draw or None
        The answer by buckets and moment, if they have.
    demands_unit : bool
        Whether `no_unit` is a mistake of whoever asks: every visitor has an anonymous id.
    """

    unit: str
    before: Gate | None = None
    eligible: Predicate | None = None
    stranger: Assignment
    settled: Assignment | None = None
    no_unit: Assignment
    split: Split | None = None
    draw: Draw | None = None
    demands_unit: bool = False

    def answer(self, context: Attributes, now: datetime, raw: bytes | None, memo: Memo) -> Assignment:
        """Return the answer to the unit `raw`; `no_unit` when there is none and one is needed."""
        if self.before is not None:
            found = self.before(context, now, raw, memo)
            if found is not None:
                return found
        if self.eligible is not None and not self.eligible(context):
            return self.stranger
        if self.settled is not None:
            return self.settled
        if raw is None:
            return self.no_unit
        if self.split is not None:
            return self.split(raw)
        return self.draw(raw, now, memo) if self.draw is not None else self.no_unit

    def answer_once(self, context: Attributes, now: datetime, raw: bytes | None, memo: Memo) -> Assignment:
        """Return `answer`, found out once in an evaluation however many need it."""
        found: Assignment | None = memo.get(self)
        if found is None:
            found = memo[self] = self.answer(context, now, raw, memo)
        return found


@dataclass(frozen=True, slots=True)
class Planner:
    """Compiles the definitions of one catalog; what they share is made once."""

    catalog: Catalog
    killed: frozenset[str]
    membership: Membership
    plans: dict[str, Plan] = field(default_factory=dict)
    needed: set[Plan] = field(default_factory=set)
    forced: dict[str, Mapping[str, Assignment]] = field(default_factory=dict)
    _depths: dict[str, int] = field(default_factory=dict)
    _hashers: dict[tuple[str, str, int], Hasher] = field(default_factory=dict)

    def definition(self, key: str) -> Definition | None:
        """Return the flag or experiment of that key."""
        return self.catalog.flags.get(key) or self.catalog.experiments.get(key)

    def is_killed(self, key: str) -> bool:
        """Return whether the kill switch holds it."""
        return key in self.killed or EVERYTHING in self.killed

    def plan(self, definition: Definition, opened: tuple[str, ...] = ()) -> Plan:
        """Return the plan of a definition; `opened` are the definitions that need it.

        Raises
        ------
        InvalidDefinitionError
            See `experiments.assignment.compile_catalog`.
        """
        key = definition.key
        if key not in self.plans:
            # Asked before anything is compiled, too: a chain of thousands would end the recursion first.
            _check_chain(len(opened))
            self.plans[key] = self._compile(definition, (*opened, key))
            below = (self._depths[one.key] for one in definition.prerequisites)
            self._depths[key] = 1 + max(below, default=-1)
            _check_chain(self._depths[key])
        return self.plans[key]

    def _compile(self, definition: Definition, opened: tuple[str, ...]) -> Plan:
        prerequisites = [self._met(one, opened) for one in definition.prerequisites]
        if self.is_killed(definition.key):
            return _settled(definition, outside(definition, "killed"))
        forced = self.forced[definition.key] = forced_arms(definition)
        if definition.status in CLOSED:
            return _settled(definition, outside(definition, "not_running"))
        unmet = outside(definition, "prerequisite")
        override = _override(definition, forced)
        gates = [override, _schedule(definition), *(_prerequisite(*one, unmet) for one in prerequisites)]
        settled = _settled_answer(definition)
        doors = [self._door(definition, passage) for passage in passages(definition)]
        drawn = not settled and bool(doors or definition.ramp)
        return Plan(
            unit=definition.unit,
            before=_chain([gate for gate in gates if gate is not None]),
            eligible=self._eligible(definition),
            stranger=outside(definition, "not_in_audience"),
            settled=settled,
            no_unit=outside(definition, "no_unit"),
            split=None if settled or drawn else _split(definition, definition.allocation_bp),
            draw=_draw(definition, doors) if drawn else None,
            demands_unit=definition.unit == ANONYMOUS_ID and not settled,
        )

    def _met(self, prerequisite: Prerequisite, opened: tuple[str, ...]) -> tuple[Plan, Predicate]:
        key = prerequisite.key
        path = ("prerequisites", key)
        if key in opened:
            chain = " -> ".join((*opened, key))
            raise InvalidDefinitionError(f"prerequisites need each other: {chain}", path=path, code="E413")
        other = self.definition(key)
        if other is None:
            raise InvalidDefinitionError(f"there is no flag or experiment {key!r}", path=path, code="E410")
        plan = self.plan(other, opened)
        self.needed.add(plan)
        test = compile_condition(prerequisite.condition, self.catalog.audiences, lists=self.catalog.lists)
        return plan, test

    def _eligible(self, definition: Definition) -> Predicate | None:
        condition = definition.audience
        if condition is None:
            return None
        audiences, lists, membership = self.catalog.audiences, self.catalog.lists, self.membership
        test = compile_condition(condition, audiences, lists=lists, membership=membership)
        if isinstance(definition, Flag) or not behaviours(condition, audiences):
            return test
        exposed = was_exposed(definition, membership)
        if exposed is never:
            return test
        # In favour of who was exposed already: what they did since does not count.
        kept = compile_condition(condition, audiences, lists=lists, membership=membership, frozen=True)
        return lambda context: test(context) or (exposed(context) and kept(context))

    def _door(self, definition: Definition, passage: Passage) -> Door:
        """Return a passage with its hasher, which members of one layer or holdout share."""
        name = (definition.unit, passage.salt, passage.hash_version)
        number_of = self._hashers.get(name)
        if number_of is None:
            number_of = self._hashers[name] = passage.hasher()
        return number_of, passage.start, passage.end, outside(definition, passage.decision)


def _check_chain(length: int) -> None:
    if length > MAX_CHAIN:
        message = f"more than {MAX_CHAIN} prerequisites build on one another"
        raise InvalidDefinitionError(message, path=("prerequisites",), code="E413")


def _settled(definition: Definition, answer: Assignment) -> Plan:
    return Plan(unit=definition.unit, settled=answer, stranger=answer, no_unit=answer)


def _settled_answer(definition: Definition) -> Assignment | None:
    """Return the answer that the audience gets without a split, if there is one."""
    if isinstance(definition, Experiment) and definition.shipped:
        return None if definition.holdout else shipped_arm(definition)
    if not definition.allocation_bp:
        return outside(definition, "not_in_allocation")
    splits = definition.allocation_bp < TOTAL_BP or definition.ramp or definition.layer or definition.holdout
    if isinstance(definition, Experiment) or splits:
        return None
    if definition.audience is None and not definition.prerequisites:
        return switched_on(definition, Reason.STATIC, "static")
    return switched_on(definition, Reason.TARGETING_MATCH, "targeting_match")


def _chain(gates: Sequence[Gate]) -> Gate | None:
    if len(gates) <= 1:
        return gates[0] if gates else None

    def chained(context: Attributes, now: datetime, raw: bytes | None, memo: Memo) -> Assignment | None:
        for gate in gates:
            found = gate(context, now, raw, memo)
            if found is not None:
                return found
        return None

    return chained


def _override(definition: Definition, forced: Mapping[str, Assignment]) -> Gate | None:
    """Let QA see its variant, also before the schedule opens."""
    answers = {unit_raw(unit): forced[key] for key, units in definition.overrides.items() for unit in units}
    if not answers:
        return None
    find = answers.get

    def gate(_context: Attributes, _now: datetime, raw: bytes | None, _memo: Memo) -> Assignment | None:
        return None if raw is None else find(raw)

    return gate


def _schedule(definition: Definition) -> Gate | None:
    if definition.schedule == ALWAYS:
        return None
    start_at, end_at = definition.schedule.start_at, definition.schedule.end_at
    closed = outside(definition, "not_running")

    def gate(_context: Attributes, now: datetime, _raw: bytes | None, _memo: Memo) -> Assignment | None:
        if (start_at is not None and now < start_at) or (end_at is not None and now >= end_at):
            return closed
        return None

    return gate


def _prerequisite(other: Plan, test: Predicate, unmet: Assignment) -> Gate:
    unit = other.unit

    def gate(context: Attributes, now: datetime, _raw: bytes | None, memo: Memo) -> Assignment | None:
        served = other.answer_once(context, now, unit_raw_of(unit, context), memo)
        return None if test({SERVED_VALUE: served.value}) else unmet

    return gate


def was_exposed(definition: Experiment, membership: Membership) -> Predicate:
    """Return the test whether a context's unit was exposed to an experiment in this phase.

    Parameters
    ----------
    definition : Experiment
        Its behaviours are frozen for such units.
    membership : Membership
        Who was exposed.

    Returns
    -------
    callable
        Attributes -> bool. A person whose history may not count (`KNOWN_AS`) was not exposed.
    """
    mask = membership.names.get(frozen_name(definition.key, definition.phase), 0)
    if not mask:
        return never
    unit, bits = definition.unit, membership.bits

    def exposed(context: Attributes) -> bool:
        unit_id = unit_id_of(unit, context)
        if unit_id is None:
            return False
        person = person_of(unit, unit_id)
        known_as = context.get(KNOWN_AS)
        may_count = known_as is None or unit not in PEOPLE or person in cast("Collection[str]", known_as)
        return may_count and bits(person) & mask != 0

    return exposed


def _split(definition: Definition, share_bp: int) -> Split:
    rest = outside(definition, "not_in_allocation")
    return split(definition, split_arms(definition), rest, share_bp=share_bp)


def _draw(definition: Definition, doors: Sequence[Door]) -> Draw:
    final, by_moment = _last_answer(definition)

    def draw(raw: bytes, now: datetime, memo: Memo) -> Assignment:
        for number_of, start, end, answer in doors:
            number = memo.get(number_of)
            if number is None:
                number = memo[number_of] = number_of(raw)
            if not start <= number < end:
                return answer
        return final(raw) if by_moment is None else by_moment(now)(raw)

    return draw


def _last_answer(definition: Definition) -> tuple[Split, Callable[[datetime], Split] | None]:
    """Return what answers whom all doors let pass, or what says at a moment what does."""
    if isinstance(definition, Experiment) and definition.shipped:
        everybody = shipped_arm(definition)
        return lambda _raw: everybody, None
    return _split(definition, definition.allocation_bp), _ramp(definition)


def _ramp(definition: Definition) -> Callable[[datetime], Split] | None:
    if not definition.ramp:
        return None
    latest_first = [(step.at, _split(definition, step.share_bp)) for step in reversed(definition.timed_steps)]
    nobody = _split(definition, 0)

    def by_moment(now: datetime) -> Split:
        for at, answer_of in latest_first:
            if now >= at:
                return answer_of
        return nobody

    return by_moment


def boundaries(definition: Definition) -> list[datetime]:
    """Return the moments at which what a definition answers changes by itself."""
    if definition.status in CLOSED:
        return []
    schedule = definition.schedule
    steps = [] if is_shipped(definition) else [step.at for step in definition.timed_steps]
    return [at for at in (schedule.start_at, schedule.end_at, *steps) if at is not None]
