"""GrowthBook's conditions as ours, in the form that `parse_condition` takes."""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, TypeAlias

from experiments.errors import InvalidDefinitionError
from experiments.growthbook.patterns import UntranslatableError
from experiments.targeting.operators import TYPES
from experiments.targeting.patterns import check_pattern

Node: TypeAlias = dict[str, Any]
Groups: TypeAlias = Mapping[str, Any]

WORDS = frozenset({"all", "any", "none", "not", "audience", "behaviour"})
_SAME = {"$eq": "eq", "$ne": "ne", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_LISTS = {
    "$in": "in",
    "$nin": "not_in",
    "$ini": "in_any_case",
    "$nini": "not_in_any_case",
    "$all": "has_all",
    "$alli": "has_all_any_case",
}
_PATTERNS = {
    "$regex": "regex",
    "$regexi": "regex_any_case",
    "$notRegex": "not_regex",
    "$notRegexi": "not_regex_any_case",
}
_VERSIONS = {f"$v{name}": f"semver_{name}" for name in ("eq", "ne", "gt", "gte", "lt", "lte")}
_LOGIC = frozenset({"$or", "$nor", "$and", "$not", "$savedGroup", "$savedGroups"})


def always() -> Node:
    """Return the condition that holds for everybody."""
    return {}


def never() -> Node:
    """Return the condition that holds for nobody."""
    return {"not": {}}


def from_mongo(condition: object, *, groups: Groups | None = None) -> Node:
    """Return a GrowthBook condition as plain YAML data.

    Its SDKs answer false where an operand is malformed or an operator unknown: so does what is returned.
    A value that is compared without an operator must have the same type here; JavaScript is laxer.

    Parameters
    ----------
    condition : object
        JSON, as it stands in a features payload.
    groups : mapping of str to JSON
        The payload's `savedGroups`. Lists keep their id as their name.

    Returns
    -------
    dict
        For `parse_condition`; empty if it holds for everybody.

    Raises
    ------
    UntranslatableError
        If it means something that cannot be said here.

    Examples
    --------
    >>> from_mongo({"age": {"$gte": 18}, "$nor": [{"plan": "free"}]})
    {'all': [{'age': {'gte': 18}}, {'not': {'plan': {'eq': 'free'}}}]}
    """
    return _Reader(groups or {}).condition(condition, ())


def _every(parts: Sequence[Node]) -> Node:
    found = [part for part in parts if part]
    if never() in found:
        return never()
    if len(found) > 1:
        return {"all": found}
    return found[0] if found else always()


def _some(parts: Sequence[Node]) -> Node:
    if not parts or always() in parts:
        return always()
    found = [part for part in parts if part != never()]
    if len(found) > 1:
        return {"any": found}
    return found[0] if found else never()


def _not(part: Node) -> Node:
    return always() if part == never() else {"not": part}


def _only_if(*, holds: bool) -> Node:
    return always() if holds else never()


class _Reader:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def condition(self, node: object, opened: tuple[str, ...]) -> Node:
        if not isinstance(node, Mapping):
            raise UntranslatableError(f"a condition is an object, not {node!r}")
        return _every([self._member(key, value, opened) for key, value in node.items()])

    def _member(self, key: str, value: Any, opened: tuple[str, ...]) -> Node:  # noqa: ANN401 - JSON
        if key in ("$or", "$nor"):
            found = _some(self._list(value, opened))
            return found if key == "$or" else _not(found)
        match key:
            case "$and":
                return _every(self._list(value, opened))
            case "$not":
                return _not(self.condition(value, opened))
            case "$savedGroup":
                return self._saved_group(value, opened)
        if key in WORDS:
            raise UntranslatableError(f"an attribute cannot be called {key!r} here")
        return never() if key in _LOGIC else self._value(key, value)

    def _list(self, value: object, opened: tuple[str, ...]) -> list[Node]:
        if not isinstance(value, list):
            raise UntranslatableError(f"$and, $or and $nor take lists, not {value!r}")
        return [self.condition(part, opened) for part in value]

    def _saved_group(self, reference: object, opened: tuple[str, ...]) -> Node:
        name = reference.get("id") if isinstance(reference, Mapping) else None
        entry = self._groups.get(name) if isinstance(name, str) and name not in opened else None
        if not isinstance(entry, Mapping) or not isinstance(reference, Mapping) or not isinstance(name, str):
            return never()
        if entry.get("type") == "condition":
            inner = entry.get("condition")
            return self.condition(inner, (*opened, name)) if isinstance(inner, Mapping) else never()
        attribute = reference.get("attributeKey", entry.get("attributeKey"))
        if entry.get("type") != "list" or not isinstance(attribute, str):
            return never()
        return self._operator(attribute, "$inGroup", name)

    def _value(self, attribute: str, wanted: Any) -> Node:  # noqa: ANN401 - JSON
        if isinstance(wanted, Mapping) and wanted and all(key.startswith("$") for key in wanted):
            return _every([self._operator(attribute, op, operand) for op, operand in wanted.items()])
        return {attribute: {"eq": wanted}}

    def _operator(self, attribute: str, op: str, operand: Any) -> Node:  # noqa: ANN401 - JSON
        plain = next((read for names, read in _PLAIN if op in names), None)
        if plain is not None:
            return plain(attribute, op, operand)
        readers = {"$not": self._negated, "$size": self._sized, "$elemMatch": self._element}
        if op in readers:
            return readers[op](attribute, operand)
        if op in ("$inGroup", "$notInGroup"):
            return self._grouped(attribute, op, operand)
        return self._listed(attribute, op, operand) if op in _LISTS else never()

    def _negated(self, attribute: str, operand: Any) -> Node:  # noqa: ANN401 - JSON
        return _not(self._value(attribute, operand))

    def _listed(self, attribute: str, op: str, operand: Any) -> Node:  # noqa: ANN401 - JSON
        if not isinstance(operand, list):
            return never()
        if op in ("$all", "$alli") and any(isinstance(item, Mapping) for item in operand):
            return _every([self._element(attribute, _as_operators(item)) for item in operand])
        # Objects and lists are never found: JavaScript compares them by identity.
        members = [item for item in operand if not isinstance(item, Mapping | list)]
        if op in ("$all", "$alli") and len(members) < len(operand):
            raise UntranslatableError(f"{op} cannot ask for lists here")
        return {attribute: {_LISTS[op]: members}}

    def _grouped(self, attribute: str, op: str, name: object) -> Node:
        inside = op == "$inGroup"
        if not isinstance(name, str):
            return never()
        if name not in self._groups:
            return _only_if(holds=not inside)
        if members(self._groups[name]) is None:
            return never()
        return {attribute: {"in_list" if inside else "not_in_list": name}}

    def _sized(self, attribute: str, operand: Any) -> Node:  # noqa: ANN401 - JSON
        if isinstance(operand, Mapping):
            return self._inside(attribute, "size", operand)
        whole = isinstance(operand, int) and not isinstance(operand, bool) and operand >= 0
        return {attribute: {"size": operand}} if whole else never()

    def _element(self, attribute: str, operand: Any) -> Node:  # noqa: ANN401 - JSON
        if not isinstance(operand, Mapping):
            raise UntranslatableError(f"$elemMatch takes an object, not {operand!r}")
        on_value = bool(operand) and all(
            key.startswith("$") and key not in _LOGIC - {"$not"} for key in operand
        )
        if on_value:
            return self._inside(attribute, "any_element", operand)
        inner = self.condition(operand, ())
        if inner == never():
            return never()
        return (
            {attribute: {"any_element": inner}} if inner else {attribute: {"any_element": {"exists": True}}}
        )

    def _inside(self, attribute: str, op: str, operators: Mapping[str, Any]) -> Node:
        """Return operators asked of an element, or of a length, below the one attribute they concern."""
        inner = _stripped(self._value("", operators))
        if inner is None:
            return never()
        return {attribute: {op: inner or {"exists": True}}}


def members(group: object) -> list[Any] | None:
    """Return what a saved group lists; None for a group that is no list."""
    values = group.get("values") if isinstance(group, Mapping) and group.get("type") == "list" else group
    return values if isinstance(values, list) else None


def _stripped(node: Node) -> Node | None:
    """Return the operators of a node about the value itself: what `any_element` takes; None holds never."""
    if node == never():
        return None
    if set(node) == {""}:
        return dict(node[""])
    if set(node) == {"not"}:
        inner = _stripped(node["not"])
        return {} if inner is None else {"not": inner}
    if set(node) == {"all"}:
        found = [_stripped(part) or {} for part in node["all"]]
        names = [name for part in found for name in part]
        if len(set(names)) == len(names):
            return {name: operand for part in found for name, operand in part.items()}
    if not node:
        return {}
    raise UntranslatableError("too many operators on one element of a list")


def _as_operators(item: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    return item if isinstance(item, Mapping) else {"$eq": item}


def _compared(attribute: str, op: str, operand: Any) -> Node:  # noqa: ANN401 - JSON
    if op in ("$eq", "$ne"):
        # JavaScript compares lists and objects by identity: they are never the same one.
        if isinstance(operand, Mapping | list):
            return _only_if(holds=op == "$ne")
        return {attribute: {_SAME[op]: operand}}
    if isinstance(operand, bool) or not isinstance(operand, int | float | str):
        raise UntranslatableError(f"{op} takes a number or a text, not {operand!r}")
    return {attribute: {_SAME[op]: operand}}


def _pattern(attribute: str, op: str, operand: object) -> Node:
    negative = op.startswith("$not")
    try:
        re.compile(operand if isinstance(operand, str) else "(")
    except re.error:
        return _only_if(holds=negative)
    if not isinstance(operand, str) or not operand:
        return {"not": {attribute: {"type": "string"}}} if negative else {attribute: {"type": "string"}}
    try:
        check_pattern(operand, (), any_case=op.endswith("i"))
    except InvalidDefinitionError as error:
        raise UntranslatableError(f"{op}: {error}") from error
    return {attribute: {_PATTERNS[op]: operand}}


def _version(attribute: str, op: str, operand: object) -> Node:
    return {attribute: {_VERSIONS[op]: _version_text(operand)}}


def _version_text(operand: object) -> str:
    if isinstance(operand, str) and operand:
        return operand
    plain = isinstance(operand, int | float) and not isinstance(operand, bool) and operand
    return f"{operand:.15g}" if plain else "0"


def _existing(attribute: str, _op: str, operand: object) -> Node:
    return {attribute: {"exists": bool(operand)}}


def _typed(attribute: str, _op: str, operand: object) -> Node:
    return {attribute: {"type": operand}} if operand in TYPES else never()


_PLAIN: tuple[tuple[Container[str], Callable[[str, str, Any], Node]], ...] = (
    (_SAME, _compared),
    (_PATTERNS, _pattern),
    (_VERSIONS, _version),
    (("$exists",), _existing),
    (("$type",), _typed),
)
