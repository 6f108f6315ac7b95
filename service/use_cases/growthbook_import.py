"""GrowthBook's features as files of a catalog that `opportune lint` accepts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.growthbook.importing import METRIC, Imported, import_features
from service.catalog.findings import CatalogError, Finding
from service.catalog.loader import load
from service.catalog.written import as_yaml

SHARED = "growthbook.yaml"
METRICS = {METRIC: {"kind": "conversion", "event": "Order Completed", "window": "7d"}}
NOT_JSON = "this is no features payload: expected a JSON object with a member 'features'"


class ImportRefusedError(Exception):
    """Nothing can be imported; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """New files by name, and what was told about each feature."""

    files: Mapping[str, str]
    told: Imported


def convert(payload: object, present: Mapping[str, str], *, metric: str = "") -> Conversion:
    """Return the files that a features payload makes, beside those of a catalog that are `present`.

    Without `metric` a metric is made for all experiments. What the catalog refuses is told as refused.

    Raises
    ------
    ImportRefusedError
        If it is no payload, or a file of that name is there.
    CatalogError
        If the present files have errors of their own.
    """
    if not isinstance(payload, Mapping) or not isinstance(payload.get("features"), Mapping):
        raise ImportRefusedError(NOT_JSON)
    load(present)
    told = import_features(payload, metric=metric or METRIC)
    files = _files(told, with_metric=not metric)
    taken = sorted(files.keys() & present.keys())
    if taken:
        raise ImportRefusedError(f"{taken[0]} is there already: choose another folder, or remove it")
    while True:
        try:
            load({**present, **files})
        except CatalogError as error:
            _refuse(told, error.findings, files)
            files = _files(told, with_metric=not metric)
        else:
            return Conversion(files, told)


def _refuse(told: Imported, findings: Sequence[Finding], files: Mapping[str, str]) -> None:
    """Take out the definitions that were complained about.

    Raises
    ------
    CatalogError
        If none of them was.
    """
    names = {key: feature for feature, key in told.renamed.items()}
    blamed = {_name(key, one): key for key, one in told.definitions.items()}
    found = {blamed[one.path]: one for one in findings if one.path in blamed and one.path in files}
    if not found:
        bad = dict(_bad(told))
        used = {key: bad.keys() & set(_words(one)) for key, one in told.definitions.items()}
        found = {key: bad[min(some)] for key, some in used.items() if some}
    if not found:
        raise CatalogError(list(findings))
    for key, finding in found.items():
        del told.definitions[key]
        told.refused[names.get(key, key)] = f"{finding.code} {finding.message}"


def _files(told: Imported, *, with_metric: bool) -> dict[str, str]:
    files = {_name(key, one): as_yaml(one) for key, one in told.definitions.items()}
    shared = {kind: kept for kind, kept in _used(told) if kept}
    if with_metric and any("experiment" in one for one in told.definitions.values()):
        shared = {"metrics": METRICS, **shared}
    return {**files, **({SHARED: as_yaml(shared)} if shared else {})}


def _name(key: str, one: Mapping[str, Any]) -> str:
    return f"experiments/{key}.yaml" if "experiment" in one else f"flags/{key}.yaml"


def _used(told: Imported) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the layers, holdouts and lists that some definition names."""
    named = set(_words(list(told.definitions.values())))
    for kind, declared in told.collections.items():
        yield kind, {name: about for name, about in declared.items() if name in named}


def _bad(told: Imported) -> Iterator[tuple[str, Finding]]:
    """Yield the layers, holdouts and lists that the catalog would not even take alone."""
    for kind, declared in _used(told):
        for name, about in declared.items():
            try:
                load({SHARED: as_yaml({kind: {name: about}})})
            except CatalogError as error:
                yield name, error.findings[0]


def _words(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for inner in node.values():
            yield from _words(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _words(inner)
