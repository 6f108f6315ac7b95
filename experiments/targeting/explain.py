"""Why does a condition hold for somebody, or not: the leaf that decided, and the value that it saw."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from experiments.membership import NOBODY
from experiments.targeting.closures import walk
from experiments.targeting.compiler import (
    NO_LISTS,
    Facts,
    Lists,
    behaviour_test,
    leaf_test,
)
from experiments.targeting.conditions import (
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
from experiments.targeting.named import resolve_audience
from experiments.targeting.phrases import behaviour_words, wanted_words

COUNTS_IN_FAVOUR = "counts in favour: already in"
NOT_COUNTED = "not counted yet, which lets nobody in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer, and the leaf after which it was settled.

    Attributes
    ----------
    holds : bool
        Exactly what the compiled condition returns.
    leaf : str
        What was asked last, in the words of the YAML file; empty when nothing had to be asked.
    fits : bool
        Whether that leaf holds; under an odd number of nots this is the opposite of what it settled.
    attribute : str
        Of the leaf; empty for a behaviour.
    seen : object
        The attribute's value, None when it is missing; for a behaviour whether the person is known to have
        done it.
    wanted : str
        Operator and operand of the leaf. A list appears by name, never by member.
    audience : str
        The audience inside which the leaf stands; empty for the condition itself.
    """

    holds: bool
    leaf: str = ""
    fits: bool = True
    attribute: str = ""
    seen: object = None
    wanted: str = ""
    audience: str = ""


def explain(
    condition: Condition,
    attributes: Attributes,
    audiences: Mapping[str, Condition],
    *,
    lists: Lists = NO_LISTS,
    membership: Facts = NOBODY,
    frozen: bool = False,
) -> Explanation:
    """Ask a condition as the compiled one does, part by part until the answer is settled.

    Parameters
    ----------
    condition : Condition
        What must hold.
    attributes : mapping of str to object
        Of the unit.
    audiences : mapping of str to Condition
        Every named condition of the catalog.
    lists : mapping of str to values
        Every named list of the catalog.
    membership : Membership
        Who did what.
    frozen : bool
        For a unit that is in already, as in `compile_condition`.

    Returns
    -------
    Explanation
        For a condition that holds in all of its parts: the last one asked.

    Raises
    ------
    InvalidDefinitionError
        As `compile_condition`, for the parts that are asked.

    Examples
    --------
    >>> both = All((Leaf("country", "eq", "ES"), Leaf("orders", "gte", 3)))
    >>> found = explain(both, {"country": "ES", "orders": 1}, {})
    >>> found.holds, found.leaf, found.seen
    (False, 'orders gte 3', 1)
    """
    return _Questioner(attributes, audiences, lists, membership, frozen=frozen).ask(condition)


@dataclass(frozen=True, slots=True)
class _Questioner:
    attributes: Attributes
    audiences: Mapping[str, Condition]
    lists: Lists
    membership: Facts
    frozen: bool
    opened: tuple[str, ...] = ()
    favour: bool = True

    def ask(self, condition: Condition) -> Explanation:
        match condition:
            case All(parts):
                return self._until(parts, settled=lambda found: not found.holds)
            case Any_(parts):
                return self._until(parts, settled=lambda found: found.holds, holds=False)
            case Not(part):
                found = replace(self, favour=not self.favour).ask(part)
                return replace(found, holds=not found.holds)
            case AudienceRef(name):
                named = resolve_audience(name, self.audiences, self.opened)
                return replace(self, opened=(*self.opened, name)).ask(named)
            case Behaviour():
                return self._fact(condition)
            case _:
                return self._leaf(condition)

    def _until(
        self,
        parts: tuple[Condition, ...],
        *,
        settled: Callable[[Explanation], bool],
        holds: bool = True,
    ) -> Explanation:
        found = Explanation(holds=holds)
        for part in parts:
            asked = self.ask(part)
            if settled(asked):
                return asked
            if asked.leaf:
                found = asked
        return found

    def _fact(self, behaviour: Behaviour) -> Explanation:
        words = behaviour_words(behaviour)
        holds, seen = self._holds(behaviour)
        return Explanation(
            holds=holds,
            leaf=words,
            fits=holds,
            seen=seen,
            wanted=words,
            audience=self._audience(),
        )

    def _holds(self, behaviour: Behaviour) -> tuple[bool, object]:
        if self.frozen:
            return self.favour, COUNTS_IN_FAVOUR
        if behaviour.key not in self.membership.names:
            return not self.favour, NOT_COUNTED
        test = behaviour_test(behaviour, self.membership, unknown=not self.favour)
        did = test(self.attributes)
        return did, did

    def _leaf(self, leaf: Leaf | Inside) -> Explanation:
        holds = leaf_test(leaf, self.lists)(self.attributes)
        wanted = wanted_words(leaf)
        return Explanation(
            holds=holds,
            leaf=f"{leaf.attribute} {wanted}",
            fits=holds,
            attribute=leaf.attribute,
            seen=walk(leaf.attribute, _itself)(self.attributes),
            wanted=wanted,
            audience=self._audience(),
        )

    def _audience(self) -> str:
        return self.opened[-1] if self.opened else ""


def _itself(value: object) -> object:
    return value
