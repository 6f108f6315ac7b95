"""Do definitions fit together? Every name that one mentions must be defined by another."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

from experiments.definitions import Experiment, Metric, MetricKind
from experiments.targeting import audience_refs
from service.catalog.fields import Said
from service.catalog.findings import did_you_mean

MAX_AUDIENCES = 32

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
) -> Iterator[tuple[Any, Path, Said]]:
    """Yield what does not fit: the definition, where inside it, and what to say.

    A name counts as known when any file defines it, even badly: that error has been told already.
    """
    known: dict[str, list[str]] = defaultdict(list)
    for kind, key in mentioned:
        known[kind].append(key)
    for definition in definitions:
        for kind, code, (path, name) in _mentions(definition):
            if (kind, name) not in mentioned and not _may_define(name, unreadable):
                hint = did_you_mean(name, known[kind]) or f"define it under {kind}:"
                yield definition, path, Said(code, f"unknown {kind[:-1]} '{name}'", hint)
    yield from _circles(definitions, parts["audiences"])
    yield from _margins(definitions, parts)


def _may_define(name: str, unreadable: Iterable[str]) -> bool:
    """Return whether a name may be unknown only because a file could not be read, or is empty for now."""
    return any(name in text or not text.strip() for text in unreadable)


def _mentions(definition: Placed) -> Iterator[tuple[str, str, Mention]]:
    value = definition.value
    if definition.kind == "audiences":
        yield from (("audiences", "E207", m) for m in audience_mentions(value, ()))
    if not isinstance(value, dict):
        return
    if definition.kind in {"experiment", "flag", "flags"}:
        yield from (("audiences", "E207", m) for m in audience_mentions(value.get("audience"), ("audience",)))
    if definition.kind == "experiment":
        yield from (("metrics", "E401", m) for m in metric_mentions(value.get("metrics")))
    if definition.kind == "placements" and isinstance(value.get("recommender"), str):
        yield "recommenders", "E404", (("recommender",), value["recommender"])


def metric_mentions(plan: object) -> Iterator[Mention]:
    """Yield the metrics that an experiment's plan names, with their path."""
    if not isinstance(plan, dict):
        return
    if isinstance(plan.get("primary"), str):
        yield ("metrics", "primary"), plan["primary"]
    for i, name in enumerate(_list(plan.get("secondary"))):
        if isinstance(name, str):
            yield ("metrics", "secondary", i), name
    for i, guardrail in enumerate(_list(plan.get("guardrails"))):
        if isinstance(guardrail, dict) and isinstance(guardrail.get("metric"), str):
            yield ("metrics", "guardrails", i, "metric"), guardrail["metric"]


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


def _circles(definitions: Iterable[Any], audiences: Mapping[str, Any]) -> Iterator[tuple[Any, Path, Said]]:
    """Yield circles of audiences once each, and chains too long for a reader (and a compiler) to follow."""
    needs = {name: sorted(audience_refs(part) & audiences.keys()) for name, part in audiences.items()}
    depths = _depths(needs)
    told: set[str] = set()
    for definition in definitions:
        name = definition.key
        if definition.kind != "audiences" or name not in needs:
            continue
        if name not in depths:
            circle = _circle(name, needs, depths)
            if not told & set(circle):
                chain = " -> ".join(circle[:MAX_AUDIENCES])
                said = Said("E208", f"audiences need each other: {chain}", "break the circle", at_key=True)
                yield definition, (), said
            told.update(circle)
        elif depths[name] == MAX_AUDIENCES + 1:
            message = f"more than {MAX_AUDIENCES} audiences, each needing the next, begin here"
            yield definition, (), Said("E209", message, "write some of them out", at_key=True)


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
    """Yield absolute margins of a share that mean 100 percentage points or more."""
    for definition in definitions:
        experiment = parts["experiments"].get(definition.key) if definition.kind == "experiment" else None
        if not isinstance(experiment, Experiment):
            continue
        for i, guardrail in enumerate(experiment.metrics.guardrails):
            metric = parts["metrics"].get(guardrail.metric)
            share = isinstance(metric, Metric) and metric.kind is MetricKind.CONVERSION
            if share and not guardrail.relative and guardrail.margin >= 1:
                path = ("metrics", "guardrails", i, "margin")
                message = f"'{guardrail.metric}' is a share: its absolute margin must be below 100%"
                yield definition, path, Said("E406", message, "for example '1% absolute'")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
