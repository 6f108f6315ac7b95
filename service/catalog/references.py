"""Do definitions fit together? Every name that one mentions must be defined by another."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from experiments.definitions import Experiment, Metric, MetricKind
from experiments.notation import duration_words
from experiments.plans import MAX_CHAIN
from experiments.targeting import audience_refs
from experiments.targeting.named import MAX_PARTS, SAY_LESS, parts_written_out
from service.catalog import goal_schema, money_schema, places
from service.catalog.fields import Said, as_text, percent_in
from service.catalog.findings import did_you_mean
from service.catalog.keeping import DAY_S
from service.catalog.webhooks import WEBHOOKS

PREREQUISITES = "prerequisites"
SERVED = frozenset({"experiment", "flag", "flags"})
LIST_OPERATORS = frozenset({"in_list", "not_in_list"})

Path = tuple[str | int, ...]
Mention = tuple[Path, str]


class Placed(Protocol):
    """A definition as the loader holds it."""

    @property
    def kind(self) -> str:
        """Kind as written: experiment, flag or the name of a collection."""
        ...

    @property
    def key(self) -> str:
        """The name of the definition."""
        ...

    @property
    def value(self) -> Any:  # noqa: ANN401 - plain YAML data
        """What the file says."""
        ...


def check(
    definitions: Sequence[Any],
    parts: Mapping[str, Mapping[str, Any]],
    mentioned: Set[tuple[str, str]],
    unreadable: Sequence[str],
    keeps: Collection[str] = (),
) -> Iterator[tuple[Any, Path, Said]]:
    """Yield what does not fit: the definition, where inside it, and what to say.

    A name counts as known when any file defines it, even badly: that error has been told already.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for kind, key in mentioned:
        known[kind].add(key)
    known[PREREQUISITES] = known["experiments"] | known["flags"]
    for definition in definitions:
        for kind, code, (path, name) in _mentions(definition):
            if name not in known[kind] and not _may_define(name, unreadable):
                said = Said(
                    code,
                    f"unknown {kind[:-1]} '{name}'",
                    did_you_mean(name, known[kind]) or _where_to_define(kind),
                    at_key=kind == PREREQUISITES,
                )
                yield definition, path, said
    yield from _audience_circles(definitions, parts["audiences"])
    yield from _large_audiences(definitions, parts)
    yield from _prerequisite_circles(definitions, parts)
    yield from _margins(definitions, parts)
    yield from money_schema.check(definitions, parts)
    yield from _goal_circles(definitions, parts)
    yield from goal_schema.check(definitions, parts)
    yield from _waits(definitions, parts)
    yield from places.check(definitions, parts, keeps)


def _where_to_define(kind: str) -> str:
    return "it is the key of a flag or an experiment" if kind == PREREQUISITES else f"define it under {kind}:"


def _may_define(name: str, unreadable: Iterable[str]) -> bool:
    """Return whether a name may be unknown only because a file could not be read, or is empty for now."""
    return any(name in text or not text.strip() for text in unreadable)


def _mentions(definition: Placed) -> Iterator[tuple[str, str, Mention]]:
    value = definition.value
    if definition.kind == "audiences":
        yield from _condition_mentions(value, ())
    if not isinstance(value, dict):
        return
    if definition.kind in SERVED:
        yield from _condition_mentions(value.get("audience"), ("audience",))
        yield from _gate_mentions(value)
    if definition.kind == "experiment":
        yield from (("metrics", "E401", m) for m in metric_mentions(value.get("metrics")))
        yield from (("metrics", "E401", m) for m in _money_mentions(value.get("money")))
        for i, name in enumerate(_list(value.get("notify"))):
            yield from ((WEBHOOKS, "E420", m) for m in _named(name, ("notify", i)))
    if definition.kind == goal_schema.GOALS:
        yield from (("metrics", "E401", m) for m in _named(value.get("metric"), ("metric",)))
        yield from (("goals", "E430", m) for m in _named(value.get("parent"), ("parent",)))
    if definition.kind == "placements":
        yield from (("recommenders", "E404", m) for m in _named(value.get("recommender"), ("recommender",)))


def _condition_mentions(condition: object, path: Path) -> Iterator[tuple[str, str, Mention]]:
    yield from (("audiences", "E207", m) for m in audience_mentions(condition, path))
    yield from (("lists", "E409", m) for m in list_mentions(condition, path))


def _gate_mentions(value: Mapping[str, Any]) -> Iterator[tuple[str, str, Mention]]:
    slot, needed = value.get("layer"), value.get(PREREQUISITES)
    if isinstance(slot, dict):
        yield from (("layers", "E407", m) for m in _named(slot.get("name"), ("layer", "name")))
    yield from (("holdouts", "E408", m) for m in _named(value.get("holdout"), ("holdout",)))
    for key, wanted in needed.items() if isinstance(needed, dict) else ():
        yield PREREQUISITES, "E410", ((PREREQUISITES, key), key)
        yield from (("lists", "E409", m) for m in _lists_in(wanted, (PREREQUISITES, key)))


def metric_mentions(plan: object) -> Iterator[Mention]:
    """Yield the metrics that an experiment's plan names, with their path."""
    if not isinstance(plan, dict):
        return
    yield from _named(plan.get("primary"), ("metrics", "primary"))
    for i, name in enumerate(_list(plan.get("secondary"))):
        yield from _named(name, ("metrics", "secondary", i))
    for i, guardrail in enumerate(_list(plan.get("guardrails"))):
        if isinstance(guardrail, dict):
            yield from _named(guardrail.get("metric"), ("metrics", "guardrails", i, "metric"))


def _money_mentions(plan: object) -> Iterator[Mention]:
    if isinstance(plan, dict):
        yield from _named(plan.get("metric"), ("money", "metric"))


def _named(value: object, path: Path) -> Iterator[Mention]:
    """Yield the name that a value is, if it can be one at all."""
    name = as_text(value)
    if isinstance(name, str):
        yield path, name


def audience_mentions(condition: object, path: Path) -> Iterator[Mention]:
    """Yield the audiences that a condition in YAML form names, with their path."""
    if not isinstance(condition, dict):
        return
    for key, value in condition.items():
        if key in {"all", "any", "none"}:
            for i, part in enumerate(_list(value)):
                yield from audience_mentions(part, (*path, key, i))
        elif key == "not":
            yield from audience_mentions(value, (*path, key))
        elif key == "audience" and isinstance(value, str):
            yield (*path, key), value


def list_mentions(condition: object, path: Path) -> Iterator[Mention]:
    """Yield the lists that a condition in YAML form names, with their path."""
    if not isinstance(condition, dict):
        return
    for key, value in condition.items():
        if key in {"all", "any", "none"}:
            for i, part in enumerate(_list(value)):
                yield from list_mentions(part, (*path, key, i))
        elif key == "not":
            yield from list_mentions(value, (*path, key))
        elif key != "behaviour" and isinstance(value, dict):
            yield from _lists_in(value, (*path, key))


def _lists_in(operators: object, path: Path) -> Iterator[Mention]:
    """Yield the lists that the operators on one attribute name; some operators hold others, or conditions."""
    parts = operators.items() if isinstance(operators, dict) else enumerate(_list(operators))
    for op, operand in parts:
        if op in LIST_OPERATORS and isinstance(operand, str):
            yield (*path, op), operand
        else:
            yield from _lists_in(operand, (*path, op))


@dataclass(frozen=True, slots=True)
class Chain:
    """How definitions that need one another are told apart and told of."""

    kinds: frozenset[str]
    noun: str
    path: Path
    circle: str
    too_long: str


AUDIENCES = Chain(frozenset({"audiences"}), "audiences", (), "E208", "E209")
NEEDED = Chain(SERVED, PREREQUISITES, (PREREQUISITES,), "E413", "E413")
SERVING = Chain(frozenset({goal_schema.GOALS}), "goals", ("parent",), "E431", "E431")


def _audience_circles(
    definitions: Iterable[Any], audiences: Mapping[str, Any]
) -> Iterator[tuple[Any, Path, Said]]:
    return _circles(definitions, _named_by(audiences), AUDIENCES)


def _named_by(audiences: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: sorted(audience_refs(part) & audiences.keys()) for name, part in audiences.items()}


def _large_audiences(
    definitions: Iterable[Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Any, Path, Said]]:
    """Yield where conditions become too large to ask; what names a large one in turn is not told of."""
    audiences = parts["audiences"]
    depths = _depths(_named_by(audiences))
    sizes: dict[str, int] = {}
    for name in sorted(depths, key=depths.__getitem__):
        sizes[name] = parts_written_out(audiences[name], sizes)
    served = {**parts["experiments"], **parts["flags"]}
    for definition in definitions:
        named = definition.kind == "audiences"
        whole = served.get(definition.key) if definition.kind in SERVED else None
        condition = audiences.get(definition.key) if named else whole and whole.audience
        if condition is None or parts_written_out(condition, sizes) <= MAX_PARTS:
            continue
        if all(sizes.get(name, 0) <= MAX_PARTS for name in audience_refs(condition)):
            message = f"written out with its audiences, it has more than {MAX_PARTS:,} parts"
            yield definition, () if named else ("audience",), Said("E209", message, SAY_LESS, at_key=True)


def _prerequisite_circles(
    definitions: Iterable[Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Any, Path, Said]]:
    served = {**parts["experiments"], **parts["flags"]}
    needs = {key: sorted({p.key for p in one.prerequisites} & served.keys()) for key, one in served.items()}
    return _circles(definitions, needs, NEEDED)


def _goal_circles(
    definitions: Iterable[Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Any, Path, Said]]:
    goals = parts[goal_schema.GOALS]
    parents = {key: [one.parent] if one.parent in goals else [] for key, one in goals.items()}
    return _circles(definitions, parents, SERVING)


def _circles(
    definitions: Iterable[Any], needs: Mapping[str, Sequence[str]], chain: Chain
) -> Iterator[tuple[Any, Path, Said]]:
    """Yield circles once each, and chains too long for a reader (and a compiler) to follow."""
    depths = _depths(needs)
    told: set[str] = set()
    for definition in definitions:
        name = definition.key
        if definition.kind not in chain.kinds or name not in needs:
            continue
        if name not in depths:
            circle = _circle(name, needs, depths)
            if not told & set(circle):
                words = " -> ".join(circle[:MAX_CHAIN])
                said = Said(
                    chain.circle, f"{chain.noun} need each other: {words}", "break the circle", at_key=True
                )
                yield definition, chain.path, said
            told.update(circle)
        elif depths[name] == MAX_CHAIN + 1:
            message = f"more than {MAX_CHAIN} {chain.noun}, each needing the next, begin here"
            yield definition, chain.path, Said(chain.too_long, message, "write some of them out", at_key=True)


def _depths(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the length of the longest chain from each name on; names that lead into a circle are absent."""
    wanted_by: dict[str, list[str]] = {name: [] for name in needs}
    for name, others in needs.items():
        for other in others:
            wanted_by[other].append(name)
    open_needs = {name: len(others) for name, others in needs.items()}
    ready = [name for name, n in open_needs.items() if not n]
    depths: dict[str, int] = {}
    while ready:
        name = ready.pop()
        depths[name] = 1 + max((depths[other] for other in needs[name]), default=0)
        for other in wanted_by[name]:
            open_needs[other] -= 1
            if not open_needs[other]:
                ready.append(other)
    return depths


def _circle(start: str, needs: Mapping[str, Sequence[str]], depths: Mapping[str, int]) -> list[str]:
    """Return the circle that `start` leads into, its first name again at the end."""
    way: dict[str, None] = {}
    name = start
    while name not in way:
        way[name] = None
        name = next(other for other in needs[name] if other not in depths)
    names = list(way)
    return [*names[names.index(name) :], name]


def _margins(
    definitions: Iterable[Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Any, Path, Said]]:
    """Yield absolute margins of 100 points or more of a share, and points of what is no share."""
    told: set[str] = set()
    for definition in definitions:
        experiment = parts["experiments"].get(definition.key) if definition.kind == "experiment" else None
        # Of two with one key the first was built: the other may have no margins to speak of.
        if not isinstance(experiment, Experiment) or definition.key in told:
            continue
        told.add(definition.key)
        for i, guardrail in enumerate(experiment.metrics.guardrails):
            metric = parts["metrics"].get(guardrail.metric)
            if not isinstance(metric, Metric):
                continue
            share = metric.kind.is_share
            percent = percent_of(definition.value, i)
            if percent is not None and not share and not guardrail.relative:
                path = ("metrics", "guardrails", i, "margin")
                message = f"'{guardrail.metric}' is no share: an absolute margin is in its own unit, not in %"
                points = metric.kind is MetricKind.NPS
                hint = f"write {(percent if points else percent / 100).normalize():f} absolute"
                hint += "" if points else f", or {percent.normalize():f}% relative"
                yield definition, path, Said("E416", message, hint)
            if share and not guardrail.relative and guardrail.margin >= 1:
                path = ("metrics", "guardrails", i, "margin")
                message = f"'{guardrail.metric}' is a share: its absolute margin must be below 100%"
                yield definition, path, Said("E406", message, "for example '1% absolute'")


def percent_of(written: Any, place: int) -> Decimal | None:  # noqa: ANN401 - plain YAML data
    """Return the percentage that the margin of guardrail number `place` is written as, if it is one."""
    words = str(written["metrics"]["guardrails"][place]["margin"]).split()
    return percent_in(words[0])


def _waits(
    definitions: Iterable[Any], parts: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Any, Path, Said]]:
    """Yield that events would be gone before the longest window closes, or its lookback is read."""
    metrics = parts["metrics"].items()
    windows = ((metric.lookback_s + metric.window_s, key) for key, metric in metrics)
    longest_s, key = max(windows, default=(0, ""))
    for definition in definitions:
        rules = parts["data"].get(definition.key) if definition.kind == "data" else None
        if rules is not None and rules.keep.events * DAY_S < longest_s:
            kept, waits = f"{rules.keep.events}d", duration_words(longest_s)
            message = f"events are kept for {kept}, but the metric '{key}' needs them for {waits}"
            yield definition, ("keep", "events"), Said("E415", message, f"keep them for {waits} or more")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
