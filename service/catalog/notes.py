"""What is allowed and may surprise: told by lint and plan, refused by nobody."""

from collections.abc import Iterator, Mapping

from experiments.definitions import Experiment, Flag
from experiments.lifecycle import Status
from service.catalog.edit import find
from service.catalog.loader import LoadedCatalog
from service.catalog.nodes import MappingNode, Node, ScalarNode, SequenceNode, parse
from service.catalog.words import percent, ramp_words

CURLY = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"  # what word processors make of quotes


def notes(files: Mapping[str, str], loaded: LoadedCatalog) -> tuple[str, ...]:
    """Return one sentence for each thing of a readable catalog that deserves a second look."""
    return (*_unsaid_starts(files, loaded), *curly_quotes(files))


def starts(definition: Experiment | Flag) -> str:
    """Return what happens to visitors when a running definition goes live."""
    if definition.ramp:
        return f"{definition.key} starts by its ramp as soon as it is applied: {ramp_words(definition.ramp)}"
    share = percent(definition.allocation_bp)
    return f"{definition.key} starts on {share} of its audience as soon as it is applied"


def _unsaid_starts(files: Mapping[str, str], loaded: LoadedCatalog) -> Iterator[str]:
    definitions: list[Experiment | Flag] = [
        *loaded.catalog.experiments.values(),
        *loaded.catalog.flags.values(),
    ]
    for definition in definitions:
        if definition.status is not Status.RUNNING:
            continue
        place = find(files, definition.key)
        root, _faults = parse(files[place.file]) if place else (None, [])
        node: Node | None = root
        for step in place.path if place else ():
            node = node.entries[step].node if isinstance(node, MappingNode) else None
        if place and not (isinstance(node, MappingNode) and "status" in node.entries):
            yield f"{place.file}: no status: {starts(definition)} (`status: draft` keeps it off)"


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
