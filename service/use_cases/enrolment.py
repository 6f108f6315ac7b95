"""Which share of all units an experiment enrolled on each day, by what was live and which gates were open."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from experiments.actions import Action
from experiments.definitions import Experiment
from experiments.evidence import Enrolled
from experiments.lifecycle import TOTAL_BP, Status
from experiments.steering import steered_experiment
from service.storage.analysis_records import Steering
from service.storage.ports import Store
from service.use_cases.verdict_inputs import Recorded, revision_of

LOOK_BACK = 200
"""So many decisions of a phase are read; the gates that opened lately are among them."""
DAY = timedelta(days=1)


def enrolled_of(
    store: Store, experiment: Experiment, before: Recorded | None, *, revision: int, as_of: datetime
) -> tuple[Enrolled, ...]:
    """Return the share of all units that was enrolled on each day that ended before `as_of`.

    What is known of a day from the last snapshot stays; the days since then are found from the revisions
    that were live in them and from when gates of the ramp were opened. Before the first revision in which the
    phase had begun, its share counts. A day on which the share changed has none.
    """
    known = before.enrolled if before else ()
    first, until = before.as_of.astimezone(UTC).date() if before and known else None, _day(as_of)
    if first is not None and first >= until:
        return known
    phase = _Phase(
        live=tuple(reversed(list(_live(store, experiment, revision, first)))),
        steering=store.live_state().steering,
        opened=_opened(store, experiment),
    )
    found = list(known)
    for day in phase.days(first, until):
        share = phase.share_on(day)
        if not found or found[-1].share != share:
            found.append(Enrolled(day, share))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    """What was live since when, oldest first (None: it cannot be read), and when gates were opened."""

    live: Sequence[tuple[datetime, Experiment | None]]
    steering: Mapping[tuple[str, int], Steering]
    opened: Sequence[datetime]

    def days(self, first: date | None, until: date) -> Sequence[date]:
        """Return the days from `first` on, before `until`, on which the share may be another than before."""
        moved = {_day(moment) for moment in self._moments() if moment < _midnight(until)}
        first = first or min(moved | {until - DAY})
        days = moved | {day + DAY for day in moved} | {first}
        return sorted(day for day in days if first <= day < until)

    def share_on(self, day: date) -> float | None:
        """Return the share of all units that a day enrolled; None where it changed or is not known."""
        start = _midnight(day)
        inside = {start, *(moment for moment in self._moments() if start < moment < start + DAY)}
        shares = {self._share_at(moment) for moment in inside}
        enrolling = shares - {0.0} or {0.0}
        return enrolling.pop() if len(enrolling) == 1 else None

    def _moments(self) -> Iterator[datetime]:
        yield from self.opened
        for since, experiment in self.live:
            yield since
            if experiment is not None:
                yield from (step.at for step in experiment.ramp)

    def _share_at(self, moment: datetime) -> float | None:
        n = bisect_right([since for since, _experiment in self.live], moment)
        experiment = self.live[max(0, n - 1)][1]
        n_opened = bisect_right(self.opened, moment)
        if experiment is None or 0 < n_opened < len(self.opened):
            # How many steps a gate opened is told of the last one only.
            return None
        if n_opened:
            experiment = steered_experiment(experiment, self.steering)
        place = experiment.layer.share_bp / TOTAL_BP if experiment.layer else 1.0
        return experiment.share_at(moment) / TOTAL_BP * place


def _live(
    store: Store, experiment: Experiment, revision: int, first: date | None
) -> Iterator[tuple[datetime, Experiment | None]]:
    """Yield since when each revision of the phase was live, newest first, back to the start of `first`."""
    for number in range(revision, 0, -1):
        stored, loaded = store.revision(number), revision_of(store, number)
        one = loaded.catalog.experiments.get(experiment.key) if loaded else None
        gone = loaded is not None and one is None
        if stored is None or gone or (one and (one.phase != experiment.phase or one.status is Status.DRAFT)):
            break
        yield stored.applied_at, one
        if first is not None and stored.applied_at <= _midnight(first):
            break


def _opened(store: Store, experiment: Experiment) -> Sequence[datetime]:
    if not any(step.gated for step in experiment.ramp):
        return ()
    decisions = store.decisions(experiment.key, phase=experiment.phase, limit=LOOK_BACK)
    found = sorted(one.decided_at for one in decisions if one.action == Action.RAMP_STEP)
    steering = store.live_state().steering.get((experiment.key, experiment.phase))
    if not found and steering and steering.ramp_steps is not None and steering.changed_at:
        return (steering.changed_at,)
    return found


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
