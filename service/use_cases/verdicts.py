"""Read verdicts: the list, and one snapshot."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from experiments.definitions import Catalog, Experiment
from experiments.lifecycle import Schedule, Status
from experiments.plans import EVERYTHING
from service.catalog.findings import did_you_mean
from service.clock import utc_now
from service.errors import ProblemError
from service.storage.ports import Verdicts
from service.storage.records import VerdictSnapshot

UNSERVED = {
    Status.DRAFT: "Draft: nobody takes part.",
    Status.PAUSED: "Paused: everybody gets the control value; who took part is counted to the end.",
    Status.STOPPED: "Stopped: everybody gets the control value; who took part is counted to the end.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line of the list; the members of the verdict are empty before the first one."""

    experiment: str
    status: str
    killed: bool
    standing: str
    phase: int
    owner: str
    statement: str
    decision: str
    variant: str
    text: str
    as_of: str
    computed_at: str

    def members(self) -> dict[str, object]:
        """Return the wire form."""
        return asdict(self)


def listing(
    catalog: Catalog, killed: frozenset[str], verdicts: Verdicts, *, now: datetime | None = None
) -> Sequence[Summary]:
    """Return every experiment of the catalog, by key, with its newest decision; `now` as in `standing`."""
    return [
        _summary(
            experiment,
            verdicts.latest_verdict(key),
            killed=key in killed or EVERYTHING in killed,
            standing=standing(catalog, killed, key, now=now),
        )
        for key, experiment in sorted(catalog.experiments.items())
    ]


def find(catalog: Catalog, verdicts: Verdicts, key: str) -> VerdictSnapshot:
    """Return the newest snapshot of one experiment; one that left the catalog keeps its last verdict.

    Raises
    ------
    ProblemError
        unknown_experiment or no_verdict_yet, both 404.
    """
    snapshot = verdicts.latest_verdict(key)
    experiment = catalog.experiments.get(key)
    if snapshot is not None and (experiment is None or experiment.phase <= snapshot.phase):
        return snapshot
    if experiment is None:
        raise unknown(catalog, key)
    if experiment.status is Status.DRAFT:
        detail = f"{key} is a draft: `opportune start {key}`"
    else:
        detail = f"the worker judges {key} within seconds of the first event after the launch"
    raise ProblemError(404, "no_verdict_yet", detail)


def standing(catalog: Catalog, killed: frozenset[str], key: str, *, now: datetime | None = None) -> str:
    """Say why units do not get their own variants now, whatever the verdict says; empty while they do.

    The catalog is the one that is served: with what was decided about its experiments. `now` is aware, and
    None is the time of this machine.
    """
    experiment = catalog.experiments.get(key)
    if experiment is None:
        return "It has left the catalog: this is its last verdict."
    if EVERYTHING in killed:
        return "Killed, as everything is: everybody gets the control value until `opportune revive '*'`."
    if key in killed:
        return f"Killed: everybody gets the control value until `opportune revive {key}`."
    if experiment.status in UNSERVED:
        return UNSERVED[experiment.status]
    outside = _outside(experiment.schedule, now or utc_now())
    if outside or not experiment.shipped:
        return outside
    return (
        f"Shipped: everybody gets `{experiment.shipped}` until the catalog says otherwise "
        f"(`opportune unship {key}` ends it); who took part before is counted to the end."
    )


def _outside(schedule: Schedule, now: datetime) -> str:
    if schedule.is_open(now):
        return ""
    if schedule.start_at is not None and now < schedule.start_at:
        return f"It begins at {when(schedule.start_at)}: until then everybody gets the control value."
    end_at = schedule.end_at or now
    return (
        f"Its schedule ended at {when(end_at)}: everybody gets the control value; "
        "who took part is counted to the end."
    )


def body_of(snapshot: VerdictSnapshot) -> dict[str, Any]:
    """Return the parsed verdict JSON."""
    parsed: dict[str, Any] = json.loads(snapshot.body)
    return parsed


def when(moment: datetime) -> str:
    """Return a time for people, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def unknown(catalog: Catalog, key: str) -> ProblemError:
    """Return what is told about a key that is no experiment's: 404, with a near one."""
    hint = did_you_mean(key, catalog.experiments)
    told = f"no experiment {key[:64]!r} is in the live catalog{f'; {hint}' if hint else ''}"
    return ProblemError(404, "unknown_experiment", told)


def _summary(
    experiment: Experiment, snapshot: VerdictSnapshot | None, *, killed: bool, standing: str
) -> Summary:
    current = snapshot if snapshot and snapshot.phase == experiment.phase else None
    body = body_of(current) if current else {}
    return Summary(
        experiment=experiment.key,
        status=experiment.status.value,
        killed=killed,
        standing=standing,
        phase=experiment.phase,
        owner=experiment.owner,
        statement=experiment.statement,
        decision=body.get("decision") or "",
        variant=body.get("variant") or "",
        text=body.get("text") or "",
        as_of=body.get("as_of") or "",
        computed_at="" if current is None else current.computed_at.astimezone(UTC).isoformat(),
    )
