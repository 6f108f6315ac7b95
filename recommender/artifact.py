"""A model as named arrays and a manifest, and back; nothing here can run code on load."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from recommender.errors import InvalidArtifactError
from recommender.model import Blend, Model

SCHEMA = "model/1"
KINDS = {
    "item_ids": "S",
    "item_vectors": "<f4",
    "item_bias": "<f4",
    "popularity": "<f4",
    "neighbour_index": "<i4",
    "neighbour_weight": "<f4",
    "user_ids": "S",
    "user_vectors": "<f4",
}
N_AXES = {"item_vectors": 2, "neighbour_index": 2, "neighbour_weight": 2, "user_vectors": 2}
VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
NOT_DIGESTED = frozenset({"version", "created_at", "digest"})

Arrays = Mapping[str, npt.NDArray[Any]]


def to_arrays(model: Model) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a model, contiguous and little-endian, by the name of their file."""
    arrays = {name: np.ascontiguousarray(getattr(model, name)) for name in KINDS}
    return {
        name: a if KINDS[name] == "S" else a.astype(KINDS[name], copy=False) for name, a in arrays.items()
    }


def from_arrays(manifest: Mapping[str, Any], arrays: Arrays) -> Model:
    """Return the model of checked arrays; the arrays are used as they are, so they may be memory-mapped.

    Raises
    ------
    InvalidArtifactError
        If manifest and arrays do not make a model.
    """
    if set(arrays) != set(KINDS):
        raise InvalidArtifactError(f"expected the arrays {sorted(KINDS)}, not {sorted(arrays)}")
    for name, array in arrays.items():
        kind = KINDS[name]
        right = array.dtype.kind == "S" if kind == "S" else array.dtype == np.dtype(kind)
        if not right or array.ndim != N_AXES.get(name, 1):
            raise InvalidArtifactError(f"array {name!r} is {array.dtype} with {array.ndim} axes")
    try:
        blend = Blend(**{name: float(value) for name, value in manifest["blend"].items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArtifactError("the manifest has no usable blend") from error
    return Model(blend=blend, **arrays)


def make_manifest(
    model: Model, files: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any], *, created_at: datetime
) -> dict[str, Any]:
    """Return the manifest of a model whose version is its time and a short digest of everything but the time.

    Parameters
    ----------
    model : Model
        What was written.
    files : mapping of array name to {sha256, shape, dtype, bytes}
        What the writer saw on disk.
    facts : mapping
        ``engine``, ``seed``, ``parameters``, ``data``, ``metrics``, ``reason``: JSON values.
    created_at : datetime
        Aware, UTC.
    """
    manifest = {"schema": SCHEMA, **facts, "blend": asdict(model.blend), "arrays": dict(files)}
    digest = digest_of(manifest)
    stamp = f"{created_at:%Y%m%dT%H%M%SZ}"
    return {
        "version": f"{stamp}-{digest[:12]}",
        "created_at": created_at.isoformat(),
        "digest": digest,
        **manifest,
    }


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest without its version and time: equal models have equal digests."""
    counted = {name: value for name, value in manifest.items() if name not in NOT_DIGESTED}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def check_manifest(manifest: object, version: str) -> dict[str, Any]:
    """Return `manifest` if it is whole and is the one of `version`.

    Raises
    ------
    InvalidArtifactError
        If it is of another schema or version, or was changed after it was written.
    """
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise InvalidArtifactError(f"model {version}: the manifest is not {SCHEMA}")
    if manifest.get("version") != version or not VERSION.fullmatch(version):
        raise InvalidArtifactError(f"model {version}: the manifest names {manifest.get('version')!r}")
    digest = digest_of(manifest)
    if manifest.get("digest") != digest or not version.endswith(digest[:12]):
        raise InvalidArtifactError(f"model {version}: the manifest does not match its digest")
    listed = manifest.get("arrays")
    if not isinstance(listed, dict) or set(listed) != set(KINDS):
        raise InvalidArtifactError(f"model {version}: the manifest does not list the arrays")
    return manifest
