"""From the lake to verdict snapshots: load what happened, decide (pure), save one row."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from experiments.definitions import Experiment, Metric
from experiments.lifecycle import Status
from experiments.verdict import Evidence, ExposureAccount
from service.catalog import LoadedCatalog
from service.clock import from_micros, to_micros
from service.lake import read_manifest
from service.lake.engine import Engine
from service.lake.moments import Facts, LakeReader, open_lake
from service.lake.partials import open_kept, sweep_kept
from service.lake.places import Where
from service.lake.units import DAY_US
from service.storage.leases import LeaseLostError
from service.storage.ports import Store, StoreUnavailableError
from service.storage.records import VerdictSnapshot
from service.use_cases.enrolment import enrolled_of
from service.use_cases.verdict_body import Inputs, verdict_body
from service.use_cases.verdict_history import outline_of
from service.use_cases.verdict_inputs import (
    Recorded,
    changed_of,
    installed_version,
    load_files,
    planned_of,
    recorded_of,
)
from service.use_cases.watermark import as_of_us

JUDGED = frozenset({Status.SCHEDULED, Status.RUNNING, Status.PAUSED, Status.STOPPED})
# A verdict whose closed periods did not change is kept again only when its exposures grew by this share, or
# after this long: a busy shop would otherwise write a row every two seconds that says nothing new.
GROWTH = 0.02
AT_LEAST_EVERY = timedelta(minutes=10)


class UnjudgedError(Exception):
    """Some experiments could not be judged; the others were, and `kept` of their snapshots are new."""

    def __init__(self, failed: Mapping[str, Exception], *, kept: int) -> None:
        super().__init__("; ".join(f"{key}: {_told(error)}" for key, error in failed.items()))
        self.kept = kept


def _told(error: Exception) -> str:
    """Return one line without a path of this machine."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return " ".join(f"{type(error).__name__}: {why}".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all experiments of one refresh share: the lake at one offset, the live revision, the moment."""

    store: Store
    reader: LakeReader
    revision: int
    loaded: LoadedCatalog
    newest_us: tuple[int, ...]
    now: datetime


def refresh_verdicts(
    store: Store,
    lake: Where,
    *,
    now: datetime,
    settled: bool = False,
    partials: Path | None = None,
    engine: AbstractContextManager[Engine] | None = None,
) -> int:
    """Judge every experiment of the live revision from the lake; return how many snapshots were kept.

    `settled` tells that the log has stopped growing: the last few exposures are then kept as well. In the
    folder `partials` the rows of units are kept for the next time. Another `engine` computes instead of
    DuckDB, each time all of it.

    Raises
    ------
    UnjudgedError
        If an experiment could not be judged; it says which and why, after all others were judged.
    CatalogError
        If this code cannot read the live revision.
    StoreUnavailableError, LeaseLostError
        At once: no other experiment would fare better.
    """
    revision, loaded = judged_catalog(store)
    kept = 0
    failed: dict[str, Exception] = {}
    with _reading(engine) if engine else _opened(lake, partials) as reader:
        bench = _bench(store, reader, (revision, loaded), now)
        for experiment in loaded.catalog.experiments.values():
            try:
                kept += _refresh(bench, experiment, forced=settled)
            except (StoreUnavailableError, LeaseLostError):
                raise
            except Exception as error:  # noqa: BLE001 - one experiment's trouble must not silence the others
                failed[experiment.key] = error
    if partials:
        judged = [e for e in loaded.catalog.experiments.values() if e.status in JUDGED]
        sweep_kept(partials, judged, erased=read_manifest(lake).erased)
    if failed:
        raise UnjudgedError(failed, kept=kept)
    return kept


def refresh_verdict(
    store: Store, lake: Where, key: str, *, now: datetime, partials: Path | None = None
) -> bool:
    """Judge one experiment of the live revision; keep the snapshot and return True if anything is new.

    Raises
    ------
    KeyError
        If the live revision has no such experiment.
    """
    revision, loaded = judged_catalog(store)
    experiment = loaded.catalog.experiments[key]
    with _opened(lake, partials) as reader:
        return _refresh(_bench(store, reader, (revision, loaded), now), experiment, forced=True)


@contextmanager
def _reading(opened: AbstractContextManager[Engine]) -> Iterator[LakeReader]:
    with opened as engine:
        yield LakeReader(engine)


def _opened(lake: Where, partials: Path | None) -> AbstractContextManager[LakeReader]:
    return open_kept(lake, partials) if partials else open_lake(lake)


def judged_catalog(store: Store) -> tuple[int, LoadedCatalog]:
    """Return the live revision with its number; an empty catalog as revision 0 before the first apply.

    Unlike `launch.live_catalog` it takes no older one instead: what is judged and done is of this revision.

    Raises
    ------
    CatalogError
        If this code cannot read the live revision.
    """
    number = store.live_state().revision
    stored = store.revision(number)
    if stored is None:
        return 0, load_files(())
    return number, load_files(tuple(sorted(stored.files.items())))


def account_of(facts: Facts, *, primary: str, quarantined: Mapping[str, int]) -> ExposureAccount:
    """Say where every exposure event and every exposed unit went."""
    exposed = {variant: units.exposed for variant, units in facts.units.items()}
    several = sum(units.multiple_variants for units in facts.units.values())
    analysed: dict[str, int] = dict.fromkeys(exposed, 0)
    for row in facts.periods:
        if row.metric == primary:
            analysed[row.variant] += row.moments.n
    first = sum(exposed.values())
    excluded = {"multiple_variants": several}
    if primary in facts.absent:
        excluded["without_event"] = facts.absent[primary]
    excluded["immature"] = first - sum(excluded.values()) - sum(analysed.values())
    return ExposureAccount(
        events=facts.n_events + sum(quarantined.values()),
        first=first,
        repeats=facts.n_events - first,
        quarantined=dict(quarantined),
        exposed_units=exposed,
        excluded=excluded,
        analysed=analysed,
        contaminated_units=facts.contaminated,
    )


def _bench(store: Store, reader: LakeReader, live: tuple[int, LoadedCatalog], now: datetime) -> Bench:
    revision, loaded = live
    return Bench(
        store=store,
        reader=reader,
        revision=revision,
        loaded=loaded,
        newest_us=reader.last_occurred_us(),
        now=now,
    )


def evidence_of(
    reader: LakeReader, experiment: Experiment, metrics: Mapping[str, Metric], recorded: Recorded
) -> Evidence:
    """Return what the log says of an experiment up to a moment: whoever asks again gets the same."""
    now_us = to_micros(recorded.as_of)
    # Only closed days count, so a unit whose window ended today is analysed tomorrow.
    closed_us = now_us - now_us % DAY_US - 1
    facts = reader.facts(experiment, tuple(metrics.values()), until_us=closed_us)
    return Evidence(
        periods=facts.periods,
        arrivals=facts.arrivals,
        account=account_of(facts, primary=experiment.metrics.primary, quarantined=recorded.quarantined),
        as_of=recorded.as_of,
        first_exposure_at=None if facts.first_us is None else from_micros(facts.first_us),
        windows_open=windows_open(facts, experiment.metric_keys()),
        exploratory=recorded.exploratory(experiment),
        changed={key: one.revision for key, one in recorded.changed.items()},
        enrolled=recorded.enrolled,
    )


def windows_open(facts: Facts, metrics: Collection[str]) -> bool:
    """Return whether a unit is still inside the window of some metric, or the day in which that ends."""
    clean = sum(units.exposed - units.multiple_variants for units in facts.units.values())
    done = dict.fromkeys(metrics, 0) | dict(facts.absent)
    for row in facts.periods:
        done[row.metric] += row.moments.n
    return any(done[key] < clean for key in metrics)


def judged(
    loaded: LoadedCatalog, revision: int, experiment: Experiment, reader: LakeReader, recorded: Recorded
) -> str:
    """Return the verdict JSON: it follows from revision, log up to the reader's offset and `recorded`."""
    metrics = {key: loaded.catalog.metrics[key] for key in experiment.metric_keys()}
    return verdict_body(
        Inputs(
            experiment=experiment,
            metrics=metrics,
            evidence=evidence_of(reader, experiment, metrics, recorded),
            revision=revision,
            catalog_digest=loaded.digest,
            log_offset=reader.offset,
        )
    )


def _refresh(bench: Bench, experiment: Experiment, *, forced: bool) -> bool:
    if experiment.status not in JUDGED or not bench.newest_us:
        return False
    before = bench.store.latest_verdict(experiment.key)
    before = before if before and before.phase == experiment.phase else None
    if before and before.final:
        return False
    quarantined = bench.store.quarantined_exposures(experiment.key, experiment.phase)
    if before and _nothing_happened(bench, before, quarantined):
        return False
    recorded = _recorded(bench, experiment, before, quarantined)
    body = judged(bench.loaded, bench.revision, experiment, bench.reader, recorded)
    if before and not _worth_keeping(before, body, now=bench.now, forced=forced):
        return False
    told = json.loads(body)
    bench.store.put_verdict(
        VerdictSnapshot(
            experiment=experiment.key,
            phase=experiment.phase,
            revision=bench.revision,
            log_offset=bench.reader.offset,
            as_of=recorded.as_of,
            computed_at=bench.now,
            digest=hashlib.sha256(body.encode()).hexdigest(),
            body=body,
            inputs=recorded.to_json(),
            final=told["final"],
            outline=outline_of(told),
        )
    )
    return True


def _recorded(
    bench: Bench, experiment: Experiment, before: VerdictSnapshot | None, quarantined: Mapping[str, int]
) -> Recorded:
    floor_us = to_micros(before.as_of) if before else 0
    store, revision = bench.store, bench.revision
    planned = planned_of(store, experiment, before, revision=revision, now=bench.now)
    metrics = {key: bench.loaded.catalog.metrics[key] for key in experiment.metric_keys()}
    as_of = from_micros(as_of_us(bench.newest_us, floor_us=floor_us))
    known = recorded_of(before) if before else None
    return Recorded(
        as_of=as_of,
        quarantined=quarantined,
        planned=planned,
        changed=changed_of(store, metrics, planned, before, revision=revision),
        version=installed_version(),
        enrolled=enrolled_of(store, experiment, known, revision=revision, as_of=as_of),
    )


def _nothing_happened(bench: Bench, before: VerdictSnapshot, quarantined: Mapping[str, int]) -> bool:
    same = (before.revision, before.log_offset) == (bench.revision, bench.reader.offset)
    return same and json.loads(before.body)["exposure"]["quarantined"] == dict(quarantined)


def _worth_keeping(before: VerdictSnapshot, body: str, *, now: datetime, forced: bool) -> bool:
    old, new = json.loads(before.body), json.loads(body)
    news = ("phase", "revision", "decision", "variant", "final")
    if any(old.get(name) != new.get(name) for name in news):
        return True
    if old["digests"]["moments"] != new["digests"]["moments"] or _day(old) != _day(new):
        return True
    if forced or old["digests"]["exposures"] == new["digests"]["exposures"]:
        return forced and old != new
    grown = new["exposure"]["events"] >= old["exposure"]["events"] * (1 + GROWTH)
    return bool(grown) or now - before.computed_at >= AT_LEAST_EVERY


def _day(body: Mapping[str, str]) -> str:
    return body["as_of"].split("T")[0]
