"""A copy of what was served last: a process that starts while the store is away begins with it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.storage.live import steering_in, steering_text
from service.storage.records import KeyClass, LiveState


@dataclass(frozen=True, slots=True, kw_only=True)
class Spare:
    """One served revision, with the keys that were valid (their hashes)."""

    state: LiveState
    files: Mapping[str, str]
    keys: Mapping[str, KeyClass]


def save_spare(path: Path, spare: Spare) -> None:
    """Replace the copy in one step; a full disk is no reason to stop serving."""
    content = {
        "revision": spare.state.revision,
        "killed": sorted(spare.state.killed),
        "model": spare.state.model,
        "steering": steering_text(spare.state.steering.values()),
        "files": dict(spare.files),
        "keys": {digest: key_class.value for digest, key_class in spare.keys.items()},
    }
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(content), "utf-8")
        fresh.replace(path)
    except OSError:
        return


def read_spare(path: Path) -> Spare | None:
    """Return the copy; None if there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text("utf-8"))
        state = LiveState(
            version=-1,
            revision=int(content["revision"]),
            killed=frozenset(content["killed"]),
            model=str(content["model"]),
            steering=steering_in(content.get("steering", "[]")),
        )
        keys = {digest: KeyClass(key_class) for digest, key_class in content["keys"].items()}
        return Spare(state=state, files=dict(content["files"]), keys=keys)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
