"""When to ship and when to roll back: a small typed expression over what is known of the metrics.

It is data, never code. A node has one member in the catalog, so that a path into the YAML is a path into it::

    {all: [{primary: better}, {not: {any_guardrail: worse}}]}
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from experiments.states import MetricState, Role

PRIMARY = "primary"
ANY_GUARDRAIL = "any_guardrail"
EVERY_GUARDRAIL = "every_guardrail"
GROUPS = (ANY_GUARDRAIL, EVERY_GUARDRAIL)

JsonForm: TypeAlias = "str | list[JsonForm] | dict[str, JsonForm]"
Path: TypeAlias = tuple[str | int, ...]
Roles: TypeAlias = Mapping[str, Role]
States: TypeAlias = Mapping[str, MetricState]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Holds when `subject` is in one of `states`.

    `subject` is ``primary``, ``any_guardrail``, ``every_guardrail`` or the key of a metric of the plan.
    """

    subject: str
    states: tuple[MetricState, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds when every part does."""

    parts: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds when at least one part does."""

    parts: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when its part does not."""

    part: "Rule"


Rule: TypeAlias = Leaf | AllOf | AnyOf | Not

SHIP_WHEN: Rule = AllOf(
    (Leaf(PRIMARY, (MetricState.BETTER,)), Not(Leaf(ANY_GUARDRAIL, (MetricState.WORSE,))))
)
ROLLBACK_WHEN: Rule = AnyOf((Leaf(ANY_GUARDRAIL, (MetricState.WORSE,)), Leaf(PRIMARY, (MetricState.WORSE,))))


@dataclass(frozen=True, slots=True)
class Asked:
    """One leaf of a rule with what it saw: `seen` holds the state of each metric that it looks at."""

    leaf: Leaf
    seen: States
    holds: bool


def holds(rule: Rule, states: States, roles: Roles) -> bool:
    """Return whether a rule holds for one treatment.

    Parameters
    ----------
    rule : Rule
        About metrics of the plan only (`rule_faults.faults` finds others).
    states : mapping of metric key to MetricState
        Of one treatment; every metric of the plan.
    roles : mapping of metric key to Role
        The plan.

    Returns
    -------
    bool
        ``any_guardrail`` of none is false, ``every_guardrail`` of none is true.

    Examples
    --------
    >>> roles = {"buy": Role.PRIMARY, "refund": Role.GUARDRAIL}
    >>> seen = {"buy": MetricState.BETTER, "refund": MetricState.NOT_YET_KNOWN}
    >>> holds(SHIP_WHEN, seen, roles), holds(ROLLBACK_WHEN, seen, roles)
    (True, False)
    """
    if isinstance(rule, AllOf):
        return all(holds(part, states, roles) for part in rule.parts)
    if isinstance(rule, AnyOf):
        return any(holds(part, states, roles) for part in rule.parts)
    if isinstance(rule, Not):
        return not holds(rule.part, states, roles)
    return _ask(rule, states, roles).holds


def asked(rule: Rule, states: States, roles: Roles) -> tuple[Asked, ...]:
    """Return every leaf of a rule with what it saw: the inputs of a decision, in the order of the rule.

    Parameters
    ----------
    rule, states, roles
        As in `holds`.

    Returns
    -------
    tuple of Asked

    Examples
    --------
    >>> first, *_ = asked(SHIP_WHEN, {"buy": MetricState.WORSE}, {"buy": Role.PRIMARY})
    >>> dict(first.seen), first.holds
    ({'buy': <MetricState.WORSE: 'worse'>}, False)
    """
    return tuple(_ask(leaf, states, roles) for _path, leaf in leaves(rule))


def leaves(rule: Rule, path: Path = ()) -> Iterator[tuple[Path, Leaf]]:
    """Yield the leaves of a rule with their path, in order."""
    if isinstance(rule, Leaf):
        yield path, rule
    elif isinstance(rule, Not):
        yield from leaves(rule.part, (*path, "not"))
    else:
        name = _name(rule)
        for i, part in enumerate(rule.parts):
            yield from leaves(part, (*path, name, i))


def subjects(leaf: Leaf, roles: Roles) -> tuple[str, ...]:
    """Return the metrics that a leaf looks at; none when the plan has no such metric."""
    role = {PRIMARY: Role.PRIMARY, ANY_GUARDRAIL: Role.GUARDRAIL, EVERY_GUARDRAIL: Role.GUARDRAIL}
    if leaf.subject in role:
        return tuple(key for key, of in roles.items() if of is role[leaf.subject])
    return (leaf.subject,) if leaf.subject in roles else ()


def form(rule: Rule) -> JsonForm:
    """Return a rule as the catalog writes it.

    Examples
    --------
    >>> form(ROLLBACK_WHEN)
    {'any': [{'any_guardrail': 'worse'}, {'primary': 'worse'}]}
    """
    if isinstance(rule, Not):
        return {"not": form(rule.part)}
    if isinstance(rule, Leaf):
        words: list[JsonForm] = [state.value for state in rule.states]
        return {rule.subject: words[0] if len(words) == 1 else words}
    return {_name(rule): [form(part) for part in rule.parts]}


def written(rule: Rule) -> str:
    """Return a rule in one line of YAML.

    Examples
    --------
    >>> written(SHIP_WHEN)
    '{all: [{primary: better}, {not: {any_guardrail: worse}}]}'
    """
    return in_one_line(form(rule))


def in_one_line(written_form: JsonForm) -> str:
    """Return the form of a rule in one line of YAML.

    Examples
    --------
    >>> in_one_line({"any": [{"primary": ["better", "no_effect"]}]})
    '{any: [{primary: [better, no_effect]}]}'
    """
    if isinstance(written_form, list):
        return f"[{', '.join(map(in_one_line, written_form))}]"
    if isinstance(written_form, dict):
        return "{" + ", ".join(f"{key}: {in_one_line(part)}" for key, part in written_form.items()) + "}"
    return written_form


def _name(rule: AllOf | AnyOf) -> str:
    return "all" if isinstance(rule, AllOf) else "any"


def _ask(leaf: Leaf, states: States, roles: Roles) -> Asked:
    seen = {key: states[key] for key in subjects(leaf, roles)}
    fits = [state in leaf.states for state in seen.values()]
    return Asked(leaf, seen, all(fits) if leaf.subject == EVERY_GUARDRAIL else any(fits))
