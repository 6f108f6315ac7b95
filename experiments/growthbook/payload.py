"""What GrowthBook's SDKs read: every definition as a feature whose rules decide as `compile_catalog` does.

It may be published: no id and no address of anybody is in it, and nothing of what has not been launched.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from experiments.allocation import Definition, bucket_ranges, is_shipped, passages
from experiments.definitions import Catalog, Experiment, Flag, JsonValue
from experiments.gates import SERVED_VALUE
from experiments.growthbook.conditions import Node, every, to_mongo
from experiments.growthbook.patterns import UntranslatableError
from experiments.hashing import bucket
from experiments.identifiers import MAX_IDENTIFIER
from experiments.lifecycle import TOTAL_BP, Status
from experiments.plans import EVERYTHING
from experiments.targeting.compiler import compile_condition
from experiments.targeting.conditions import UNITS, Condition, needs_server
from experiments.targeting.lists import hashed_member

Rule: TypeAlias = dict[str, Any]

HASH_VERSION = 2
PER_RULE = 100
STRANGERS = 1.01e-12
"""So often may a stranger have the buckets, under independent seeds, that tell the units of one rule."""

# What `is_identifier` says, for SDKs: JavaScript sees a character beyond U+FFFF as two halves.
IDENTIFIER = (
    "^(?:[\\uD800-\\uDBFF][\\uDC00-\\uDFFF]|[^\\u0000-\\u001f\\u007f-\\u009f\\uD800-\\uDFFF\\u061c"
    "\\u200b\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2060\\u2066-\\u2069\\ufeff])"
    f"{{1,{MAX_IDENTIFIER}}}(?![\\s\\S])"
)


def payload(catalog: Catalog, *, killed: frozenset[str] = frozenset(), now: datetime) -> dict[str, Any]:
    """Return features and saved groups for GrowthBook's SDKs, as of a moment.

    It is good until the next start, end or ramp step (`CompiledCatalog.next_change`). A definition that no
    browser can or may decide (see `hidden`) has only its default value: such need remote evaluation.

    Parameters
    ----------
    catalog : Catalog
        One revision.
    killed : frozenset of str
        Keys that serve their default; ``*`` is all of them.
    now : datetime
        Aware.

    Returns
    -------
    dict
        JSON with ``features`` and ``savedGroups``; equal for equal arguments.

    References
    ----------
    .. [1] GrowthBook SDK specification 0.8.0, "Feature", "FeatureRule".

    Examples
    --------
    >>> from datetime import UTC
    >>> catalog = Catalog(flags={"dark": Flag(key="dark")})
    >>> payload(catalog, now=datetime(2027, 1, 1, tzinfo=UTC))["features"]
    {'dark': {'defaultValue': False, 'rules': [{'force': True}]}}
    """
    writer = _Writer(catalog, killed, now)
    found = {key: writer.feature(one) for key, one in sorted(_served(catalog).items())}
    used = {name for name in _strings(list(found.values())) if name in catalog.lists}
    groups = {name: sorted({hashed_member(name, v) for v in catalog.lists[name]}) for name in sorted(used)}
    return {"features": found, "savedGroups": groups}


def hidden(catalog: Catalog, key: str) -> str:
    """Say why a definition leaves no rule in a payload that anybody may read.

    Parameters
    ----------
    catalog : Catalog
        One revision.
    key : str
        Of a flag or experiment that is no draft.

    Returns
    -------
    str
        The reason; empty when every SDK decides it by itself.

    Examples
    --------
    >>> from experiments.targeting.conditions import Leaf
    >>> members = Flag(key="vip", audience=Leaf("user_id", "eq", "u1"))
    >>> hidden(Catalog(flags={"vip": members}), "vip")
    "it writes out ids of 'user_id'"
    """
    return _Publicity(catalog).reason(key)


def default_value(definition: Definition) -> JsonValue:
    """Return what a definition serves to whom it does not enrol.

    Parameters
    ----------
    definition : Experiment or Flag
        Any.

    Returns
    -------
    JsonValue
    """
    return definition.otherwise if isinstance(definition, Flag) else definition.default_value


def _served(catalog: Catalog) -> dict[str, Definition]:
    everything: dict[str, Definition] = {**catalog.experiments, **catalog.flags}
    return {key: one for key, one in everything.items() if one.status is not Status.DRAFT}


class _Publicity:
    """Says what may be published; each condition is looked at once."""

    def __init__(self, catalog: Catalog) -> None:
        self.served = _served(catalog)
        self._audiences = catalog.audiences
        self._units = UNITS | {one.unit for one in self.served.values()}
        self._own: dict[str, str] = {}

    def reason(self, key: str) -> str:
        opened = [key]
        for name in opened:
            one = self.served.get(name)
            if one is None:
                continue
            if name not in self._own:
                self._own[name] = self._of(one)
            if self._own[name]:
                return self._own[name] if name == key else f"it needs {name!r}: {self._own[name]}"
            opened += [needed.key for needed in one.prerequisites if needed.key not in opened]
        return ""

    def _of(self, one: Definition) -> str:
        conditions = (one.audience, *(needed.condition for needed in one.prerequisites))
        return next((why for asked in conditions if asked and (why := self._why(asked))), "")

    def _why(self, condition: Condition) -> str:
        reason = needs_server(condition, self._audiences, units=self._units)
        if reason:
            return reason
        try:
            to_mongo(condition, self._audiences)
        except UntranslatableError as error:
            return str(error)
        return ""


class _Writer:
    """Writes the features of one payload."""

    def __init__(self, catalog: Catalog, killed: frozenset[str], now: datetime) -> None:
        self._catalog = catalog
        self._publicity = _Publicity(catalog)
        self._served = self._publicity.served
        self._everything: dict[str, Definition] = {**catalog.experiments, **catalog.flags}
        self._killed = killed
        self._now = now
        self._made: dict[str, list[Rule]] = {}

    def rules(self, key: str) -> list[Rule]:
        """Return the rules of one definition, made once however many need it; a draft has none."""
        if key not in self._made:
            one = self._served.get(key)
            self._made[key] = [] if one is None else list(self._rules(one))
        return self._made[key]

    def feature(self, one: Definition) -> dict[str, Any]:
        rules = self.rules(one.key)
        found: dict[str, Any] = {"defaultValue": default_value(one)}
        return {**found, "rules": rules} if rules else found

    def _rules(self, one: Definition) -> Iterator[Rule]:
        killed = one.key in self._killed or EVERYTHING in self._killed
        closed = killed or one.status in (Status.PAUSED, Status.STOPPED) or not self._is_launched(one)
        if closed or self._publicity.reason(one.key):
            return
        yield from _overrides(one)
        share = TOTAL_BP if is_shipped(one) else one.share_at(self._now)
        if not one.schedule.is_open(self._now) or not share or not self._may_be_met(one):
            return
        rule = _of_experiment(one, share) if isinstance(one, Experiment) else _rollout(one, share)
        if rule:
            yield self._gated(one, rule)

    def _may_be_met(self, one: Definition) -> bool:
        """Return whether what `one` needs may be served: what has no rules serves everybody its default."""
        return all(
            compile_condition(needed.condition, self._catalog.audiences, lists=self._catalog.lists)(
                {SERVED_VALUE: default_value(self._everything[needed.key])}
            )
            for needed in one.prerequisites
            if not self.rules(needed.key)
        )

    def _is_launched(self, one: Definition) -> bool:
        begun = one.schedule.start_at is None or one.schedule.start_at <= self._now
        return begun and (is_shipped(one) or not one.ramp or one.ramp[0].at <= self._now)

    def _gated(self, one: Definition, rule: Rule) -> Rule:
        filters = [
            _filter(one.unit, door.salt, (door.start, door.end), hash_version=door.hash_version)
            for door in passages(one)
        ]
        parts = [] if one.audience is None else [to_mongo(one.audience, self._catalog.audiences)]
        if "hashAttribute" in rule or filters:
            parts.insert(0, identified(one.unit))
        parents = [
            {"id": needed.key, "condition": to_mongo(needed.condition, self._catalog.audiences)}
            for needed in one.prerequisites
            if needed.key in self._served
        ]
        gates = {"condition": every(parts), "filters": filters, "parentConditions": parents}
        return {**rule, **{name: gate for name, gate in gates.items() if gate}}


def identified(unit: str) -> Node:
    """Return the condition that a unit has an id which the engine accepts as one.

    Parameters
    ----------
    unit : str
        The attribute that holds it.

    Returns
    -------
    dict
        In GrowthBook's form.
    """
    # JavaScript writes a number out before it looks for the point; elsewhere a number fits no pattern.
    number = {"$type": "number", "$not": {"$regex": "[.e]"}}
    return {"$or": [{unit: {"$type": "string", "$regex": IDENTIFIER}}, {unit: number}]}


def _of_experiment(one: Experiment, share: int) -> Rule:
    """Return the rule that splits; of what is shipped one that reports no exposure."""
    if not one.shipped:
        return _split(one, share)
    value = _values(one)[one.shipped]
    return {} if value is None else {"force": value}


def _split(one: Experiment, share: int) -> Rule:
    ranges = bucket_ranges(one, share_bp=share)
    return {
        "key": one.key,
        "seed": one.salt,
        "hashAttribute": one.unit,
        "hashVersion": HASH_VERSION,
        "variations": [variant.value for variant in one.variants],
        "ranges": [_shares(start, end) for start, end, _key in ranges],
        "meta": [{"key": variant.key} for variant in one.variants],
        "phase": str(one.phase),
        "disableStickyBucketing": True,
    }


def _rollout(one: Flag, share: int) -> Rule:
    if one.value is None:
        return {}
    if share == TOTAL_BP and not one.ramp:
        return {"force": one.value}
    ((start, end, _key),) = bucket_ranges(one, share_bp=share)
    return {
        "force": one.value,
        "seed": one.salt,
        "hashAttribute": one.unit,
        "hashVersion": HASH_VERSION,
        "range": _shares(start, end),
    }


def _overrides(one: Definition) -> Iterator[Rule]:
    """Yield a rule for each variant that units are forced into; no SDK reports an exposure for such."""
    values = {"on": one.value, "off": one.otherwise} if isinstance(one, Flag) else _values(one)
    for variant_key, units in one.overrides.items():
        for start in range(0, len(units), PER_RULE):
            yield {
                "force": values[variant_key],
                "condition": identified(one.unit),
                "filters": _told_by(one, variant_key, units[start : start + PER_RULE]),
            }


def _told_by(one: Definition, variant_key: str, units: Sequence[str]) -> list[Rule]:
    """Return filters that these units pass, each by one of its buckets, and hardly anybody else."""
    found: list[Rule] = []
    odds = 1.0
    while odds > STRANGERS:
        seed = f"override:{one.key}:{variant_key}:{len(found)}:"
        numbers = sorted({bucket(seed, unit_id) for unit_id in units})
        ranges = [_shares(number, number + 1) for number in numbers]
        found.append({"attribute": one.unit, "seed": seed, "hashVersion": HASH_VERSION, "ranges": ranges})
        odds *= len(numbers) / TOTAL_BP
    return found


def _values(one: Experiment) -> dict[str, JsonValue]:
    return {variant.key: variant.value for variant in one.variants}


def _filter(unit: str, seed: str, range_: tuple[int, int], *, hash_version: int = HASH_VERSION) -> Rule:
    return {"attribute": unit, "seed": seed, "hashVersion": hash_version, "ranges": [_shares(*range_)]}


def _shares(start: int, end: int) -> list[float]:
    return [start / TOTAL_BP, end / TOTAL_BP]


def _strings(node: object) -> Iterator[str]:
    """Yield every text that is an operand of a list operator."""
    if isinstance(node, list):
        for item in node:
            yield from _strings(item)
    elif isinstance(node, dict):
        for name, item in node.items():
            if name in ("$inGroup", "$notInGroup") and isinstance(item, str):
                yield item
            else:
                yield from _strings(item)
