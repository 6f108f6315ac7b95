"""A condition in one line, in the words of the YAML files."""

import json

from experiments.notation import duration_words
from experiments.targeting.conditions import All, Any_, AudienceRef, Behaviour, Condition, Inside, Leaf, Not

MAX_OPERAND = 72


def condition_words(condition: Condition, *, inner: bool = False) -> str:
    """Return a condition as one line of plain words.

    Parameters
    ----------
    condition : Condition
        Any condition. Lists appear by name, never by member.
    inner : bool
        Whether it is part of a longer line, so that several parts need brackets.

    Returns
    -------
    str

    Examples
    --------
    >>> condition_words(All((Leaf("country", "in", ("ES", "PT")), Not(AudienceRef("staff")))))
    'country in ["ES", "PT"] and not audience staff'
    """
    match condition:
        case All(found):
            text = " and ".join(condition_words(part, inner=True) for part in found) or "everybody"
        case Any_(found):
            text = " or ".join(condition_words(part, inner=True) for part in found)
        case Not(part):
            return f"not {condition_words(part, inner=True)}"
        case AudienceRef(name):
            return f"audience {name}"
        case Behaviour():
            return behaviour_words(condition)
        case Leaf(attribute) | Inside(attribute):
            return f"{attribute} {wanted_words(condition)}".lstrip()
    return f"({text})" if inner and len(found) > 1 else text


def wanted_words(leaf: Leaf | Inside) -> str:
    """Return what a leaf asks of its attribute: the operator and its operand.

    Parameters
    ----------
    leaf : Leaf or Inside
        Any; a long operand is cut.

    Returns
    -------
    str

    Examples
    --------
    >>> wanted_words(Inside("tags", "size", Leaf("", "gte", 2)))
    'size gte 2'
    """
    if isinstance(leaf, Inside):
        return f"{leaf.op} {condition_words(leaf.part, inner=True)}"
    if leaf.op in ("in_list", "not_in_list"):
        return f"{leaf.op} {leaf.operand}"
    text = json.dumps(leaf.operand, ensure_ascii=False)
    return f"{leaf.op} {text if len(text) <= MAX_OPERAND else text[: MAX_OPERAND - 3] + '...'}"


def behaviour_words(behaviour: Behaviour) -> str:
    """Return a fact about behaviour.

    Parameters
    ----------
    behaviour : Behaviour
        Any.

    Returns
    -------
    str

    Examples
    --------
    >>> behaviour_words(Behaviour(event="Order Completed", measure="sum", property="revenue", at_least=100))
    'did (sum of revenue in Order Completed at least 100)'
    >>> behaviour_words(Behaviour(event="Viewed", where=(("category", "tea"),), at_least=3, within_s=86_400))
    'did (Viewed at least 3 times where category = "tea" within 1d)'
    """
    if behaviour.measure == "sum":
        text = f"sum of {behaviour.property} in {behaviour.event} at least {behaviour.at_least:g}"
    else:
        times = "" if behaviour.at_least == 1 else f" at least {behaviour.at_least:,} times"
        text = f"{behaviour.event}{times}"
    pairs = " and ".join(f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in behaviour.where)
    where = f" where {pairs}" if pairs else ""
    within = f" within {duration_words(behaviour.within_s)}" if behaviour.within_s else ""
    return f"did ({text}{where}{within})"
