"""What may go live must compile: a definition that no worker can serve is told like any other error."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from experiments.assignment import compile_catalog
from experiments.definitions import Catalog, Experiment, Flag
from experiments.errors import InvalidDefinitionError
from experiments.membership import NOBODY
from experiments.plans import Planner
from service.catalog.edit import find
from service.catalog.findings import CatalogError, Finding
from service.catalog.loader import LoadedCatalog, load, place_of


def load_to_serve(files: Mapping[str, str], *, keeps: Collection[str] = ()) -> LoadedCatalog:
    """Return the catalog that `files` define, once it has been compiled as a worker would.

    Raises
    ------
    CatalogError
        With every error of every file, or with what cannot be compiled.
    """
    loaded = load(files, keeps=keeps)
    check_compiles(files, loaded.catalog)
    return loaded


def check_compiles(files: Mapping[str, str], catalog: Catalog) -> None:
    """Refuse a catalog that no worker can compile.

    Raises
    ------
    CatalogError
        At the definitions that are to blame.
    """
    try:
        compile_catalog(catalog)
    except InvalidDefinitionError as error:
        blamed = list(_to_blame(files, catalog))
        raise CatalogError(blamed or [_somewhere(error)]) from error


def _to_blame(files: Mapping[str, str], catalog: Catalog) -> Iterator[Finding]:
    """Yield each definition that cannot be compiled, but not those that only need it."""
    definitions: dict[str, Experiment | Flag] = {**catalog.experiments, **catalog.flags}
    faults: dict[str, InvalidDefinitionError] = {}
    for key, definition in definitions.items():
        try:
            Planner(catalog, frozenset(), NOBODY).plan(definition)
        except InvalidDefinitionError as error:
            faults[key] = error
    for key, fault in faults.items():
        place = find(files, key)
        if place and not any(needed.key in faults for needed in definitions[key].prerequisites):
            path = place.path or (place.kind,)
            told = place_of(files[place.file], place.file, path, code=fault.code, message=f"{key}: {fault}")
            yield replace(told, hint=fault.hint)


def _somewhere(error: InvalidDefinitionError) -> Finding:
    return Finding(path=".", line=1, column=1, code=error.code, message=str(error), hint=error.hint)
