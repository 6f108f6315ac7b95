"""A folder of YAML files to one checked catalog: all errors in one run, or everything."""

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from experiments.definitions import Catalog, Experiment, Flag, type_name
from experiments.errors import InvalidDefinitionError
from experiments.goals import Goal
from recommender.definitions import Placement, Recommender
from recommender.errors import InvalidRecommenderError
from service.catalog import references
from service.catalog.fields import Said
from service.catalog.findings import UNREADABLE, CatalogError, Finding, did_you_mean, excerpt
from service.catalog.goal_schema import GOALS
from service.catalog.nodes import MAX_BYTES, Entry, Fault, MappingNode, data, locate, parse
from service.catalog.rules import DataRules
from service.catalog.schemas import COLLECTIONS, DATA, LATER_KINDS, SINGLES, build
from service.catalog.webhooks import WEBHOOKS, Webhook

SUFFIXES = (".yaml", ".yml")
MAX_FILES = 2_000
MAX_FINDINGS = 1_000
FILE_NAME = re.compile(r"(?!.*(^|/)\.)[^\x00-\x1f\x7f\\:]{1,200}\.ya?ml")
KINDS = {"experiment": "experiments", "flag": "flags"}
BESIDE = frozenset({"recommenders", "placements", GOALS, WEBHOOKS, DATA})
"""Kinds that are no part of `Catalog`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCatalog:
    """Everything one revision defines. `digest` is the sha256 of its files."""

    catalog: Catalog
    recommenders: Mapping[str, Recommender]
    placements: Mapping[str, Placement]
    digest: str
    data: DataRules = field(default_factory=DataRules)
    goals: Mapping[str, Goal] = field(default_factory=lambda: MappingProxyType({}))
    webhooks: Mapping[str, Webhook] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Definition:
    """One definition with its place: `root` is the tree of its file, `path` leads to it."""

    kind: str
    key: str
    file: str
    root: MappingNode
    path: tuple[str | int, ...]
    value: Any

    def fault(self, path: Iterable[str | int], said: Said) -> Fault:
        """Return what was said about a part of the definition, with its place."""
        span = locate(self.root, (*self.path, *path), key=said.at_key)
        return Fault(span=span, code=said.code, message=said.message, hint=said.hint)


@dataclass(slots=True)
class Reading:
    """What one run has seen so far."""

    files: Mapping[str, str]
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    definitions: list[Definition] = field(default_factory=list)
    mentioned: set[tuple[str, str]] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)

    def findings(self) -> list[Finding]:
        """Return every fault as a finding; of a flood the first ones and how many there are."""
        told = [(file, fault) for file, faults in self.faults.items() for fault in _without_echoes(faults)]
        told.sort(
            key=lambda one: (one[1].code not in UNREADABLE, one[0], one[1].span.line, one[1].span.column)
        )
        found = [finding(self.files[file], file, fault) for file, fault in told[:MAX_FINDINGS]]
        if len(told) > MAX_FINDINGS:
            file, fault = told[MAX_FINDINGS]
            message = f"and {len(told) - MAX_FINDINGS:,} more errors from here on"
            hint = "mend the first ones and run again"
            found.append(
                Finding(
                    path=file,
                    line=fault.span.line,
                    column=fault.span.column,
                    code="E199",
                    message=message,
                    hint=hint,
                )
            )
        return found


def read_folder(path: Path) -> dict[str, str]:
    """Return the YAML files below `path`, as name relative to it -> text; hidden files are passed over.

    Bytes that are not UTF-8 are kept as lone surrogates, so that `load` can say where they are.

    Raises
    ------
    CatalogError
        If the folder or a file cannot be read, or there are too many files.
    """
    if not path.is_dir():
        hint = "create the folder, or set OPPORTUNE_CATALOG"
        raise _unreadable(str(path), "there is no such folder", hint)
    files: dict[str, str] = {}
    for folder, folders, names in os.walk(path, onerror=_refuse_walk):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                text = _read_file(Path(folder) / name)
                if text is not None:
                    files[(Path(folder) / name).relative_to(path).as_posix()] = text
        if len(files) > MAX_FILES:
            raise _unreadable(str(path), f"more than {MAX_FILES:,} files", "is this the right folder?")
    return files


def _read_file(path: Path) -> str | None:
    try:
        with path.open("rb") as source:
            content = source.read(MAX_BYTES + 4)
    except FileNotFoundError:
        return None  # It was removed while we looked.
    except OSError as error:
        raise _unreadable(str(path), error.strerror or "cannot be read", "") from error
    return content.decode("utf-8-sig", errors="surrogateescape")


def _refuse_walk(error: OSError) -> None:
    raise _unreadable(str(error.filename), error.strerror or "cannot be read", "") from error


def _unreadable(path: str, message: str, hint: str) -> CatalogError:
    return CatalogError([Finding(path=path, line=1, column=1, code="E100", message=message, hint=hint)])


def load(files: Mapping[str, str], *, keeps: Collection[str] = ()) -> LoadedCatalog:
    """Return the catalog that `files` define, as name -> text.

    Of two that claim one place of a layer, the one that is not in `keeps` is told to move, else the later.

    Raises
    ------
    CatalogError
        With every error of every file; nothing is half-used.
    """
    reading = Reading(files)
    for name in sorted(files):
        _read_one(reading, name)
    parts: dict[str, dict[str, Any]] = {kind: {} for kind in ("experiments", *COLLECTIONS, DATA)}
    first = {id(definition) for definition in _unique(reading)}
    for definition in reading.definitions:
        value = _built(reading, definition)
        if value is not None and id(definition) in first:
            parts[KINDS.get(definition.kind, definition.kind)][definition.key] = value
    for definition, path, said in references.check(
        reading.definitions, parts, reading.mentioned, reading.unreadable, keeps
    ):
        reading.faults[definition.file].append(definition.fault(path, said))
    found = reading.findings()
    if found:
        raise CatalogError(found)
    for kind in ("experiments", "flags"):
        parts[kind] = {key: _resolved(one, parts) for key, one in parts[kind].items()}
    frozen = {kind: MappingProxyType(values) for kind, values in parts.items()}
    catalog = Catalog(**{kind: values for kind, values in frozen.items() if kind not in BESIDE})
    return LoadedCatalog(
        catalog=catalog,
        recommenders=frozen["recommenders"],
        placements=frozen["placements"],
        digest=digest_of(files),
        data=parts[DATA].get(DATA, DataRules()),
        goals=frozen[GOALS],
        webhooks=frozen[WEBHOOKS],
    )


def _resolved(definition: Experiment | Flag, parts: Mapping[str, Mapping[str, Any]]) -> Experiment | Flag:
    """Return a definition with the declared layer and holdout in the place of their names."""
    slot, holdout = definition.layer, definition.holdout
    return replace(
        definition,
        layer=slot and replace(slot, layer=parts["layers"][slot.layer.key]),
        holdout=holdout and parts["holdouts"][holdout.key],
    )


def digest_of(files: Mapping[str, str]) -> str:
    """Return the sha256 of the files: equal for equal names and texts."""
    canonical = json.dumps(dict(files), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def finding(text: str, file: str, fault: Fault) -> Finding:
    """Return a fault as a person needs it."""
    span = fault.span
    return Finding(
        path=file,
        line=span.line,
        column=span.column,
        code=fault.code,
        message=fault.message,
        hint=fault.hint,
        excerpt=excerpt(text, start=span.start, end=span.end, line=span.line),
    )


def _read_one(reading: Reading, name: str) -> None:
    """Parse one file and note its definitions."""
    text = reading.files[name]
    if not FILE_NAME.fullmatch(name) or ".." in name.split("/") or name.startswith("/"):
        message = "not the name of a catalog file: a relative path that ends in .yaml"
        reading.faults[name].append(_fault_at_start("E109", message))
        reading.unreadable.append(text)
        return
    root, faults = parse(text)
    reading.faults[name].extend(faults)
    if root is None:
        reading.unreadable.append(text)
        return
    single = next((word for word in SINGLES if word in root.entries), None)
    if single:
        key = str(data(root.entries[single].node))
        reading.mentioned.add((KINDS[single], key))
        reading.definitions.append(Definition(single, key, name, root, (), data(root)))
        return
    for kind, entry in root.entries.items():
        _read_collection(reading, name, root, kind, entry)


def _read_collection(reading: Reading, name: str, root: MappingNode, kind: str, entry: Entry) -> None:
    faults = reading.faults[name]
    if kind == DATA:
        reading.definitions.append(Definition(DATA, DATA, name, root, (DATA,), data(entry.node)))
    elif kind in LATER_KINDS:
        hint = "put each experiment into its own file" if kind == "experiments" else "remove it for now"
        faults.append(Fault(span=entry.key, code="E190", message=f"'{kind}' is not supported yet", hint=hint))
    elif kind not in COLLECTIONS:
        message = f"unknown key '{kind}': a file begins with {', '.join((*SINGLES, *COLLECTIONS, DATA))}"
        hint = did_you_mean(kind, [*SINGLES, *COLLECTIONS, DATA])
        hint = hint if hint.startswith("did") else "a definition needs 'experiment: my-key' or 'flag: my-key'"
        faults.append(Fault(span=entry.key, code="E102", message=message, hint=hint))
        reading.unreadable.append(reading.files[name])
    elif not isinstance(entry.node, MappingNode):
        if data(entry.node) is not None:
            message = f"'{kind}' must hold 'key: definition' pairs"
            hint = f"write '{kind}:' and below it, indented, 'my-key:' and its definition"
            faults.append(Fault(span=entry.key, code="E301", message=message, hint=hint))
            reading.unreadable.append(reading.files[name])
    else:
        for key, inner in entry.node.entries.items():
            reading.mentioned.add((kind, key))
            reading.definitions.append(Definition(kind, key, name, root, (kind, key), data(inner.node)))


def _unique(reading: Reading) -> list[Definition]:
    """Return the definitions, the first of each key only; experiments and flags share their keys."""
    first: dict[tuple[str, str], Definition] = {}
    for definition in reading.definitions:
        kind = KINDS.get(definition.kind, definition.kind)
        name = ("experiments" if kind == "flags" else kind, definition.key)
        if name not in first:
            first[name] = definition
            continue
        where = locate(first[name].root, _key_path(first[name]), key=True)
        message = f"'{definition.key}' is already defined at {first[name].file}:{where.line}:{where.column}"
        hint = "keep one of the two" if kind == DATA else "keys are unique over all files: rename one"
        said = Said("E405", message, hint, at_key=True)
        reading.faults[definition.file].append(
            Fault(
                span=locate(definition.root, _key_path(definition), key=definition.path != ()),
                code=said.code,
                message=said.message,
                hint=said.hint,
            )
        )
    return list(first.values())


def _key_path(definition: Definition) -> tuple[str | int, ...]:
    return definition.path or (definition.kind,)


def _built(reading: Reading, definition: Definition) -> object:
    """Return the domain object, or None after noting what is wrong with it."""
    faults = reading.faults[definition.file]
    try:
        return build(definition.kind, definition.key, definition.value)
    except ValidationError as error:
        faults.extend(definition.fault(path, said) for path, said in _flat(error.messages, ()))
    except InvalidDefinitionError as error:
        path = _culprit(error, definition.value) or error.path or _own(definition)
        faults.append(definition.fault(path, Said(error.code, str(error), error.hint)))
    except InvalidRecommenderError as error:
        faults.append(definition.fault((), Said("E350", str(error), at_key=True)))
    return None


def _culprit(error: InvalidDefinitionError, value: object) -> tuple[str | int, ...]:
    """Return which variant an error about all of them is best shown at; empty when there is none."""
    given = value.get("variants") if isinstance(value, dict) else None
    if not isinstance(given, dict) or not given or error.path != ("variants",):
        return ()
    names = list(given)
    if error.code == "E311":
        return ("variants", names[0])
    if error.code == "E310":
        return ("variants", names[-1], "weight")
    if error.code != "E313":
        return ()
    values = [_value_of(part) for part in given.values()]
    odd = next((i for i, one in enumerate(values) if type_name(one) != type_name(values[0])), 0)
    return ("variants", names[odd], "value")


def _value_of(part: Any) -> Any:  # noqa: ANN401 - plain YAML data
    long_form = isinstance(part, dict) and ("weight" in part or "value" in part)
    return part.get("value") if long_form else part


def _own(definition: Definition) -> tuple[str, ...]:
    return () if definition.path else (definition.kind,)


def _flat(messages: Any, path: tuple[str | int, ...]) -> Iterable[tuple[tuple[str | int, ...], Said]]:  # noqa: ANN401
    """Walk marshmallow's tree of errors."""
    if isinstance(messages, dict):
        meant = _meant(messages)
        for step, inner in messages.items():
            if f"did you mean '{step}'?" in meant and _is_missing(inner):
                continue  # It is there, misspelt: said once is enough.
            yield from _flat(inner, path if step == SCHEMA else (*path, step))
    elif isinstance(messages, list):
        for inner in messages:
            yield from _flat(inner, path)
    elif isinstance(messages, Said):
        yield path, messages
    elif _is_missing(messages):
        yield path[:-1], Said("E302", f"'{path[-1]}' is missing", f"add '{path[-1]}: ...'", at_key=True)
    else:
        yield (
            path,
            Said("E301", f"'{path[-1]}' has no value" if path else str(messages), "remove it or give it one"),
        )


def _is_missing(messages: Any) -> bool:  # noqa: ANN401 - marshmallow's own
    """Return whether marshmallow says that a key is missing."""
    told = messages[0] if isinstance(messages, list) and messages else messages
    return isinstance(told, str) and "Missing" in told


def _meant(messages: Mapping[Any, Any]) -> set[str]:
    """Return the suggestions for unknown keys of one mapping."""
    lists = [inner for inner in messages.values() if isinstance(inner, list)]
    return {said.hint for inner in lists for said in inner if isinstance(said, Said) and said.code == "E102"}


def _fault_at_start(code: str, message: str) -> Fault:
    _root, faults = parse("")
    return Fault(span=faults[0].span, code=code, message=message)


def _without_echoes(faults: list[Fault]) -> list[Fault]:
    """Drop what was said about a place that could not even be read."""
    broken = {(f.span.line, f.span.column) for f in faults if f.code in {"E103", "E107", "E108"}}
    return [
        f
        for f in dict.fromkeys(faults)
        if f.code in {"E103", "E107", "E108"} or (f.span.line, f.span.column) not in broken
    ]


def place_of(text: str, file: str, path: tuple[str | int, ...], *, code: str, message: str) -> Finding:
    """Return a finding about `path` of a file that can be read."""
    root, _faults = parse(text)
    span = locate(root, path) if root else _fault_at_start(code, message).span
    return finding(text, file, Fault(span=span, code=code, message=message))
