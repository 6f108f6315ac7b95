"""What went into a verdict beside log and catalog: kept with each snapshot, so that it can be replayed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from experiments.definition_digest import TOLD_ONLY, digest_of
from experiments.definitions import Experiment, Metric
from experiments.evidence import Enrolled
from experiments.lifecycle import Status
from service.catalog import CatalogError, LoadedCatalog, load
from service.clock import from_micros, to_micros
from service.storage.ports import Store
from service.storage.records import VerdictOutline, VerdictSnapshot

ENDED = frozenset({Status.PAUSED, Status.STOPPED})
_STEP = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a phase was begun with: the revision, the primary metric, and the digest of each metric."""

    revision: int
    primary: str
    metrics: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A planned metric that is measured in another way since `revision`; `digest` is the new one."""

    revision: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What went into one verdict beside the log up to an offset and a revision of the catalog.

    Of a snapshot of an older release `version` (of the software) and `enrolled` are empty, `planned` is None.
    """

    as_of: datetime
    quarantined: Mapping[str, int]
    planned: Planned | None = None
    changed: Mapping[str, Change] = field(default_factory=dict)
    version: str = ""
    enrolled: tuple[Enrolled, ...] = ()

    def exploratory(self, experiment: Experiment) -> frozenset[str]:
        """Return the metrics of an experiment that the phase was not begun with."""
        if self.planned is None:
            return frozenset()
        added = {key for key in experiment.metrics.keys() if key not in self.planned.metrics}  # noqa: SIM118
        primary = experiment.metrics.primary
        return frozenset(added if primary == self.planned.primary else {*added, primary})

    def to_json(self) -> str:
        """Return the form in which a snapshot keeps it."""
        planned = self.planned
        members = {
            "as_of_us": to_micros(self.as_of),
            "quarantined": dict(self.quarantined),
            "planned": planned
            and {
                "revision": planned.revision,
                "primary": planned.primary,
                "metrics": dict(planned.metrics),
            },
            "changed": {
                key: {"revision": one.revision, "digest": one.digest} for key, one in self.changed.items()
            },
            "version": self.version,
            "enrolled": [[one.since.isoformat(), one.share] for one in self.enrolled],
        }
        return json.dumps(members, sort_keys=True, separators=(",", ":"))


def recorded_of(snapshot: VerdictSnapshot) -> Recorded:
    """Return what went into a snapshot; one of an older release tells it by its body, but for the plan."""
    if not snapshot.inputs:
        body = json.loads(snapshot.body)
        return Recorded(as_of=snapshot.as_of, quarantined=body["exposure"]["quarantined"])
    members: dict[str, Any] = json.loads(snapshot.inputs)
    planned = members["planned"]
    return Recorded(
        as_of=from_micros(members["as_of_us"]),
        quarantined=members["quarantined"],
        planned=planned and Planned(**planned),
        changed={key: Change(**one) for key, one in members["changed"].items()},
        version=members["version"],
        enrolled=tuple(
            Enrolled(date.fromisoformat(day), share) for day, share in members.get("enrolled", ())
        ),
    )


def version_of(outline: VerdictOutline | VerdictSnapshot) -> str:
    """Return the software version that made a snapshot; empty of a release that kept none."""
    return str(json.loads(outline.inputs)["version"]) if outline.inputs else ""


@cache
def installed_version() -> str:
    """Return the version of this software; empty when it runs uninstalled."""
    try:
        return version("opportune")
    except PackageNotFoundError:
        return ""


def metric_digest(metric: Metric) -> str:
    """Return the digest of how a metric is measured: another label or owner is the same metric."""
    return digest_of(metric, without=TOLD_ONLY)


def config_digest(experiment: Experiment, metrics: Mapping[str, Metric]) -> str:
    """Return the digest of an experiment's own definition and its metrics'."""
    return digest_of(experiment, *(metrics[key] for key in experiment.metric_keys()))


def planned_of(
    store: Store, experiment: Experiment, before: VerdictSnapshot | None, *, revision: int, now: datetime
) -> Planned:
    """Return what a phase was begun with, as known from its last snapshot, else from the revisions.

    It was begun in the first revision in which it was no draft and its start had come: until then, nothing
    has been seen and a plan may still be changed.
    """
    if before is not None and (known := recorded_of(before).planned):
        return known
    begun = (revision, experiment, revision_of(store, revision))
    until = now
    for number in range(revision, 0, -1):
        stored = store.revision(number)
        loaded = revision_of(store, number)
        earlier = loaded.catalog.experiments.get(experiment.key) if loaded else None
        if stored is None or earlier is None or earlier.phase != experiment.phase:
            break
        if not _has_begun(earlier, until - _STEP):
            break
        begun, until = (number, earlier, loaded), stored.applied_at
    number, first, loaded = begun
    catalog = loaded.catalog.metrics if loaded else {}
    return Planned(
        revision=number,
        primary=first.metrics.primary,
        metrics={key: metric_digest(catalog[key]) for key in first.metrics.keys()},  # noqa: SIM118
    )


def changed_of(
    store: Store,
    metrics: Mapping[str, Metric],
    planned: Planned,
    before: VerdictSnapshot | None,
    *,
    revision: int,
) -> Mapping[str, Change]:
    """Return the planned metrics that are measured in another way by now, and since which revision."""
    known = recorded_of(before).changed if before is not None else {}
    found = {}
    for key in planned.metrics.keys() & metrics.keys():
        digest = metric_digest(metrics[key])
        if digest == planned.metrics[key]:
            continue
        same = key in known and known[key].digest == digest
        found[key] = (
            known[key] if same else Change(revision=_since(store, key, digest, revision), digest=digest)
        )
    return found


def _since(store: Store, key: str, digest: str, revision: int) -> int:
    """Return the first of the newest revisions in a row that have this definition of a metric."""
    number = revision
    while number > 1:
        loaded = revision_of(store, number - 1)
        metric = loaded.catalog.metrics.get(key) if loaded else None
        if metric is None or metric_digest(metric) != digest:
            break
        number -= 1
    return number


def _has_begun(experiment: Experiment, moment: datetime) -> bool:
    if experiment.status is Status.DRAFT:
        return False
    start = experiment.schedule.start_at
    return experiment.status in ENDED or start is None or start <= moment


def revision_of(store: Store, number: int) -> LoadedCatalog | None:
    """Return a revision as it is read today; None where it is not there or today's rules refuse it."""
    stored = store.revision(number)
    if stored is None:
        return None
    try:
        return load_files(tuple(sorted(stored.files.items())))
    except CatalogError:
        return None


@lru_cache(maxsize=4)
def load_files(files: tuple[tuple[str, str], ...]) -> LoadedCatalog:
    """Return the catalog of some files, sorted by name; the last few are remembered."""
    return load(dict(files))
