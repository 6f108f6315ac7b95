"""Do definitions fit together? Every name that one mentions must be defined by another."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

from experiments.definitions import Experiment, Metric, MetricKind
from experiments.targeting import audience_refs
from service.catalog.fields import Said
from service.catalog.findings import did_you_mean

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
    for definition in definitions:
        for kind, code, (path, name) in _mentions(definition):
            if (kind, name) not in mentioned and not any(name in text for text in unreadable):
                known = [key for other, key in mentioned if other == kind]
                hint = did_you_mean(name, known) or f"there are no {kind} yet"
                yield definition, path, Said(code, f"unknown {kind[:-1]} '{name}'", hint)
    yield from _circles(definitions, parts["audiences"])
    yield from _margins(definitions, parts)


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
    needs = {name: audience_refs(condition) & audiences.keys() for name, condition in audiences.items()}
    told: set[frozenset[str]] = set()
    for definition in definitions:
        if definition.kind != "audiences" or definition.key not in needs:
            continue
        circle = _circle(definition.key, needs)
        if circle and frozenset(circle) not in told:
            told.add(frozenset(circle))
            chain = " -> ".join(circle)
            yield (
                definition,
                (),
                Said("E208", f"audiences need each other: {chain}", "break the circle", at_key=True),
            )


def _circle(start: str, needs: Mapping[str, Set[str]]) -> list[str]:
    """Return a way from `start` back to it, or nothing."""
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for name in sorted(needs[way[-1]]):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


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
