"""Who would move: the units that were exposed, assigned under the live catalog and under the new one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.definitions import Experiment
from experiments.launch import MovedUnits, moved_units
from experiments.lifecycle import Status
from service.catalog import LoadedCatalog
from service.storage.interactions import EXPOSURE_EVENT
from service.storage.ports import Store

SYNTHETIC_UNITS = 100_000
READ_EVENTS = 10_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What becomes of the enrolled units of one experiment; `source` says which units were assigned."""

    key: str
    moved: MovedUnits
    source: str


def movements(
    store: Store, previous: LoadedCatalog | None, loaded: LoadedCatalog, progress: Progress | None
) -> Iterator[Movement]:
    """Yield what becomes of the units of each experiment whose buckets change; reads the log once."""
    before = previous.catalog.experiments if previous else {}
    pairs = {
        key: (before[key], new)
        for key, new in loaded.catalog.experiments.items()
        if key in before and _rebuckets(before[key], new)
    }
    if not pairs:
        return
    exposed = _exposed_units(store, {key: old for key, (old, _new) in pairs.items()}, progress=progress)
    for key, (old, new) in pairs.items():
        units: Iterable[str] = exposed[key]
        source = f"{len(exposed[key]):,} exposed units"
        if not exposed[key]:
            units = (f"synthetic-{i}" for i in range(SYNTHETIC_UNITS))
            source = f"{SYNTHETIC_UNITS:,} synthetic units: none was exposed yet"
        yield Movement(key=key, moved=moved_units(old, new, units), source=source)


def _rebuckets(old: Experiment, new: Experiment) -> bool:
    return Status.DRAFT not in (old.status, new.status) and _split(old) != _split(new)


def _split(e: Experiment) -> tuple[object, ...]:
    """Return everything that decides which variant an eligible unit gets."""
    layer, holdout = e.layer, e.holdout
    return (
        e.unit,
        e.salt,
        e.allocation_bp,
        [(v.key, v.weight_bp) for v in e.variants],
        layer and (layer.layer.salt, layer.layer.hash_version, layer.start_bp, layer.share_bp),
        holdout and (holdout.salt, holdout.share_bp),
    )


def _exposed_units(
    store: Store, experiments: Mapping[str, Experiment], *, progress: Progress | None = None
) -> Mapping[str, set[str]]:
    """Return the units exposed to the phase of each experiment, by one walk over the log."""
    units: dict[str, set[str]] = {key: set() for key in experiments}
    last, after = store.last_seq(), 0
    while after < last:
        events = store.read(after, READ_EVENTS)
        if not events:
            break
        after = events[-1].seq
        for logged in events:
            event = logged.received.event
            if event.type == EXPOSURE_EVENT:
                _note(units, experiments, event.properties)
        if progress:
            progress(min(after, last), last)
    return units


def _note(
    units: Mapping[str, set[str]], experiments: Mapping[str, Experiment], seen: Mapping[str, Any]
) -> None:
    experiment = experiments.get(str(seen.get("experiment_key")))
    if experiment is not None and seen.get("phase") == experiment.phase:
        units[experiment.key].add(str(seen.get("unit_id")))
