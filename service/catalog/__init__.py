"""The catalog: YAML files to frozen definitions, with every error told at its place."""

from service.catalog.findings import CatalogError, Finding
from service.catalog.loader import LoadedCatalog, load, read_folder

__all__ = ["CatalogError", "Finding", "LoadedCatalog", "load", "read_folder"]
