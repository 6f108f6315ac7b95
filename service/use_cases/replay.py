"""Compute a verdict once more, from the log and the catalog as they were, and tell whether it is the same."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.catalog import CatalogError, LoadedCatalog
from service.lake.moments import open_lake
from service.lake.places import Where
from service.storage.ports import Store
from service.storage.records import VerdictSnapshot
from service.use_cases.judge import judged
from service.use_cases.verdict_inputs import Recorded, installed_version, load_files, recorded_of

MAX_TOLD = 20
MAX_SHOWN = 60
DIGESTS = {
    "config": "the definitions of the experiment and its metrics are read differently",
    "exposures": "other exposures, or others counted",
    "moments": "other values of the metrics",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of a verdict that was computed once more; `digest` is empty where it could not be.

    `differences` are sentences about what differs and why, none where it has the same bytes.
    """

    id: str
    recorded: str
    digest: str
    differences: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether it came out with the same bytes."""
        return bool(self.digest) and not self.differences


def replay(store: Store, lake: Where, snapshot: VerdictSnapshot) -> Replay:
    """Compute a snapshot once more: the lake up to its offset, its revision, and what was recorded with it.

    What arrived later, compaction and the quarantine as it is now change nothing. An erased person, expired
    events and another version of the software may.
    """
    recorded = recorded_of(snapshot)
    try:
        loaded = _revision(store, snapshot)
        body = _again(lake, loaded, snapshot, recorded)
    except _ImpossibleError as error:
        return Replay(id=snapshot.id, recorded=snapshot.digest, digest="", differences=(str(error),))
    told = tuple(_differences(snapshot, body, recorded)) if body != snapshot.body else ()
    if _digest(snapshot.body) != snapshot.digest:
        told = (f"the stored verdict has been changed: its digest is {_digest(snapshot.body)}", *told)
    return Replay(id=snapshot.id, recorded=snapshot.digest, digest=_digest(body), differences=told)


class _ImpossibleError(Exception):
    """There is nothing to compute it from."""


def _revision(store: Store, snapshot: VerdictSnapshot) -> LoadedCatalog:
    stored = store.revision(snapshot.revision)
    if stored is None:
        raise _ImpossibleError(f"revision {snapshot.revision} is not in the store any more")
    try:
        return load_files(tuple(sorted(stored.files.items())))
    except CatalogError as error:
        first = error.findings[0]
        message = f"this version does not read revision {snapshot.revision}: {first.code} {first.message}"
        raise _ImpossibleError(message) from error


def _again(lake: Where, loaded: LoadedCatalog, snapshot: VerdictSnapshot, recorded: Recorded) -> str:
    experiment = loaded.catalog.experiments.get(snapshot.experiment)
    if experiment is None:
        raise _ImpossibleError(f"revision {snapshot.revision} has no experiment {snapshot.experiment!r}")
    with open_lake(lake, upto=snapshot.log_offset) as reader:
        if reader.offset < snapshot.log_offset:
            message = f"the lake ends at offset {reader.offset}, and the verdict saw {snapshot.log_offset}"
            raise _ImpossibleError(f"{message}: was another backup restored?")
        return judged(loaded, snapshot.revision, experiment, reader, recorded)


def _differences(snapshot: VerdictSnapshot, body: str, recorded: Recorded) -> Iterator[str]:
    old, new = json.loads(snapshot.body), json.loads(body)
    version = installed_version()
    if recorded.version != version:
        made_by = recorded.version or "a release that did not say which"
        yield f"it was made by version {made_by}, this is {version or 'not installed'}"
    yield from _fewer(old["exposure"], new["exposure"])
    for name, why in DIGESTS.items():
        if old["digests"].get(name) != new["digests"].get(name):
            yield f"digests.{name} differs: {why}"
    if old["text"] != new["text"]:
        yield "the text differs"
    paths = [path for path in _paths(old, new) if not path.startswith(("digests.", "text:"))]
    yield from paths[:MAX_TOLD]
    if len(paths) > MAX_TOLD:
        yield f"and {len(paths) - MAX_TOLD:,} more members"


def _fewer(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, noun in (("events", "exposure events"), ("first", "exposed units")):
        if missing := old[name] - new[name]:
            why = "erased or expired since" if missing > 0 else "which were not in the lake then"
            yield f"{abs(missing):,} {noun} {'fewer' if missing > 0 else 'more'}: {why}"


def _paths(old: object, new: object, path: str = "") -> Iterator[str]:
    """Yield each member that differs, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _paths(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _paths(one, other, f"{path}[{i}]")
    elif old != new:
        yield f"{path}: {_shown(old)} then, {_shown(new)} now"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
