"""What a rule of the plan still waits for, in words: the parts that keep it from holding."""

from collections.abc import Iterator

from experiments.decision import Case
from experiments.decision_rules import ANY_GUARDRAIL, AllOf, AnyOf, Leaf, Not, Rule, holds
from experiments.decision_rules import asked as ask
from experiments.wording.amounts import name_of
from experiments.wording.language import Language


def missing_of(language: Language, case: Case, rule: Rule, variant: str) -> str:
    """Return what must still become known of one treatment before a rule holds; empty if it holds.

    Parameters
    ----------
    language : Language
        Whose words are used.
    case : Case
        What was seen.
    rule : Rule
        `ship_when` or `rollback_when` of the plan.
    variant : str
        The treatment.

    Returns
    -------
    str
        A list of phrases.
    """
    told: list[str] = []
    for leaf, wanted in _unmet(case, rule, variant, wanted=True):
        states = language.either([language.say(f"word.{state.value}") for state in leaf.states])
        message = "missing.be" if wanted else "missing.not_be"
        if leaf.subject == ANY_GUARDRAIL and wanted:
            told.append(language.say(message, metric=language.say("missing.any_guardrail"), state=states))
            continue
        (seen,) = ask(leaf, case.states(variant), case.roles())
        told += [
            language.say(message, metric=name_of(language, case.metrics[key]), state=states)
            for key, state in seen.seen.items()
            if (state in leaf.states) is not wanted
        ]
    return language.listed(dict.fromkeys(told))


def _unmet(case: Case, rule: Rule, variant: str, *, wanted: bool) -> Iterator[tuple[Leaf, bool]]:
    """Yield the leaves that keep `rule` from being `wanted`, each with what it would have to be."""
    if holds(rule, case.states(variant), case.roles()) is wanted:
        return
    if isinstance(rule, Leaf):
        yield rule, wanted
    elif isinstance(rule, Not):
        yield from _unmet(case, rule.part, variant, wanted=not wanted)
    elif isinstance(rule, AllOf | AnyOf):
        for part in rule.parts:
            yield from _unmet(case, part, variant, wanted=wanted)
