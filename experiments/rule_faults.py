"""What is wrong with the rules of a plan: parts that it cannot answer, rules that make no sense.

Whether a rule can ever hold is found out by trying: the states that metrics may have are few. States that no
leaf tells apart are tried once, so that it is exact and short; what would take too long is not looked into.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations_with_replacement, product
from math import comb, prod
from typing import TypeAlias

from experiments.decision_rules import (
    ANY_GUARDRAIL,
    EVERY_GUARDRAIL,
    GROUPS,
    PRIMARY,
    ROLLBACK_WHEN,
    SHIP_WHEN,
    AllOf,
    Leaf,
    Not,
    Path,
    Roles,
    Rule,
    States,
    holds,
    leaves,
    subjects,
)
from experiments.errors import InvalidDefinitionError
from experiments.states import POSSIBLE, MetricState, Role

SHIP = "ship_when"
ROLLBACK = "rollback_when"
GOOD = frozenset({MetricState.BETTER, MetricState.SAFE})
MAX_TRIED = 3_000

Choices: TypeAlias = tuple[MetricState, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a rule at `path`, the steps from its root as in the catalog."""

    path: Path
    code: str
    message: str
    hint: str = ""
    at_key: bool = False


def faults(rule: Rule, roles: Roles) -> Iterator[Fault]:
    """Yield what a rule asks of a plan that cannot be answered.

    Also a rule that holds while nothing is known: it would decide on no evidence at all; and one that never
    holds.

    Parameters
    ----------
    rule : Rule
        From a catalog.
    roles : mapping of metric key to Role
        The plan.

    Yields
    ------
    Fault
        Codes E361 (no such metric), E362 (no such state), E363 (holds while nothing is known), E364 (never
        holds).

    Examples
    --------
    >>> rule = AllOf((Leaf("primary", (MetricState.SAFE,)), Leaf("clicks", (MetricState.BETTER,))))
    >>> [(f.path, f.code) for f in faults(rule, {"buy": Role.PRIMARY})]
    [(('all', 0, 'primary'), 'E362'), (('all', 1, 'clicks'), 'E361')]
    """
    wrong = list(chain.from_iterable(_leaf_faults(path, leaf, roles) for path, leaf in leaves(rule)))
    yield from wrong
    if wrong:
        return
    if any(
        holds(rule, dict.fromkeys(roles, nothing), roles)
        for nothing in (MetricState.BURN_IN, MetricState.NOT_YET_KNOWN)
    ):
        yield Fault(
            (),
            "E363",
            "this holds while nothing is known of any metric: it would decide without evidence",
            "ask for something that must be shown, such as {primary: better}",
            at_key=True,
        )
    elif (tried := _tried((rule,), roles)) and not any(holds(rule, states, roles) for states in tried):
        yield Fault((), "E364", "this can never hold", _why_never(rule, roles), at_key=True)


def joint_faults(ship: Rule, rollback: Rule, roles: Roles) -> Iterator[tuple[str, Fault]]:
    """Yield what is wrong with the sense of two rules that have no `faults`, by the name of the rule.

    Parameters
    ----------
    ship, rollback : Rule
        What it takes to ship and to roll back.
    roles : mapping of metric key to Role
        The plan.

    Yields
    ------
    str, Fault
        Codes E365 (the wrong way round: a reason to ship is a harm, or one to roll back a gain) and E366
        (where it would ship, it rolls back).

    Examples
    --------
    >>> worse = Leaf("primary", (MetricState.WORSE,))
    >>> [(name, fault.code) for name, fault in joint_faults(worse, worse, {"buy": Role.PRIMARY})]
    [('ship_when', 'E365')]
    """
    tried = _tried((ship, rollback), roles)
    shipped = [states for states in tried if holds(ship, states, roles)]
    undone = [states for states in tried if holds(rollback, states, roles)]
    plain = [states for states in shipped if not GOOD & set(states.values())]
    harmless = [states for states in undone if MetricState.WORSE not in states.values()]
    if _all_worse(shipped) or _all_worse(plain):
        message = "this ships a variant because a metric is worse"
        hint = "for example {all: [{primary: better}, {not: {any_guardrail: worse}}]}"
        yield SHIP, Fault((), "E365", message, hint, at_key=True)
    elif shipped and all(holds(rollback, states, roles) for states in shipped):
        message = "this can never ship: wherever it holds, rollback_when holds too, and goes first"
        yield SHIP, Fault((), "E366", message, "ask for other states in one of the two", at_key=True)
    if harmless and all(GOOD & set(states.values()) for states in harmless):
        message = "this rolls a variant back because a metric is better or safe, while none is worse"
        hint = "for example {any: [{any_guardrail: worse}, {primary: worse}]}"
        yield ROLLBACK, Fault((), "E365", message, hint, at_key=True)


def may_ship_worse(ship: Rule, rollback: Rule, roles: Roles) -> bool:
    """Return whether the rules may ship a variant of which the primary metric is worse.

    Examples
    --------
    >>> safe, harm = Leaf("refund", (MetricState.SAFE,)), Leaf("refund", (MetricState.WORSE,))
    >>> may_ship_worse(safe, harm, {"buy": Role.PRIMARY, "refund": Role.GUARDRAIL})
    True
    """
    worse = Leaf(PRIMARY, (MetricState.WORSE,))
    both = AllOf((ship, worse, Not(rollback)))
    return any(holds(both, states, roles) for states in _tried((both,), roles))


def refuse_faulty(ship: Rule, rollback: Rule, roles: Roles) -> None:
    """Refuse rules that a plan cannot answer, or that make no sense.

    Raises
    ------
    InvalidDefinitionError
        With the first fault; `all_faults` tells all.
    """
    for name, fault in all_faults(ship, rollback, roles):
        path = ("decide", name, *fault.path)
        raise InvalidDefinitionError(fault.message, path=path, code=fault.code, hint=fault.hint)


def all_faults(ship: Rule, rollback: Rule, roles: Roles) -> Iterator[tuple[str, Fault]]:
    """Yield every fault of both rules by the name of the rule; their sense only if each can be answered."""
    if (ship, rollback) == (SHIP_WHEN, ROLLBACK_WHEN):
        return  # They fit every plan.
    single = [
        (name, one) for name, rule in ((SHIP, ship), (ROLLBACK, rollback)) for one in faults(rule, roles)
    ]
    yield from single or joint_faults(ship, rollback, roles)


def _all_worse(worlds: Sequence[States]) -> bool:
    return bool(worlds) and all(MetricState.WORSE in states.values() for states in worlds)


def _tried(rules: Sequence[Rule], roles: Roles) -> list[States]:
    """Return states of all metrics that stand for every case the rules tell apart; nothing if too many.

    Guardrails that no leaf names are told apart by nothing but which states occur among them.
    """
    asked = [leaf for rule in rules for _path, leaf in leaves(rule)]
    named = {key for leaf in asked if leaf.subject not in GROUPS for key in subjects(leaf, roles)}
    grouped = {key for leaf in asked if leaf.subject in GROUPS for key in subjects(leaf, roles)} - named
    choices = {key: _told_apart(key, asked, roles) for key in named}
    of_group = _told_apart(min(grouped), asked, roles) if grouped else ()
    n_group = min(len(grouped), len(of_group))
    of_all = comb(max(len(of_group) + n_group - 1, 0), n_group)
    if of_all * prod(len(states) for states in choices.values()) > MAX_TRIED:
        return []
    rest = dict.fromkeys(roles, MetricState.NOT_YET_KNOWN)
    return [
        {**rest, **dict(zip(choices, one, strict=True)), **_spread(sorted(grouped), many)}
        for one in product(*choices.values())
        for many in combinations_with_replacement(of_group, n_group)
    ]


def _spread(keys: Sequence[str], states: Choices) -> States:
    """Give the first metrics one state each, and all others that of the first."""
    return {key: states[i] if i < len(states) else states[0] for i, key in enumerate(keys)}


def _told_apart(key: str, asked: Sequence[Leaf], roles: Roles) -> Choices:
    """Return one state of a metric for each set of states that the leaves, and our questions, treat alike."""
    about = [leaf for leaf in asked if key in subjects(leaf, roles)]
    kinds: dict[tuple[bool, ...], MetricState] = {}
    for state in (MetricState.NOT_YET_KNOWN, *sorted(POSSIBLE[roles[key]])):
        alike = (state is MetricState.WORSE, state in GOOD, *(state in leaf.states for leaf in about))
        kinds.setdefault(alike, state)
    return tuple(kinds.values())


def _why_never(rule: Rule, roles: Roles) -> str:
    about_none = any(leaf.subject == ANY_GUARDRAIL for _path, leaf in leaves(rule))
    if about_none and Role.GUARDRAIL not in roles.values():
        return "the experiment has no guardrails: add some under metrics: guardrails:"
    return "a metric has one state at a time: join what excludes one another with any: [...]"


def _leaf_faults(path: Path, leaf: Leaf, roles: Roles) -> Iterator[Fault]:
    here = (*path, leaf.subject)
    if leaf.subject not in GROUPS and not subjects(leaf, roles):
        hint = f"known: {', '.join((PRIMARY, *GROUPS, *roles))}"
        message = f"the experiment has no metric '{leaf.subject}'"
        yield Fault(here, "E361", message, hint, at_key=True)
        return
    if leaf.subject == EVERY_GUARDRAIL and Role.GUARDRAIL not in roles.values():
        message = "the experiment has no guardrails: this would always hold"
        yield Fault(here, "E361", message, "add some under metrics: guardrails:", at_key=True)
        return
    role = Role.GUARDRAIL if leaf.subject in GROUPS else roles[subjects(leaf, roles)[0]]
    for i, state in enumerate(leaf.states):
        if state not in POSSIBLE[role]:
            place = here if len(leaf.states) == 1 else (*here, i)
            yield Fault(place, "E362", f"a {role.value} metric is never '{state.value}'", possible(role))


def possible(role: Role) -> str:
    """Return the hint which states a metric of a role can have."""
    words: Sequence[MetricState] = [state for state in MetricState if state in POSSIBLE[role]]
    return f"it can be {', '.join(words)}"
