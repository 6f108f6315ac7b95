"""The form of what a file says: a feature or saved group of another form is refused, and no other with it."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from experiments.growthbook.patterns import UntranslatableError

Check: TypeAlias = Callable[[Any], bool]

MAX_DEPTH = 32
MAX_BRACKETS = 100
_PAIR = 2
_NAMESPACE = 3
_PATTERNS = frozenset({"$regex", "$regexi", "$notRegex", "$notRegexi"})


def check_feature(feature: object) -> None:
    """Refuse a feature that is not of GrowthBook's form.

    Parameters
    ----------
    feature : object
        JSON.

    Raises
    ------
    UntranslatableError
        With what was expected, and where.

    Examples
    --------
    >>> check_feature({"defaultValue": 1, "rules": [{"force": 2, "coverage": "0.5"}]})
    Traceback (most recent call last):
    experiments.growthbook.patterns.UntranslatableError: malformed: 'coverage' takes a number, not '0.5'
    """
    if not isinstance(feature, Mapping):
        raise UntranslatableError("a feature is an object")
    _check_nesting(feature)
    _check("rules", feature.get("rules"), *_RULES)
    for rule in feature.get("rules") or []:
        for name, (fits, wanted) in _MEMBERS.items():
            _check(name, rule.get(name), fits, wanted)
        for one in rule.get("filters") or []:
            for name, (fits, wanted) in _OF_FILTERS.items():
                _check(f"filters: {name}", one.get(name), fits, wanted)
        for parent in rule.get("parentConditions") or []:
            _check("parentConditions: id", parent.get("id"), _is_text, "a text")


def malformed_group(group: object) -> str:
    """Say what is wrong with a saved group.

    Parameters
    ----------
    group : object
        JSON.

    Returns
    -------
    str
        Empty if nothing is.

    Examples
    --------
    >>> malformed_group(["u1", None])
    'its members are texts, numbers, true or false, not None'
    """
    try:
        _check_nesting(group)
    except UntranslatableError as error:
        return str(error)
    held = group.get("values") if isinstance(group, Mapping) and group.get("type") == "list" else group
    odd = [one for one in held if not isinstance(one, str | int | float)] if isinstance(held, list) else []
    return f"its members are texts, numbers, true or false, not {odd[0]!r:.40}" if odd else ""


def groups_named(node: object) -> set[str]:
    """Return the saved groups that a condition, or whatever holds conditions, names itself.

    Parameters
    ----------
    node : object
        JSON of a sound form.

    Returns
    -------
    set of str

    Examples
    --------
    >>> groups_named([{"id": {"$inGroup": "vips"}}, {"$savedGroup": {"id": "staff"}}]) == {"vips", "staff"}
    True
    """
    if isinstance(node, list):
        return {name for one in node for name in groups_named(one)}
    if not isinstance(node, Mapping):
        return set()
    found = {name for one in node.values() for name in groups_named(one)}
    asked = [node.get("$inGroup"), node.get("$notInGroup")]
    reference = node.get("$savedGroup")
    if isinstance(reference, Mapping):
        asked.append(reference.get("id"))
    return found | {name for name in asked if isinstance(name, str)}


def _check_nesting(node: object) -> None:
    """Refuse what is nested too deep for everything that reads it, a level at a time."""
    level = [node]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                _check_brackets(one)
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return
        level = inner
    raise UntranslatableError(f"malformed: nested deeper than {MAX_DEPTH}")


def _check_brackets(node: Mapping[str, Any]) -> None:
    for name in _PATTERNS & node.keys():
        if str(node[name]).count("(") > MAX_BRACKETS:
            raise UntranslatableError(f"malformed: {name} with more than {MAX_BRACKETS} brackets")


def _check(name: str, value: object, fits: Check, wanted: str) -> None:
    if value is not None and not fits(value):
        raise UntranslatableError(f"malformed: {name!r} takes {wanted}, not {value!r:.60}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_range(value: object) -> bool:
    return _are(_is_number)(value) and isinstance(value, list) and len(value) == _PAIR


def _is_namespace(value: Any) -> bool:  # noqa: ANN401 - JSON
    return (
        isinstance(value, list) and len(value) == _NAMESPACE and _is_text(value[0]) and _is_range(value[1:])
    )


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _are(fits: Check) -> Check:
    return lambda value: isinstance(value, list) and all(fits(one) for one in value)


_RULES = (_are(_is_object), "a list of objects")
_MEMBERS: Mapping[str, tuple[Check, str]] = {
    "condition": (_is_object, "an object"),
    "variations": (_is_list, "a list"),
    "contextualVariations": (_is_list, "a list"),
    "weights": (_are(_is_number), "a list of numbers"),
    "ranges": (_are(_is_range), "a list of pairs of numbers"),
    "range": (_is_range, "a pair of numbers"),
    "coverage": (_is_number, "a number"),
    "meta": (_are(_is_object), "a list of objects"),
    "namespace": (_is_namespace, "a name and two numbers"),
    "filters": (_are(_is_object), "a list of objects"),
    "parentConditions": (_are(_is_object), "a list of objects"),
    "hashVersion": (_is_number, "a number"),
    "hashAttribute": (_is_text, "a text"),
    "seed": (_is_text, "a text"),
    "key": (_is_text, "a text"),
}
_OF_FILTERS: Mapping[str, tuple[Check, str]] = {
    "ranges": (_are(_is_range), "a list of pairs of numbers"),
    "hashVersion": (_is_number, "a number"),
    "attribute": (_is_text, "a text"),
    "seed": (_is_text, "a text"),
}
