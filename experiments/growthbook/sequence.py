"""The rules of a feature, first match wins, as the one question that a flag or experiment asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from experiments.growthbook.gating import Rule
from experiments.growthbook.patterns import UntranslatableError
from experiments.growthbook.ranges import buckets_of
from experiments.growthbook.reading import Groups, from_mongo, never
from experiments.lifecycle import TOTAL_BP

Node: TypeAlias = dict[str, Any]

_HOLDOUT_ARMS = 2


@dataclass(frozen=True, slots=True)
class Held:
    """A share of the units that a holdout keeps out."""

    seed: str
    share_bp: int


@dataclass(slots=True, kw_only=True)
class Chosen:
    """What the rules of one feature come down to.

    Attributes
    ----------
    default : JSON
        What is served to who is not chosen; None if the feature has no default.
    rule : mapping
        The rule that splits or forces; empty if everybody gets the default.
    audience : dict
        Who is asked at all, as plain YAML data; empty is everybody.
    parents : list of mapping
        What other features must serve.
    blocks : bool
        Whether a failing parent made the feature null.
    overrides : dict of variant's place to ids
        Units that get one variant in any case.
    """

    default: Any
    rule: Rule = field(default_factory=dict)
    audience: Node = field(default_factory=dict)
    parents: list[Rule] = field(default_factory=list)
    blocks: bool = False
    overrides: dict[int, list[str]] = field(default_factory=dict)
    held: Held | None = None

    @property
    def is_experiment(self) -> bool:
        """Whether the rule has variations."""
        return _variations(self.rule) is not None


def choose(feature: Rule, groups: Groups) -> Chosen:
    """Return what the rules of one feature come down to.

    Parameters
    ----------
    feature : mapping
        With ``defaultValue`` and ``rules``.
    groups : mapping
        The payload's saved groups.

    Returns
    -------
    Chosen

    Raises
    ------
    UntranslatableError
        If one flag or experiment cannot say it.
    """
    found = Chosen(default=feature.get("defaultValue"))
    rules = _effective(feature.get("rules") or [], found)
    place = next((i for i, rule in enumerate(rules) if _is_split(rule)), None)
    if place is None:
        return _forced(found, rules, groups)
    before, rule, after = rules[:place], rules[place], rules[place + 1 :]
    if _is_holdout(rule) and after and _variations(after[0]) is not None:
        found.held, found.default = _held(rule)
        rule, after = after[0], after[1:]
    found.rule = rule
    _end(found, after)
    found.parents += rule.get("parentConditions") or []
    left_out: list[Node] = []
    for one in before:
        if one.get("parentConditions"):
            raise UntranslatableError("a rule with prerequisites stands before the one that splits")
        if one["force"] == found.default:
            left_out.append({"not": from_mongo(one.get("condition") or {}, groups=groups)})
        elif left_out or found.blocks:
            raise UntranslatableError(
                "a rule for ids stands behind another rule; here an override comes first"
            )
        else:
            _override(found, one)
    found.audience = _every([from_mongo(rule.get("condition") or {}, groups=groups), *left_out])
    return found


def _effective(rules: Sequence[Rule], found: Chosen) -> list[Rule]:
    """Return the rules that can serve a value; take the parents of those that only block."""
    kept: list[Rule] = []
    for rule in rules:
        if _variations(rule) is not None or rule.get("force") is not None:
            kept.append(rule)
        elif any(parent.get("gate") for parent in rule.get("parentConditions") or []):
            if kept:
                raise UntranslatableError("a prerequisite blocks only what its first rules leave over")
            found.parents += rule["parentConditions"]
            found.blocks = True
    return kept


def _variations(rule: Rule) -> Sequence[Any] | None:
    given = rule.get("contextualVariations")
    return given if given is not None else rule.get("variations")


def _is_split(rule: Rule) -> bool:
    if rule.get("force") is None:
        return True
    return any(name in rule for name in ("coverage", "range")) or bool(rule.get("filters"))


def _is_holdout(rule: Rule) -> bool:
    meta, ranges = rule.get("meta") or [], rule.get("ranges") or []
    passes = [bool(arm.get("passthrough")) for arm in meta]
    return len(ranges) == _HOLDOUT_ARMS and passes == [False, True]


def _held(rule: Rule) -> tuple[Held, Any]:
    held, passing = (buckets_of(one) for one in rule["ranges"])
    plain = not any(rule.get(name) for name in ("condition", "parentConditions", "filters", "namespace"))
    if not plain or rule.get("hashVersion") != 2 or held[0] or passing != (held[1], TOTAL_BP):  # noqa: PLR2004
        raise UntranslatableError("a holdout that is more than a share of everybody, or hashed by version 1")
    return Held(str(rule.get("seed") or rule.get("key") or ""), held[1]), (_variations(rule) or [None])[0]


def _end(found: Chosen, after: Sequence[Rule]) -> None:
    """Take the value of a last rule for everybody as the default."""
    if not after:
        return
    last = after[0]
    if _is_split(last) or last.get("condition") or last.get("parentConditions") or found.held is not None:
        raise UntranslatableError("a second rule follows the one that splits: one definition asks once")
    found.default = last["force"]


def _override(found: Chosen, rule: Rule) -> None:
    """Note whom a rule in front gives a variant in any case; the first that names a unit counts."""
    values = _variations(found.rule) or []
    units = _ids(rule.get("condition"), str(found.rule.get("hashAttribute") or "id"))
    if units is None or rule["force"] not in values:
        raise UntranslatableError("a rule in front of the one that splits serves another value")
    known = {unit for named in found.overrides.values() for unit in named}
    fresh = [unit for unit in dict.fromkeys(units) if unit not in known]
    if fresh:
        found.overrides.setdefault(list(values).index(rule["force"]), []).extend(fresh)


def _ids(condition: object, unit: str) -> list[str] | None:
    """Return the ids that a condition lists, None if it says anything else."""
    if not isinstance(condition, Mapping) or set(condition) != {unit}:
        return None
    said = condition[unit]
    listed = said.get("$in") if isinstance(said, Mapping) and set(said) == {"$in"} else [said]
    return (
        listed if isinstance(listed, list) and all(isinstance(one, str) and one for one in listed) else None
    )


def _forced(found: Chosen, rules: Sequence[Rule], groups: Groups) -> Chosen:
    """Bring rules without a split down to one condition and one value beside the default."""
    conditional: list[Rule] = []
    for rule in rules:
        if not rule.get("condition") and not rule.get("parentConditions"):
            found.default = rule["force"]
            break
        conditional.append(rule)
    others = [rule for rule in conditional if rule["force"] != found.default]
    if not others:
        return found
    if any(rule["force"] != others[0]["force"] for rule in others):
        raise UntranslatableError("its rules serve more than two values: a flag has one beside its default")
    if any(rule.get("parentConditions") for rule in conditional) and len(conditional) > 1:
        raise UntranslatableError("several rules, of which some have prerequisites")
    found.rule = {"force": others[0]["force"]}
    found.parents += conditional[0].get("parentConditions") or []
    audience = never()
    for rule in reversed(conditional):
        asked = from_mongo(rule.get("condition") or {}, groups=groups)
        chosen = rule["force"] != found.default
        audience = _some([asked, audience]) if chosen else _every([{"not": asked}, audience])
    found.audience = audience
    return found


def _every(parts: Sequence[Node]) -> Node:
    kept = [part for part in parts if part]
    return {"all": kept} if len(kept) > 1 else kept[0] if kept else {}


def _some(parts: Sequence[Node]) -> Node:
    if any(not part for part in parts):
        return {}
    kept = [part for part in parts if part != never()]
    return {"any": kept} if len(kept) > 1 else kept[0] if kept else never()
