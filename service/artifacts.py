"""Model directories on disk: written whole or not at all, mapped into memory only after every check."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recommender.artifact import VERSION, check_manifest, from_arrays, make_manifest, to_arrays
from recommender.errors import InvalidArtifactError
from recommender.model import Model

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
CHUNK = 1 << 20


def save(root: Path, model: Model, facts: Mapping[str, Any], *, created_at: datetime) -> str:
    """Write a model directory below `root` and return its version; durable once this returns."""
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    try:
        files = {name: _write_array(folder, name, array) for name, array in to_arrays(model).items()}
        manifest = make_manifest(model, files, facts, created_at=created_at)
        _write(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode("utf-8"))
        version: str = manifest["version"]
        folder.chmod(0o755)
        _sync_folder(folder)
        if not (root / version).exists():
            folder.rename(root / version)
        _sync_folder(root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return version


def load(root: Path, version: str) -> tuple[Mapping[str, Any], Model]:
    """Map the model of `version`; nothing in the directory is used before it was checked.

    Raises
    ------
    InvalidArtifactError
        If the directory is absent, incomplete or damaged.
    """
    if not VERSION.fullmatch(version):
        raise InvalidArtifactError(f"{version[:80]!r} is no version of a model")
    folder = root / version
    try:
        with (folder / MANIFEST).open("rb") as file:
            manifest = check_manifest(json.loads(file.read(MAX_MANIFEST_BYTES)), version)
        arrays = {name: _map_array(folder, name, facts) for name, facts in manifest["arrays"].items()}
    except InvalidArtifactError:
        raise
    except OSError as error:
        # Anybody may read this at /readyz: names below the models folder only.
        name = Path(error.filename).name if isinstance(error.filename, str | Path) else "its files"
        raise InvalidArtifactError(f"model {version}: {name}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidArtifactError(f"model {version}: {type(error).__name__}: {error}") from error
    return manifest, from_arrays(manifest, arrays)


def versions(root: Path) -> list[str]:
    """Return the versions on disk, newest first."""
    if not root.is_dir():
        return []
    return sorted((p.name for p in root.iterdir() if VERSION.fullmatch(p.name)), reverse=True)


def prune(root: Path, *, keep: int, live: str) -> None:
    """Remove all but the `keep` newest models and the live one; a worker that still maps one goes on."""
    for version in versions(root)[keep:]:
        if version != live:
            shutil.rmtree(root / version, ignore_errors=True)


def _write_array(folder: Path, name: str, array: npt.NDArray[Any]) -> dict[str, Any]:
    path = folder / f"{name}.npy"
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {
        "sha256": _sha256(path),
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "bytes": path.stat().st_size,
    }


def _map_array(folder: Path, name: str, facts: Mapping[str, Any]) -> npt.NDArray[Any]:
    path = folder / f"{name}.npy"
    if path.stat().st_size != facts["bytes"] or _sha256(path) != facts["sha256"]:
        raise InvalidArtifactError(f"{path.parent.name}: {path.name} is not the file that was written")
    # An empty array cannot be mapped.
    empty = 0 in facts["shape"]
    array: npt.NDArray[Any] = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
    if list(array.shape) != facts["shape"] or array.dtype.str != facts["dtype"]:
        raise InvalidArtifactError(
            f"{path.parent.name}: {path.name} is {array.dtype.str} {list(array.shape)}"
        )
    # A plain view of the map: operations on numpy's memmap class are slower.
    return array.view(np.ndarray)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
