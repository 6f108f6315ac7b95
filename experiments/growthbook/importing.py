"""Take definitions over from GrowthBook: each feature becomes one flag or experiment, and nobody moves.

What cannot be said here is told by feature, with the reason. Hash version 1 is not taken over: its buckets
depend on one another, and half of the people would get another variant. Layers may use it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from experiments.growthbook.gating import V2, Door, Rule, doors_of, needs_of
from experiments.growthbook.patterns import UntranslatableError
from experiments.growthbook.ranges import buckets_of, split_of
from experiments.growthbook.reading import from_mongo, members
from experiments.growthbook.sequence import Chosen, choose
from experiments.growthbook.shapes import check_feature, groups_named, malformed_group
from experiments.lifecycle import TOTAL_BP
from experiments.notation import percent

Node: TypeAlias = dict[str, Any]

METRIC = "goal"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_RESERVED = frozenset({"default", "on", "off"})
_LONGEST = 64


@dataclass(slots=True)
class Imported:
    """What was taken over.

    Attributes
    ----------
    definitions : dict of key to mapping
        Flags and experiments, each as its file says it.
    collections : dict
        ``layers``, ``holdouts`` and ``lists`` that they use.
    renamed : dict of feature to key
        Features that code must ask for under another name.
    refused : dict of feature to reason
        Features that are not taken over.
    notes : list of (feature, text)
        What differs in an imported feature.
    """

    definitions: dict[str, Node] = field(default_factory=dict)
    collections: dict[str, Node] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)


def import_features(payload: Mapping[str, Any], *, metric: str = METRIC) -> Imported:
    """Return GrowthBook's features as definitions of a catalog.

    Parameters
    ----------
    payload : mapping
        What its ``/api/features/<client key>`` answers: ``features``, ``savedGroups``, ``contextualBandits``.
    metric : str
        Key of the metric that judges every experiment; a payload names none.

    Returns
    -------
    Imported
        Plain data; whether it is a good catalog the loader says.

    Examples
    --------
    >>> found = import_features({"features": {"dark": {"defaultValue": False, "rules": [{"force": True}]}}})
    >>> found.definitions
    {'dark': {'flag': 'dark', 'value': True, 'otherwise': True}}
    """
    return _Importer(payload, metric).run()


def usable_name(text: str) -> str:
    """Return a key like `text` that a definition may have; empty if there is none.

    Parameters
    ----------
    text : str
        Any name.

    Returns
    -------
    str

    Examples
    --------
    >>> usable_name("newCheckout v2"), usable_name("dark-mode")
    ('new-checkout-v2', 'dark-mode')
    """
    if _NAME.fullmatch(text):
        return text
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text)
    found = re.sub(r"[^a-z0-9_-]+", "-", words.lower()).strip("-_")[:_LONGEST]
    return found if _NAME.fullmatch(found) else ""


class _Importer:
    def __init__(self, payload: Mapping[str, Any], metric: str) -> None:
        self._features: Mapping[str, Any] = payload.get("features") or {}
        groups, bandits = payload.get("savedGroups") or {}, payload.get("contextualBandits") or {}
        self._groups: Mapping[str, Any] = groups if isinstance(groups, Mapping) else {}
        self._no_groups = "" if isinstance(groups, Mapping) else "malformed: 'savedGroups' takes an object"
        self._bandits: Mapping[str, Any] = bandits if isinstance(bandits, Mapping) else {}
        self._metric = metric
        self._found = Imported()
        self._keys: dict[str, str] = {}

    def run(self) -> Imported:
        for feature in sorted(self._features):
            self._name(feature)
        for feature, key in self._keys.items():
            try:
                self._found.definitions[key] = self._feature(feature, key)
            except UntranslatableError as error:
                self._found.refused[feature] = str(error)
        self._refuse_dependents()
        return self._found

    def _name(self, feature: str) -> None:
        key = usable_name(feature)
        if not key or key in self._keys.values():
            self._found.refused[feature] = "no key is left for it: lower-case letters, digits, '-' and '_'"
            return
        self._keys[feature] = key
        if key != feature:
            self._found.renamed[feature] = key

    def _refuse_dependents(self) -> None:
        """Refuse what needs a feature that is refused, until nothing is left to refuse."""
        names = {key: feature for feature, key in self._keys.items()}
        while True:
            lost = {
                key: other
                for key, one in self._found.definitions.items()
                for other in one.get("prerequisites", {})
                if other not in self._found.definitions
            }
            if not lost:
                return
            for key, other in lost.items():
                del self._found.definitions[key]
                self._found.refused[names[key]] = (
                    f"it needs {names.get(other, other)!r}, which is not taken over"
                )

    def _note(self, feature: str, text: str) -> None:
        self._found.notes.append((feature, text))

    def _feature(self, feature: str, key: str) -> Node:
        described = self._features[feature]
        check_feature(described)
        self._check_groups(described)
        chosen = choose(described, self._groups)
        if chosen.blocks:
            self._note(feature, "whom a prerequisite blocks gets the default here; GrowthBook gave null")
        one = (
            self._experiment(feature, key, chosen)
            if chosen.is_experiment
            else self._flag(feature, key, chosen)
        )
        needs = needs_of(chosen.parents, self._groups)
        if needs:
            one["prerequisites"] = {self._key_of(parent): wanted for parent, wanted in needs.items()}
        if chosen.audience:
            one["audience"] = self._with_lists(chosen.audience)
        return one

    def _check_groups(self, described: Node) -> None:
        """Refuse a feature that asks for a malformed group, also through other groups."""
        names = sorted(groups_named(described.get("rules") or []))
        if names and self._no_groups:
            raise UntranslatableError(self._no_groups)
        for name in names:
            group = self._groups.get(name)
            reason = malformed_group(group)
            if reason:
                raise UntranslatableError(f"the saved group {name!r} is malformed: {reason}")
            names += sorted(groups_named(group) - set(names))

    def _key_of(self, parent: str) -> str:
        if parent not in self._features:
            raise UntranslatableError(f"it needs {parent!r}, which is not in the file")
        return self._keys.get(parent, parent)

    def _flag(self, feature: str, key: str, chosen: Chosen) -> Node:
        rule = chosen.rule
        value = rule["force"] if rule else chosen.default
        otherwise = chosen.default
        if otherwise is None and isinstance(value, bool):
            otherwise = False
            self._note(feature, "it has no default value: false is served instead of the code's own default")
        one: Node = {"flag": key, "value": value, "otherwise": otherwise}
        if not rule:
            return one
        doors = self._rollout(feature, rule, one)
        self._place(one, doors)
        return one

    def _rollout(self, feature: str, rule: Rule, one: Node) -> list[Door]:
        """Add what a percentage rollout says; return the doors before it."""
        filters = rule.get("filters") or []
        partly = "range" in rule or "coverage" in rule
        unit = str(rule.get("hashAttribute") or (filters[0].get("attribute") if filters else None) or "id")
        doors = doors_of(rule, unit)
        if partly or filters:
            one["unit"] = unit
        if not partly:
            return doors
        _check_hash(rule)
        seed = str(rule.get("seed") or feature)
        place = buckets_of(rule["range"] if "range" in rule else (0, rule["coverage"]))
        if place[0]:
            # A range in the middle is a place in a layer of its own.
            return [*doors, Door(seed, V2, unit, place)]
        return one.update(seed=seed, allocation=percent(place[1])) or doors

    def _experiment(self, feature: str, key: str, chosen: Chosen) -> Node:
        rule = self._settled_bandit(chosen.rule)
        values = list(rule["variations"])
        if len(values) < 2:  # noqa: PLR2004 - an experiment
            raise UntranslatableError("an experiment with fewer than two variations is no experiment")
        _check_hash(rule)
        weights, allocation, n_joined, n_left = split_of(rule, len(values))
        if n_joined or n_left:
            self._note(
                feature, f"of 10,000 buckets {n_joined} join and {n_left} leave: shares are whole here"
            )
        unit = str(rule.get("hashAttribute") or "id")
        names = self._variant_names(feature, rule, len(values))
        one: Node = {
            "experiment": key,
            "unit": unit,
            "seed": str(rule.get("seed") or rule.get("key") or feature),
            "allocation": percent(allocation),
            "variants": {
                name: {"weight": percent(weight), "value": value}
                for name, weight, value in zip(names, weights, values, strict=True)
            },
            "metrics": {"primary": self._metric},
        }
        if chosen.default is None and values[0] is not None:
            self._note(feature, "it has no default value: who is not enrolled gets the control's")
        elif chosen.default != values[0]:
            one["otherwise"] = chosen.default
        if chosen.overrides:
            one["overrides"] = {names[i]: units for i, units in chosen.overrides.items()}
        if rule.get("key", feature) != key:
            self._note(feature, f"GrowthBook's experiment {rule.get('key', feature)!r} is {key!r} here")
        doors = doors_of(rule, unit)
        if chosen.held is not None:
            doors.append(Door(chosen.held.seed, V2, unit, (chosen.held.share_bp, TOTAL_BP)))
            self._note(feature, "who has no id gets what the holdout gets; GrowthBook gave the default")
        self._place(one, doors)
        return one

    def _settled_bandit(self, rule: Rule) -> Rule:
        """Return a rule whose weights are fixed: of a contextual bandit only one without contexts is."""
        if rule.get("contextualVariations") is None:
            return rule
        bandit = self._bandits.get(str(rule.get("contextualBanditRef")))
        contexts = (bandit.get("contexts") if isinstance(bandit, Mapping) else None) or []
        plain: Node = {**rule, "variations": rule["contextualVariations"]}
        if not contexts:
            return plain
        check_feature({"rules": contexts})
        if contexts[0].get("condition"):
            raise UntranslatableError("a contextual bandit chooses weights by person: not taken over")
        return {**plain, "weights": contexts[0].get("weights")}

    def _variant_names(self, feature: str, rule: Rule, n: int) -> list[str]:
        meta = rule.get("meta") or []
        found = [str((meta[i] if i < len(meta) else {}).get("key") or i) for i in range(n)]
        good = all(_NAME.fullmatch(name) and name not in _RESERVED for name in found)
        if good and len(set(found)) == n and "control" not in found[1:]:
            return found
        self._note(feature, "its variants are called by number: their keys cannot be used here")
        return [str(i) for i in range(n)]

    # --- what definitions share

    def _place(self, one: Node, doors: list[Door]) -> None:
        """Put a definition into a layer and a holdout."""
        for door in doors:
            if door.version == V2 and door.end == TOTAL_BP and "holdout" not in one and len(doors) > 1:
                one["holdout"] = self._holdout(door)
            elif "layer" not in one:
                width = door.end - door.start
                if not width:
                    raise UntranslatableError("a filter that nobody passes")
                name = self._shared("layers", door, {"hash_version": door.version, "seed": door.seed})
                one["layer"] = {"name": name, "from": percent(door.start), "share": percent(width)}
            else:
                raise UntranslatableError("more filters than a layer and a holdout can say")

    def _holdout(self, door: Door) -> str:
        return self._shared("holdouts", door, {"share": percent(door.start), "seed": door.seed})

    def _shared(self, kind: str, door: Door, about: Node) -> str:
        """Return the name of a layer or holdout like that, declared once."""
        declared = self._found.collections.setdefault(kind, {})
        wanted = {"unit": door.unit, **about}
        base = usable_name(door.seed) or kind[:-1]
        names = [base, *(f"{base[: _LONGEST - 3]}-{i}" for i in range(2, 99))]
        for name in names:
            if declared.setdefault(name, wanted) == wanted:
                return name
        raise UntranslatableError(f"too many {kind} called {base!r}")

    def _with_lists(self, node: Any) -> Any:  # noqa: ANN401 - plain data
        """Return a condition whose saved groups are lists of the catalog."""
        if isinstance(node, list):
            return [self._with_lists(part) for part in node]
        if not isinstance(node, Mapping):
            return node
        return {
            name: self._list(part) if name in ("in_list", "not_in_list") else self._with_lists(part)
            for name, part in node.items()
        }

    def _list(self, group: str) -> str:
        name = usable_name(group)
        if not name:
            raise UntranslatableError(f"the saved group {group!r} cannot be called so here")
        held = members(self._groups[group]) or []
        if self._found.collections.setdefault("lists", {}).setdefault(name, held) != held:
            raise UntranslatableError(f"two saved groups would be called {name!r}")
        return name


def _check_hash(rule: Rule) -> None:
    if (rule.get("hashVersion") or 1) != V2:
        raise UntranslatableError(
            f"hash version {rule.get('hashVersion') or 1}: here everybody would be split anew; "
            "finish it there, or start it anew here"
        )


__all__ = ["Imported", "from_mongo", "import_features", "usable_name"]
