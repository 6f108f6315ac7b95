"""The event log as Parquet, for analysis and training: exported by log offset, read through one manifest."""

from service.lake.erasure import erase
from service.lake.export import export, export_all, read_interactions, read_persons
from service.lake.manifest import is_there, read_manifest
from service.lake.places import LakeBusyError, LakeError, Where, Writable, lake_at
from service.lake.retention import forget

__all__ = [
    "LakeBusyError",
    "LakeError",
    "Where",
    "Writable",
    "erase",
    "export",
    "export_all",
    "forget",
    "is_there",
    "lake_at",
    "read_interactions",
    "read_manifest",
    "read_persons",
]
