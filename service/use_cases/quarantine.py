"""The quarantine: judge its events again by the rules and the catalog of today.

An event is judged as of the moment it came, on the terms it came on. It leaves quarantine in the same write
that stores it, and is stored only if it was still there; what stays bad for another reason takes the place of
what it was. So replaying again, or twice at once, or after a crash at any point, changes nothing more, and
what is erased or dropped meanwhile does not come back.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from service.catalog.loader import LoadedCatalog
from service.clock import from_micros, to_micros
from service.errors import ProblemError
from service.log import logger
from service.storage.ports import IngestBatch, Store, StoreUnavailableError
from service.storage.records import AppendStatus, Event, HeldEvent, Mark, QuarantinedEvent
from service.use_cases.arrivals import Arrival
from service.use_cases.exposures import ExposureBook
from service.use_cases.holding import STRANGER
from service.use_cases.ingest import CONFLICT, NO_CONSENT, OTHER_PERSON, Judged, is_same, judge
from service.use_cases.terms import Terms
from service.use_cases.wishes import Wishes
from service.wire import read_json

PAGE = 200
VOUCHED = OTHER_PERSON.reason
"""Alone in its request such an event is good: only who names it, or this reason, has it judged again."""
ACCEPTED, DUPLICATE, REFUSED, GONE = "accepted", "duplicate", "refused", "gone"
"""What an event that leaves quarantine became; one that stays has a reason instead."""
PATIENCE_S = 10.0
LEAST_DIGITS = 6
NAME = re.compile(rf"[0-9a-f]{{{LEAST_DIGITS},64}}", re.ASCII)
PLACE = re.compile(r"([0-9]{1,16})-([0-9a-f]{64})", re.ASCII)
Place = tuple[datetime, str]
"""Where a page ended: received_at and digest of its last event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which events are judged again, and how.

    `before_launch` takes exposures that are dated before their phase went live, as from a server key: whoever
    asks for it knows that the experiment did run by then.
    """

    reason: str = ""
    digests: Sequence[str] = ()
    dry_run: bool = False
    before_launch: bool = False

    @property
    def vouched(self) -> bool:
        """Tell whether whoever asks says that events of somebody else's request are genuine."""
        return bool(self.digests) or self.reason == VOUCHED


@dataclass(slots=True)
class Report:
    """What became of the events: (reason before, what it is now) -> how many; `why` is an example of each."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    why: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """Return how many events were judged."""
        return self.outcomes.total()

    def became(self, *now: str) -> int:
        """Return how many events became one of `now`."""
        return sum(n for (_, found), n in self.outcomes.items() if found in now)

    @property
    def stay(self) -> int:
        """Return how many are in quarantine still, for the same reason or another."""
        return self.judged - self.became(ACCEPTED, DUPLICATE, REFUSED, GONE)

    def note(self, was: str, now: str, why: str) -> None:
        """Count one event."""
        self.outcomes[was, now] += 1
        self.why.setdefault((was, now), why)

    def correct(self, was: str, noted: str, now: str, why: str = "") -> None:
        """Count one event as something else than was noted before."""
        self.outcomes[was, noted] -= 1
        self.note(was, now, why)
        self.outcomes = +self.outcomes

    def add(self, other: "Report") -> None:
        """Count what another report counted."""
        self.outcomes.update(other.outcomes)
        self.why = {**other.why, **self.why}

    def record(self, *, by: str) -> None:
        """Write into the log what was done and on whose word."""
        outcomes = {f"{was}>{now}": n for (was, now), n in sorted(self.outcomes.items())}
        logger().info("quarantine_replayed", by=by, events=self.judged, **outcomes)

    def members(self) -> dict[str, Any]:
        """Return the report as JSON members."""
        return {
            "judged": self.judged,
            ACCEPTED: self.became(ACCEPTED),
            DUPLICATE: self.became(DUPLICATE),
            REFUSED: self.became(REFUSED),
            "quarantined": self.stay,
            "outcomes": [
                {"was": was, "now": now, "n": n, "why": self.why[was, now]}
                for (was, now), n in sorted(self.outcomes.items())
            ],
        }


class Replay:
    """Judges quarantined events again, a page at a time, oldest first: the order they came in."""

    def __init__(self, store: Store, book: ExposureBook, loaded: LoadedCatalog, asked: Asked) -> None:
        self._store = store
        self._book = book
        self._loaded = loaded
        self._asked = asked

    def page(self, after: Place | None = None, *, limit: int = PAGE) -> tuple[Report, Place | None]:
        """Judge up to `limit` events behind `after`; return the report and the place to go on from, if any.

        Raises
        ------
        StoreUnavailableError
            Some of the page may be done; doing it again is harmless.
        """
        if self._asked.digests:
            return self._run(_named(self._store, self._asked.digests)), None
        found = self._store.quarantined(
            reason=self._asked.reason, after=after, limit=limit, oldest_first=True
        )
        last = found[-1] if len(found) == limit else None
        return self._run(found), (last.held.received_at, last.digest) if last else None

    def pages(self) -> Iterator[Report]:
        """Judge everything that was asked for; give the report of each page."""
        place: Place | None = None
        while True:
            report, place = self.page(place)
            yield report
            if place is None:
                return

    def _run(self, found: Sequence[HeldEvent]) -> Report:
        # Made anew for each page: what people decide while a long replay runs is heeded.
        wishes = Wishes()
        judged = [(one, self._judged(one.held, wishes)) for one in found]
        plan = _Plan(self._store, judged, vouched=self._asked.vouched)
        if not self._asked.dry_run:
            plan.carry_out(self._store)
        return plan.report

    def _judged(self, held: QuarantinedEvent, wishes: Wishes) -> Judged | None:
        """Judge one event again; None when there is nothing to judge, or nobody vouches for it."""
        if held.reason == VOUCHED and not self._asked.vouched:
            return None
        sent = held.canonical.encode()
        try:
            canonical = read_json(sent, limit=len(sent))
        except ProblemError:
            return None
        terms = Terms(
            trust=held.trust,
            source=held.source,
            now=held.received_at,
            rules=self._loaded.data,
            metrics=self._loaded.catalog.metrics,
            user_agent=held.context.get("user_agent", ""),
            signals=frozenset(Mark(mark) for mark in held.context.get("signals", "").split()),
            backfill=self._asked.before_launch,
        )
        return judge(self._store, self._book, [Arrival(canonical)], terms=terms, wishes=wishes)


class _Write(NamedTuple):
    """What is to be written for one event, and what it becomes by that."""

    one: HeldEvent
    now: str
    batch: IngestBatch


class _Plan:
    """What is to become of each event of a page, and the writes that it takes."""

    def __init__(
        self, store: Store, page: Sequence[tuple[HeldEvent, Judged | None]], *, vouched: bool
    ) -> None:
        self.report = Report()
        self._vouched = vouched
        self._writes: list[_Write] = []
        ids = {received.event.event_id for _, judged in page if judged for received in judged.batch.events}
        self._known = _stored(store, ids) if ids else {}
        for one, judged in page:
            self._decide(one, judged)

    def _decide(self, one: HeldEvent, judged: Judged | None) -> None:
        was = one.held.reason
        if judged is None:
            self.report.note(was, was, one.held.detail)
        elif judged.batch.quarantined:
            (again,) = judged.batch.quarantined
            self._keep(one, again.reason, again.detail)
        elif judged.batch.events and one.held.context.get(STRANGER) and not self._vouched:
            self._keep(one, OTHER_PERSON.reason, OTHER_PERSON.detail)
        elif judged.batch.events:
            self._store_once(one, judged.batch)
        else:
            # Meanwhile the person does not want it to be stored; so it is not kept here either.
            self._take_out(one, REFUSED, IngestBatch(), NO_CONSENT.detail)

    def _store_once(self, one: HeldEvent, batch: IngestBatch) -> None:
        event = batch.events[0].event
        stored = self._known.get(event.event_id)
        if stored is None:
            # The next one of this id is compared with this one: what came first is stored.
            self._known[event.event_id] = event
            self._take_out(one, ACCEPTED, batch)
        elif is_same(event, stored):
            self._take_out(one, DUPLICATE, batch)
        else:
            self._keep(one, CONFLICT.reason, CONFLICT.detail)

    def _keep(self, one: HeldEvent, reason: str, detail: str) -> None:
        if reason == one.held.reason:
            self.report.note(reason, reason, detail)
        else:
            moved = replace(one.held, reason=reason, detail=detail)
            self._take_out(one, reason, IngestBatch(quarantined=[moved]), detail)

    def _take_out(self, one: HeldEvent, now: str, batch: IngestBatch, why: str = "") -> None:
        self.report.note(one.held.reason, now, why)
        self._writes.append(_Write(one, now, replace(batch, replayed=[one.digest])))

    def carry_out(self, store: Store) -> None:
        """Write it, each event by itself; who was first in the meantime is asked about afterwards."""
        late: list[_Write] = []
        for write, statuses in _written(store, self._writes):
            if AppendStatus.GONE in statuses:
                self._say_gone(write)
            elif AppendStatus.DUPLICATE in statuses:
                late.append(write)
            elif AppendStatus.ACCEPTED in statuses and write.now == DUPLICATE:
                self.report.correct(write.one.held.reason, DUPLICATE, ACCEPTED)
        if late:
            self._give_way(store, late)

    def _give_way(self, store: Store, late: Sequence[_Write]) -> None:
        """Take out events whose id is taken: they are in quarantine until this write, so none can be lost."""
        stored = _stored(store, {write.batch.events[0].event.event_id for write in late})
        writes: list[_Write] = []
        for write in late:
            held, event = write.one.held, write.batch.events[0].event
            taken = stored.get(event.event_id)
            now, why, quarantined = DUPLICATE, "", []
            if taken is None:
                # It was erased a moment ago; the next replay finds the id free, or this one erased, too.
                self.report.correct(held.reason, write.now, held.reason, held.detail)
                continue
            if not is_same(event, taken):
                now, why = CONFLICT.reason, CONFLICT.detail
                quarantined = [replace(held, reason=now, detail=why)]
            if now != write.now:
                self.report.correct(held.reason, write.now, now, why)
            batch = IngestBatch(replayed=[write.one.digest], quarantined=quarantined)
            writes.append(_Write(write.one, now, batch))
        for write, statuses in _written(store, writes):
            if AppendStatus.GONE in statuses:
                self._say_gone(write)

    def _say_gone(self, write: _Write) -> None:
        why = "it was erased, dropped or replayed meanwhile"
        self.report.correct(write.one.held.reason, write.now, GONE, why)


def drop_reason(store: Store, reason: str, *, limit: int | None = None) -> int:
    """Delete the events of one reason for good, the newest first, at most about `limit`; return how many.

    What arrives meanwhile stays.
    """
    dropped, place = 0, None
    while limit is None or dropped < limit:
        page = store.quarantined(reason=reason, after=place, limit=PAGE)
        if not page:
            break
        dropped += store.drop_quarantined(one.digest for one in page)
        place = (page[-1].held.received_at, page[-1].digest)
    return dropped


def summary(one: HeldEvent) -> dict[str, Any]:
    """Return what a list says of an event, as JSON members."""
    held = one.held
    return {
        "event": one.digest,
        "event_id": held.event_id,
        "reason": held.reason,
        "detail": held.detail,
        "received_at": held.received_at.astimezone(UTC).isoformat(),
        "source": held.source,
        "trust": held.trust,
    }


def whole(one: HeldEvent) -> dict[str, Any]:
    """Return everything that is kept of an event, as JSON members.

    `body` is what was sent (base64 where `encoding` says so), `canonical` what was judged.
    """
    held = one.held
    more = {"body": held.body, "encoding": held.encoding, "canonical": held.canonical}
    return {**summary(one), **more, "context": dict(held.context)}


def begin_with(store: Store, name: str) -> Sequence[HeldEvent]:
    """Return the events, at most two, whose name begins with at least 6 hex digits of `name`."""
    digits = name.lower()
    return store.quarantined_event(digits) if NAME.fullmatch(digits) else []


def place_text(place: Place) -> str:
    """Return a place in a list in a form that may travel."""
    return f"{to_micros(place[0])}-{place[1]}"


def read_place(text: str) -> Place:
    """Return the place of `place_text`; ValueError if it is none."""
    found = PLACE.fullmatch(text)
    if found is None:
        raise ValueError("expected `next` of the answer before, as it came")
    return from_micros(int(found[1])), found[2]


def _named(store: Store, digests: Iterable[str]) -> Sequence[HeldEvent]:
    return [one for digest in digests for one in store.quarantined_event(digest) if one.digest == digest]


def _stored(store: Store, event_ids: Iterable[str]) -> dict[str, Event]:
    found = store.stored_events(event_ids)
    return {logged.received.event.event_id: logged.received.event for logged in found}


def _written(store: Store, writes: Sequence[_Write]) -> Iterator[tuple[_Write, Sequence[AppendStatus]]]:
    for write, future in [(write, store.submit(write.batch)) for write in writes]:
        yield write, _outcome(future)


def _outcome(future: Future[Sequence[AppendStatus]]) -> Sequence[AppendStatus]:
    try:
        return future.result(timeout=PATIENCE_S)
    except TimeoutError as error:
        raise StoreUnavailableError(f"no answer from the database within {PATIENCE_S:g} s") from error
