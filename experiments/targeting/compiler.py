"""From a condition to one closure that answers for any attributes."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, TypeAlias, cast

from experiments.errors import InvalidDefinitionError
from experiments.membership import KNOWN_AS, NOBODY, person_of
from experiments.targeting.closures import Predicate, always, every, fast_leaf, negated, never, some, walk
from experiments.targeting.conditions import (
    ELEMENT,
    All,
    Any_,
    Attributes,
    AudienceRef,
    Behaviour,
    Condition,
    Inside,
    Leaf,
    Not,
)
from experiments.targeting.lists import list_test
from experiments.targeting.named import check_names
from experiments.targeting.operators import VALUE_OPERATORS, Scalar, ValueTest
from experiments.units import PEOPLE, unit_id_of

Lists: TypeAlias = Mapping[str, Collection[Scalar]]

NO_LISTS: Lists = MappingProxyType({})


class Facts(Protocol):
    """What is known about people: the part of `experiments.membership.Membership` that a condition asks."""

    @property
    def names(self) -> Mapping[str, int]:
        """The bit mask of each fact."""

    def bits(self, person: str) -> int:
        """Return the facts of a person, 0 for a stranger."""


def compile_condition(
    condition: Condition,
    audiences: Mapping[str, Condition],
    *,
    lists: Lists = NO_LISTS,
    membership: Facts = NOBODY,
    frozen: bool = False,
) -> Predicate:
    """Compile a condition into one closure; what does not depend on attributes is done now.

    Parameters
    ----------
    condition : Condition
        What must hold.
    audiences : mapping of str to Condition
        Every named condition of the catalog.
    lists : mapping of str to values
        Every named list of the catalog.
    membership : Membership
        Who did what. A person it does not know has no facts; a fact it does not know lets nobody in.
    frozen : bool
        For a unit that is in already: whatever it did or did not do counts in its favour.

    Returns
    -------
    callable
        Attributes -> bool. It never raises, whatever the attributes hold.

    Raises
    ------
    InvalidDefinitionError
        E207 for an unknown audience, E208 for audiences that need each other, E209 for too many that build
        on one another or say too much, E409 for an unknown list.

    Examples
    --------
    >>> young = compile_condition(Leaf("age", "lt", 30), {})
    >>> young({"age": 29}), young({"age": "old"}), young({"age": [1]})
    (True, False, False)
    """
    check_names(condition, audiences)
    return _Compiler(audiences, lists, membership, frozen=frozen).predicate(condition)


@dataclass(frozen=True, slots=True)
class _Compiler:
    audiences: Mapping[str, Condition]
    lists: Lists
    membership: Facts
    frozen: bool
    favour: bool = True
    named: dict[tuple[str, bool], Predicate] = field(default_factory=dict)

    def predicate(self, condition: Condition) -> Predicate:
        match condition:
            case All(parts):
                return every([self.predicate(part) for part in parts])
            case Any_(parts):
                return some([self.predicate(part) for part in parts])
            case Not(part):
                return negated(replace(self, favour=not self.favour).predicate(part))
            case AudienceRef(name):
                if (name, self.favour) not in self.named:
                    self.named[name, self.favour] = self.predicate(self.audiences[name])
                return self.named[name, self.favour]
            case Behaviour():
                return self._fact(condition)
            case _:
                return leaf_test(condition, self.lists)

    def _fact(self, behaviour: Behaviour) -> Predicate:
        if self.frozen:
            return always if self.favour else never
        if behaviour.key not in self.membership.names:
            # Not counted yet: whoever "has not bought" would let in, buyers too, must wait.
            return never if self.favour else always
        return behaviour_test(behaviour, self.membership, unknown=not self.favour)


def behaviour_test(behaviour: Behaviour, membership: Facts, *, unknown: bool = False) -> Predicate:
    """Return the test whether a fact holds for the visitor or for the person who is signed in.

    Parameters
    ----------
    behaviour : Behaviour
        The fact.
    membership : Membership
        Who did what.
    unknown : bool
        What to answer when nobody's history may count (`experiments.membership.KNOWN_AS` is empty).

    Returns
    -------
    callable
        Attributes -> bool.
    """
    mask = membership.names.get(behaviour.key, 0)
    if not mask:
        return never
    bits = membership.bits

    def test(attributes: Attributes) -> bool:
        known_as = attributes.get(KNOWN_AS)
        if known_as is None:
            known_as = people_in(attributes)
        elif not known_as:
            return unknown
        return any(bits(person) & mask for person in cast("Iterable[str]", known_as))

    return test


def people_in(attributes: Attributes) -> list[str]:
    """Return the people whom the ids of a context name: the visitor, the person who is signed in.

    Parameters
    ----------
    attributes : mapping of str to object
        The context.

    Returns
    -------
    list of str
        As `experiments.membership.person_of` writes them.
    """
    ids = [(unit, unit_id_of(unit, attributes)) for unit in PEOPLE]
    return [person_of(unit, unit_id) for unit, unit_id in ids if unit_id is not None]


def leaf_test(leaf: Leaf | Inside, lists: Lists) -> Predicate:
    """Return the test of one attribute.

    Parameters
    ----------
    leaf : Leaf or Inside
        What is asked.
    lists : mapping of str to values
        Every named list of the catalog.

    Returns
    -------
    callable
        Attributes -> bool.

    Raises
    ------
    InvalidDefinitionError
        E409 for an unknown list.
    """
    test = value_test(leaf, lists)
    if isinstance(leaf, Leaf) and "." not in leaf.attribute:
        return fast_leaf(leaf, test)
    return walk(leaf.attribute, test)


def value_test(leaf: Leaf | Inside, lists: Lists) -> ValueTest:
    """Return the test of an attribute's value, wherever it was found.

    Parameters
    ----------
    leaf : Leaf or Inside
        What is asked.
    lists : mapping of str to values
        Every named list of the catalog.

    Returns
    -------
    callable
        Any value -> bool.

    Raises
    ------
    InvalidDefinitionError
        E409 for an unknown list.
    """
    if isinstance(leaf, Inside):
        return _test_inside(leaf, lists)
    if leaf.op not in ("in_list", "not_in_list"):
        return VALUE_OPERATORS[leaf.op].build(leaf.operand)
    name = str(leaf.operand)
    if name not in lists:
        near = difflib.get_close_matches(name, lists, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "declare it under 'lists:'"
        path = (leaf.attribute, leaf.op) if leaf.attribute else (leaf.op,)
        raise InvalidDefinitionError(f"there is no list {name!r}", path=path, code="E409", hint=hint)
    test = list_test(name, lists[name])
    return test if leaf.op == "in_list" else lambda value: not test(value)


def _test_inside(inside: Inside, lists: Lists) -> ValueTest:
    part = _element_test(inside.part, lists)
    if inside.op == "size":
        return lambda value: isinstance(value, list | tuple) and part(len(value))
    # As in GrowthBook's SDKs, null is no element.
    return lambda value: (
        isinstance(value, list | tuple) and any(part(one) for one in value if one is not None)
    )


def _element_test(condition: Condition, lists: Lists) -> ValueTest:
    match condition:
        case All(parts):
            return every([_element_test(part, lists) for part in parts])
        case Any_(parts):
            return some([_element_test(part, lists) for part in parts])
        case Not(part):
            return negated(_element_test(part, lists))
        case Leaf() | Inside():
            test = value_test(condition, lists)
            return test if condition.attribute == ELEMENT else walk(condition.attribute, test)
        case _:
            raise InvalidDefinitionError("an element has neither audiences nor behaviour", code="E204")
