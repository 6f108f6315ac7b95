"""Change single values of a YAML file in place: comments, blank lines and quotes stay as they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.catalog.nodes import MappingNode, ScalarNode, data, parse, plain_value

COLLECTION = "flags"


class EditError(Exception):
    """The text cannot be changed safely; nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an experiment or a flag is defined."""

    file: str
    kind: str
    path: tuple[str, ...]


def find(files: Mapping[str, str], key: str) -> Place | None:
    """Return where `key` is defined, None when no file defines it."""
    for name in sorted(files):
        root, _faults = parse(files[name])
        for kind in ("experiment", "flag"):
            entry = root.entries.get(kind) if root else None
            if entry and isinstance(entry.node, ScalarNode) and entry.node.text == key:
                return Place(file=name, kind=kind, path=())
        flags = root.entries.get(COLLECTION) if root else None
        if flags and isinstance(flags.node, MappingNode) and key in flags.node.entries:
            return Place(file=name, kind="flag", path=(COLLECTION, key))
    return None


def set_values(text: str, path: tuple[str, ...], values: Mapping[str, str]) -> str:
    """Return `text` with plain scalars set in the mapping at `path`; keys that are absent are added.

    Raises
    ------
    EditError
        If the result would not read as intended.
    """
    for key, raw in values.items():
        expected = _changed(data(_root(text)), path, {key: plain_value(raw)})
        text = _set_one(text, path, key, raw)
        if data(_root(text)) != expected:
            raise EditError(
                f"cannot set '{key}: {raw}' here without touching other parts: edit the file by hand"
            )
    return text


def _set_one(text: str, path: tuple[str, ...], key: str, raw: str) -> str:
    mapping = _mapping_at(_root(text), path)
    entry = mapping.entries.get(key)
    if entry is None:
        return _insert(text, mapping, key, raw)
    if not isinstance(entry.node, ScalarNode):
        raise EditError(f"'{key}' holds more than a plain value: edit the file by hand")
    span = entry.node.span
    space = " " if span.start == span.end else ""
    return text[: span.start] + space + raw + text[span.end :]


def _insert(text: str, mapping: MappingNode, key: str, raw: str) -> str:
    if mapping.flow:
        comma = ", " if mapping.entries else ""
        return f"{text[: mapping.span.start + 1]}{key}: {raw}{comma}{text[mapping.span.start + 1 :]}"
    first, entry = next(iter(mapping.entries.items()))
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = " " * (entry.key.column - 1)
    if first in {"experiment", "flag"} and isinstance(entry.node, ScalarNode):
        end = text.find("\n", entry.node.span.end)
        if end < 0:
            return f"{text}{newline}{indent}{key}: {raw}{newline}"
        return f"{text[: end + 1]}{indent}{key}: {raw}{newline}{text[end + 1 :]}"
    start = text.rfind("\n", 0, entry.key.start) + 1
    return f"{text[:start]}{indent}{key}: {raw}{newline}{text[start:]}"


def _root(text: str) -> MappingNode:
    root, faults = parse(text)
    if root is None or faults:
        raise EditError("the file is not readable: run `opportune lint`")
    return root


def _mapping_at(root: MappingNode, path: tuple[str, ...]) -> MappingNode:
    node = root
    for step in path:
        inner = node.entries[step].node
        if not isinstance(inner, MappingNode):
            raise EditError(f"'{step}' is not a mapping: edit the file by hand")
        node = inner
    return node


def _changed(value: object, path: tuple[str, ...], values: Mapping[str, object]) -> object:
    if not isinstance(value, dict):
        raise EditError("not a mapping: edit the file by hand")
    if not path:
        return {**value, **values}
    return {key: _changed(v, path[1:], values) if key == path[0] else v for key, v in value.items()}
