"""The catalog as it is served: with what was decided about its experiments while they run."""

from dataclasses import replace

from experiments.steering import steer
from service.catalog import LoadedCatalog
from service.storage.records import LiveState


def steered(loaded: LoadedCatalog, state: LiveState) -> LoadedCatalog:
    """Return a catalog whose experiments are steered as the live state says; the same one if none is."""
    catalog = steer(loaded.catalog, state.steering)
    return loaded if catalog is loaded.catalog else replace(loaded, catalog=catalog)
