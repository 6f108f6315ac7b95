"""What is allowed and may surprise: told by lint and plan, refused by nobody."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.definitions import Catalog, Experiment, Flag, JsonValue, MetricKind
from experiments.gates import SERVED_VALUE
from experiments.lifecycle import Status
from experiments.notation import percent
from experiments.rule_faults import may_ship_worse
from experiments.targeting import compile_condition
from service.catalog.edit import find
from service.catalog.loader import LoadedCatalog
from service.catalog.nodes import MappingNode, Node, ScalarNode, SequenceNode, data, parse
from service.catalog.words import json_words, ramp_words

CLOSED = frozenset({Status.DRAFT, Status.PAUSED, Status.STOPPED})
EXPOSURE = "Experiment Viewed"
CURLY = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"  # what word processors make of quotes


def notes(files: Mapping[str, str], loaded: LoadedCatalog) -> tuple[str, ...]:
    """Return one sentence for each thing of a readable catalog that deserves a second look."""
    return (
        *_unsaid_starts(files, loaded),
        *doubts(files, loaded.catalog),
    )


def doubts(files: Mapping[str, str], catalog: Catalog) -> tuple[str, ...]:
    """Return the notes about what may be meant otherwise; a plan tells of starts in its own way."""
    return (
        *closed_gates(catalog),
        *late_steps(catalog),
        *curly_quotes(files),
        *_unsaid_margins(files, catalog),
        *_risky_rules(catalog),
        *_certain_metrics(catalog),
    )


def starts(definition: Experiment | Flag) -> str:
    """Return what happens to visitors when a running definition goes live."""
    if definition.ramp:
        return f"{definition.key} starts by its ramp as soon as it is applied: {ramp_words(definition.ramp)}"
    share = percent(definition.allocation_bp)
    return f"{definition.key} starts on {share} of its audience as soon as it is applied"


def _unsaid_starts(files: Mapping[str, str], loaded: LoadedCatalog) -> Iterator[str]:
    for definition in _definitions(loaded.catalog):
        if definition.status is not Status.RUNNING:
            continue
        place = find(files, definition.key)
        root, _faults = parse(files[place.file]) if place else (None, [])
        node: Node | None = root
        for step in place.path if place else ():
            node = node.entries[step].node if isinstance(node, MappingNode) else None
        if place and not (isinstance(node, MappingNode) and "status" in node.entries):
            yield f"{place.file}: no status: {starts(definition)} (`status: draft` keeps it off)"


def closed_gates(catalog: Catalog) -> Iterator[str]:
    """Yield what nobody can pass: the other definition never serves the value that is asked for."""
    others = {definition.key: definition for definition in _definitions(catalog)}
    for definition in others.values():
        for needed in definition.prerequisites if definition.status is not Status.STOPPED else ():
            other = others[needed.key]
            fits = compile_condition(needed.condition, {}, lists=catalog.lists)
            if not any(fits({SERVED_VALUE: value}) for value in _served(other)):
                values = ", ".join(dict.fromkeys(json_words(value) for value in _served(other)))
                state = f" while it is {other.status.value}" if other.status in CLOSED else ""
                yield f"{definition.key}: nobody takes part: {needed.key} serves only {values}{state}"


def late_steps(catalog: Catalog) -> Iterator[str]:
    """Yield ramps of which the schedule cuts off the end."""
    for definition in _definitions(catalog):
        end_at = definition.schedule.end_at
        late = [step for step in definition.ramp if end_at is not None and step.at >= end_at]
        if late and definition.status not in (Status.DRAFT, Status.STOPPED):
            yield f"{definition.key}: it ends before this part of its ramp: {ramp_words(late)}"


def _unsaid_margins(files: Mapping[str, str], catalog: Catalog) -> Iterator[str]:
    """Yield margins of shares that may be meant otherwise: a bare percentage, a bare number."""
    for name in sorted(files):
        root, _faults = parse(files[name])
        written: Any = data(root) if root else None
        experiment = catalog.experiments.get(str(written.get("experiment"))) if written else None
        for i, guardrail in enumerate(experiment.metrics.guardrails) if experiment else ():
            if experiment and catalog.metrics[guardrail.metric].kind.is_share:
                words = str(written["metrics"]["guardrails"][i]["margin"]).split()
                yield from _doubtful_margin(f"{experiment.key}: the margin of {guardrail.metric}", words)


def _doubtful_margin(head: str, words: Sequence[str]) -> Iterator[str]:
    amount, *word = words
    number = amount.rstrip("%")
    if not word:
        yield (
            f"{head}, {amount}, is taken as relative: {number} percent of the rate, not {number} points; "
            f"write '{amount} relative' or '{amount} absolute'"
        )
    elif word == ["absolute"] and number == amount:
        points = f"{float(amount) * 100:g}"
        yield f"{head}, {amount} absolute, is {points} points; write '{points}% absolute' if that is meant"


def _risky_rules(catalog: Catalog) -> Iterator[str]:
    """Yield experiments whose rules may ship what is worse."""
    for experiment in catalog.experiments.values():
        decide = experiment.decide
        if may_ship_worse(decide.ship_when, decide.rollback_when, experiment.metrics.roles()):
            yield (
                f"{experiment.key}: ship_when may hold while the primary metric is worse, and rollback_when "
                "does not forbid it: add {primary: worse} to rollback_when"
            )


def _certain_metrics(catalog: Catalog) -> Iterator[str]:
    """Yield metrics that count what happens to everybody who is counted."""
    for metric in catalog.metrics.values():
        if metric.kind is MetricKind.CONVERSION and metric.event == EXPOSURE and not metric.where:
            yield (
                f"{metric.key}: everybody who is counted has an '{EXPOSURE}': the rate will be 100% "
                "everywhere; name the event that people do afterwards"
            )


def _served(definition: Experiment | Flag) -> list[JsonValue]:
    """Return the values that a definition may serve as it stands."""
    if isinstance(definition, Flag):
        otherwise, values = definition.otherwise, [definition.value]
    else:
        otherwise, values = definition.default_value, [v.value for v in definition.variants]
    return [otherwise] if definition.status in CLOSED else [*values, otherwise]


def _definitions(catalog: Catalog) -> Iterator[Experiment | Flag]:
    yield from catalog.experiments.values()
    yield from catalog.flags.values()


def curly_quotes(files: Mapping[str, str]) -> Iterator[str]:
    """Yield each value that a word processor has put into its own quotes."""
    for name in sorted(files):
        root, _faults = parse(files[name])
        for node in _scalars(root) if root else ():
            if len(node.text) > 1 and node.text[0] in CURLY and node.text[-1] in CURLY:
                yield (
                    f"{name}:{node.span.line}:{node.span.column}: the quotes of {node.text} are typographic: "
                    'visitors will see them; plain ones (") would not show'
                )


def _scalars(node: Node) -> Iterator[ScalarNode]:
    if isinstance(node, ScalarNode):
        yield node
        return
    inner = node.items if isinstance(node, SequenceNode) else [e.node for e in node.entries.values()]
    for one in inner:
        yield from _scalars(one)
