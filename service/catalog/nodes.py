"""YAML text to a tree whose every node knows its place: a strict subset of YAML 1.2.

Read from the events of libyaml's parser, so that nothing is built before it was checked: no aliases,
no tags, no second document, no duplicate keys, at most `MAX_BYTES` and `MAX_DEPTH`. Plain scalars follow
the core schema of YAML 1.2: ``on``, ``no``, dates and times stay text. A number that other readers see
differently (``012``) is refused instead of guessed.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from experiments.definitions import JsonValue

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_HINT = 80
MAX_INTEGER = 2**53

WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
LEADING_ZERO = re.compile(r"[-+]?0[0-9]", re.ASCII)
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text: line and column of its start from 1, offsets of start and end from 0."""

    line: int
    column: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong at one place of one file."""

    span: Span
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One value; `text` is how it reads without quotes."""

    span: Span
    value: JsonValue
    text: str


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list."""

    span: Span
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: Span
    node: "Node"


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys and values in the order of the file; `flow` is the form in braces."""

    span: Span
    entries: dict[str, Entry]
    flow: bool


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


class Unreadable(Exception):  # noqa: N818 - never leaves this module
    """The rest of the file cannot be understood."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(slots=True)
class Composer:
    """Builds the tree of one document from parser events; collects `faults` on the way."""

    events: Iterator[Any]
    faults: list[Fault] = field(default_factory=list)

    def compose(self, event: Any, depth: int) -> Node:  # noqa: ANN401 - the stubs give events no common type
        """Return the node that begins with `event`."""
        span = span_of(event)
        if isinstance(event, yaml.AliasEvent):
            self.fault(span, "E103", f"alias '*{event.anchor}'", "write the value out again")
            return ScalarNode(span, None, "")
        self._refuse_decoration(event, span)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, span)
        if depth >= MAX_DEPTH:
            raise Unreadable(Fault(span=span, code="E106", message=f"nested deeper than {MAX_DEPTH} levels"))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(span, depth)
        return self._mapping(event, span, depth)

    def fault(self, span: Span, code: str, message: str, hint: str = "") -> None:
        """Note a fault and go on."""
        self.faults.append(Fault(span=span, code=code, message=message, hint=hint))

    def _refuse_decoration(self, event: Any, span: Span) -> None:  # noqa: ANN401 - as above
        if event.anchor is not None:
            self.fault(span, "E103", f"anchor '&{event.anchor}'", "catalog files do not use anchors")
        if event.tag is not None:
            self.fault(span, "E103", f"tag '{event.tag}'", "quote the value to make it text")

    def _scalar(self, event: yaml.ScalarEvent, span: Span) -> ScalarNode:
        text = str(event.value)
        bad = FORBIDDEN.search(text)
        if bad:
            self.fault(span, "E107", f"the character U+{ord(bad[0]):04X} is not allowed in a value")
        if event.style:
            return ScalarNode(span, text, text)
        try:
            return ScalarNode(span, plain_value(text), text)
        except ValueError as error:
            self.fault(span, "E108", str(error), f"in quotes it is text: '{text}'")
            return ScalarNode(span, text, text)

    def _sequence(self, span: Span, depth: int) -> SequenceNode:
        items: list[Node] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                span = Span(span.line, span.column, span.start, span_of(event).end)
                break
            items.append(self.compose(event, depth + 1))
        return SequenceNode(span, tuple(items))

    def _mapping(self, opening: Any, span: Span, depth: int) -> MappingNode:  # noqa: ANN401 - as above
        entries: dict[str, Entry] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                span = Span(span.line, span.column, span.start, span_of(event).end)
                break
            key = self._key(event, depth)
            value = self.compose(next(self.events), depth + 1)
            if key is None:
                continue
            if key.text in entries:
                first = entries[key.text].key
                self.fault(
                    key.span,
                    "E101",
                    f"'{key.text}' appears twice (first at line {first.line}, column {first.column})",
                    "one of the two would be lost without notice: remove one",
                )
                continue
            entries[key.text] = Entry(key.span, value)
        return MappingNode(span, entries, bool(opening.flow_style))

    def _key(self, event: Any, depth: int) -> ScalarNode | None:  # noqa: ANN401 - as above
        """Return the key; its text is taken as written, so that `no:` and `404:` stay what they look like."""
        if not isinstance(event, yaml.ScalarEvent):
            node = self.compose(event, depth + 1)
            self.fault(node.span, "E301", "a key must be a word", "only values may be lists or mappings")
            return None
        span = span_of(event)
        self._refuse_decoration(event, span)
        if FORBIDDEN.search(str(event.value)):
            self.fault(span, "E107", "a key holds a character that is not allowed")
        return ScalarNode(span, str(event.value), str(event.value))


def parse(text: str) -> tuple[MappingNode | None, list[Fault]]:
    """Return the top-level mapping (None if there is none) and everything wrong with the text."""
    composer = Composer(iter(()))
    try:
        _refuse_raw(text)
        composer.events = yaml.parse(text, Loader=yaml.CSafeLoader)
        return _document(composer), composer.faults
    except Unreadable as error:
        return None, [*composer.faults, error.fault]
    except yaml.MarkedYAMLError as error:
        return None, [*composer.faults, _syntax(text, error)]
    except yaml.YAMLError as error:
        return None, [*composer.faults, _at(text, 0, "E104", f"not valid YAML: {error}")]


def _refuse_raw(text: str) -> None:
    """Refuse what the parser should never see."""
    bad = FORBIDDEN.search(text.replace("\r", "\n"))
    if bad and "\ud800" <= bad[0] <= "\udfff":
        raise Unreadable(_at(text, bad.start(), "E104", "the file is not UTF-8 here", "save it as UTF-8"))
    if bad:
        message = f"the character U+{ord(bad[0]):04X} is not allowed"
        raise Unreadable(_at(text, bad.start(), "E107", message))
    if len(text.encode()) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024} KiB"
        raise Unreadable(_at(text, 0, "E106", message, "split it into several files"))


def _document(composer: Composer) -> MappingNode:
    node: Node | None = None
    for event in composer.events:
        if isinstance(event, yaml.DocumentStartEvent) and node is not None:
            message = "a second document begins here ('---')"
            raise Unreadable(
                Fault(span=span_of(event), code="E104", message=message, hint="use a second file")
            )
        if isinstance(event, yaml.NodeEvent):
            node = composer.compose(event, 0)
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        hint = "delete it, or give it a definition"
        raise Unreadable(Fault(span=Span(1, 1, 0, 1), code="E105", message="the file is empty", hint=hint))
    if not isinstance(node, MappingNode):
        hint = "for example 'experiment: my-key'"
        raise Unreadable(
            Fault(span=node.span, code="E110", message="the file must begin with 'key: value'", hint=hint)
        )
    return node


def _syntax(text: str, error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    where = min(mark.index, max(len(text.rstrip()) - 1, 0)) if mark else 0
    hint = f"{error.context}, line {error.context_mark.line + 1}" if error.context_mark else ""
    if text[where : where + 1] == "\t":
        hint = "this is a tab: indent with spaces"
    elif text[where : where + 1] in "%@`":
        hint = "put the value in quotes"
    elif "mapping values are not allowed" in str(error.problem):
        hint = _quoted(text, where)
    return _at(text, where, "E104", f"not valid YAML: {error.problem}", hint)


def _quoted(text: str, where: int) -> str:
    """Return how the line would read with its text in quotes: a ': ' inside a text is taken for a key."""
    start = text.rfind("\n", 0, where) + 1
    line = text[start:].partition("\n")[0].strip()
    key, _, value = line.partition(": ")
    if ": " not in value or len(value) > MAX_HINT or set(value) & set("\"'#\\{["):
        return "if the ':' belongs to a text, put the text in quotes; else check the indentation"
    return f'put the text in quotes: {key}: "{value}"'


def _at(text: str, index: int, code: str, message: str, hint: str = "") -> Fault:
    before = text[:index]
    span = Span(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1, index, index + 1)
    return Fault(span=span, code=code, message=message, hint=hint)


def plain_value(text: str) -> JsonValue:
    """Return what a plain scalar means in the core schema of YAML 1.2; ValueError for a misleading number."""
    if text in WORDS:
        return WORDS[text]
    if LEADING_ZERO.match(text) and FLOAT.fullmatch(text):
        raise ValueError(f"{text} begins with a zero: some readers see another number")
    if NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number")
    if INTEGER.fullmatch(text) or BASED.fullmatch(text):
        return _integer(text)
    if FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"{text} is too large for a number")
        return number
    return text


def _integer(text: str) -> int:
    number = int(text, 0) if BASED.fullmatch(text) else int(text[:400])
    if abs(number) > MAX_INTEGER:
        raise ValueError(f"{text[:40]} is too large: browsers would round it")
    return number


def span_of(event: Any) -> Span:  # noqa: ANN401 - as above
    """Return where a parser event lies in the text."""
    start, end = event.start_mark, event.end_mark
    return Span(start.line + 1, start.column + 1, start.index, end.index)


def data(node: Node) -> JsonValue:
    """Return the tree as plain values."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, SequenceNode):
        return [data(item) for item in node.items]
    return {key: data(entry.node) for key, entry in node.entries.items()}


def locate(node: Node, path: tuple[str | int, ...], *, key: bool = False) -> Span:
    """Return the place of `path`, as near as the tree goes: a scalar itself, else the key that holds it."""
    span = node.span
    for i, step in enumerate(path):
        if isinstance(node, MappingNode) and isinstance(step, str) and step in node.entries:
            entry = node.entries[step]
            last = i == len(path) - 1
            node = entry.node
            span = entry.key if (key and last) or not isinstance(node, ScalarNode) else node.span
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            span = node.span
        else:
            break
    return span
