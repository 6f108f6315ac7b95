"""Audiences by name: what a name stands for, and how much a condition says once its names are written out."""

import difflib
from collections.abc import Mapping

from experiments.errors import InvalidDefinitionError
from experiments.targeting.conditions import AudienceRef, Condition, audience_refs, nodes

MAX_AUDIENCES = 32
MAX_PARTS = 10_000
SAY_LESS = "an audience that is named twice is asked twice: name it once, or say less"


def resolve_audience(
    name: str, audiences: Mapping[str, Condition], opened: tuple[str, ...] = ()
) -> Condition:
    """Return the condition that an audience stands for.

    Parameters
    ----------
    name : str
        Of the audience.
    audiences : mapping of str to Condition
        Every named condition of the catalog.
    opened : tuple of str
        The audiences inside which the name stands.

    Returns
    -------
    Condition

    Raises
    ------
    InvalidDefinitionError
        E207 for an unknown audience, E208 for audiences that need each other, E209 for too many that build
        on one another.
    """
    if name in opened:
        chain = " -> ".join((*opened, name))
        raise InvalidDefinitionError(f"audiences need each other: {chain}", path=("audience",), code="E208")
    _check_chain(len(opened) + 1)
    if name not in audiences:
        near = difflib.get_close_matches(name, audiences, n=1)
        raise InvalidDefinitionError(
            f"there is no audience {name!r}",
            path=("audience",),
            code="E207",
            hint=f"did you mean {near[0]!r}?" if near else "",
        )
    return audiences[name]


def parts_written_out(condition: Condition, known: Mapping[str, int]) -> int:
    """Return how many parts a condition has once the audiences that it names are written out.

    Parameters
    ----------
    condition : Condition
        Any condition.
    known : mapping of str to int
        As many as each audience has; what it lacks counts for nothing.

    Returns
    -------
    int
        At most one more than `MAX_PARTS`: audiences that name others twice soon stand for billions.

    Examples
    --------
    >>> parts_written_out(AudienceRef("fans"), {"fans": 20})
    20
    """
    sizes = (known.get(node.name, 0) if isinstance(node, AudienceRef) else 1 for node in nodes(condition))
    return min(sum(sizes), MAX_PARTS + 1)


def check_names(condition: Condition, audiences: Mapping[str, Condition]) -> None:
    """Refuse a condition whose audiences do not end, or say more than can be asked of every visitor.

    It looks into each audience once, however often it is named.

    Parameters
    ----------
    condition : Condition
        Any condition.
    audiences : mapping of str to Condition
        Every named condition of the catalog.

    Raises
    ------
    InvalidDefinitionError
        As `resolve_audience`; E209, too, for more than `MAX_PARTS` parts written out.
    """
    sizes: dict[str, int] = {}
    depths: dict[str, int] = {}

    def look(part: Condition, opened: tuple[str, ...]) -> tuple[int, int]:
        names = audience_refs(part)
        for name in sorted(names):
            if name not in sizes:
                named = resolve_audience(name, audiences, opened)
                sizes[name], depths[name] = look(named, (*opened, name))
            _check_chain(len(opened) + depths[name])
        return parts_written_out(part, sizes), 1 + max((depths[name] for name in names), default=0)

    size, _ = look(condition, ())
    if size > MAX_PARTS:
        message = f"written out with its audiences, the condition has more than {MAX_PARTS:,} parts"
        raise InvalidDefinitionError(message, path=("audience",), code="E209", hint=SAY_LESS)


def _check_chain(length: int) -> None:
    if length > MAX_AUDIENCES:
        message = f"more than {MAX_AUDIENCES} audiences build on one another"
        raise InvalidDefinitionError(message, path=("audience",), code="E209")
