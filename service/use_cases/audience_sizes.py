"""How many people are in each behavioural audience of a catalog, from the file that is served."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from experiments.definitions import Catalog, Experiment, Flag
from experiments.lifecycle import Status
from experiments.membership import Membership, unit_name
from experiments.targeting.conditions import All, Any_, AudienceRef, Behaviour, Condition, Not, behaviours
from experiments.targeting.phrases import condition_words
from experiments.units import ANONYMOUS_ID, USER_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceSize:
    """Who is in one audience: `visitors` and `users` by their ids, None while a fact is not counted yet.

    With `all_but` the numbers are those who are not in it, and strangers are. With `at_most` it asks for
    attributes too, which nobody stores, and the numbers hold as if all of those fitted.
    """

    name: str
    kind: str
    who: str
    visitors: int | None = None
    users: int | None = None
    all_but: bool = False
    at_most: bool = False


def audience_sizes(catalog: Catalog, membership: Membership) -> list[AudienceSize]:
    """Return the size of every audience that asks what people did, named ones first."""
    counts = membership.mask_counts()
    return [
        _size(kind, name, condition, catalog.audiences, (membership.names, counts))
        for kind, name, condition in _conditions(catalog)
        if behaviours(condition, catalog.audiences)
    ]


def _conditions(catalog: Catalog) -> Iterator[tuple[str, str, Condition]]:
    for name, condition in sorted(catalog.audiences.items()):
        yield "audience", name, condition
    definitions: Mapping[str, Experiment | Flag] = {**catalog.experiments, **catalog.flags}
    for key, definition in sorted(definitions.items()):
        # One that only names an audience is no other audience.
        if definition.audience is None or isinstance(definition.audience, AudienceRef):
            continue
        if definition.status is not Status.STOPPED:
            yield "flag" if key in catalog.flags else "experiment", key, definition.audience


Counted = tuple[Mapping[str, int], Mapping[int, int]]


def _size(
    kind: str, name: str, condition: Condition, audiences: Mapping[str, Condition], counted: Counted
) -> AudienceSize:
    names, counts = counted
    who = condition_words(condition)
    if any(fact.key not in names for fact in behaviours(condition, audiences)):
        return AudienceSize(name=name, kind=kind, who=who)
    holds = {bits: _holds(condition, audiences, _did(names, bits)) for bits in (0, *counts)}
    counted_ones = [bits for bits in counts if holds[bits] is not holds[0]]
    visitors, users = (
        sum(counts[bits] for bits in counted_ones if bits & names.get(unit_name(unit), 0))
        for unit in (ANONYMOUS_ID, USER_ID)
    )
    return AudienceSize(
        name=name,
        kind=kind,
        who=who,
        visitors=visitors,
        users=users,
        all_but=holds[0],
        at_most=_asks_attributes(condition, audiences),
    )


def _did(names: Mapping[str, int], bits: int) -> Callable[[Behaviour], bool]:
    return lambda fact: bits & names[fact.key] != 0


def _holds(
    condition: Condition,
    audiences: Mapping[str, Condition],
    did: Callable[[Behaviour], bool],
    *,
    favour: bool = True,
) -> bool:
    """Say whether a condition can hold for people who `did` these things, whatever their attributes."""
    match condition:
        case All(parts):
            return all(_holds(part, audiences, did, favour=favour) for part in parts)
        case Any_(parts):
            return any(_holds(part, audiences, did, favour=favour) for part in parts)
        case Not(part):
            return not _holds(part, audiences, did, favour=not favour)
        case AudienceRef(name):
            return _holds(audiences[name], audiences, did, favour=favour)
        case Behaviour():
            return did(condition)
        case _:
            return favour


def _asks_attributes(condition: Condition, audiences: Mapping[str, Condition]) -> bool:
    match condition:
        case All(parts) | Any_(parts):
            return any(_asks_attributes(part, audiences) for part in parts)
        case Not(part):
            return _asks_attributes(part, audiences)
        case AudienceRef(name):
            return _asks_attributes(audiences[name], audiences)
        case _:
            return not isinstance(condition, Behaviour)
