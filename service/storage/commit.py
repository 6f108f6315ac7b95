"""Group commit: request threads encode and wait, one thread a process writes many batches with one fsync."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from sqlalchemy import Connection, delete, select
from sqlalchemy.sql import ColumnElement

from service.storage import schema
from service.storage.engine import Database
from service.storage.ports import StoreBusyError, StoreUnavailableError
from service.storage.records import AppendStatus
from service.storage.writers import Row, Writer

GROUP_ROWS = 2_000
WAITING_ROWS = 40_000
ROW_CHARS = 4_096
"""So much text takes the room of one more row: large events may not fill the memory."""
PATIENCE_S = 10.0
PROBE_EVERY_S = 1.0
LINGER_FROM = 4
"""So many batches in flight, lately, make a group wait for those that are still on their way."""
FORGETTING = 0.9
TENANT, EVENT_ID, TYPE, OCCURRED_US, PROPERTIES = 0, 1, 2, 6, 10
"""Places in a row of `event`."""
BODY, CANONICAL = 5, 16
"""Places in a row of `quarantine`."""
HeldKey: TypeAlias = tuple[str, str]
"""(tenant, digest) of an event in quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBatch:
    """The rows of one request, ready for the driver; `interactions[i]` and so on belong to `events[i]`.

    Interactions have no part yet: it follows from where in the log the events come to lie.
    """

    events: Sequence[Row] = ()
    interactions: Sequence[Sequence[Row]] = ()
    active: Sequence[Sequence[str]] = ()
    links: Sequence[Sequence[Row]] = ()
    replayed: Sequence[HeldKey] = ()
    quarantined: Sequence[Row] = ()
    slates: Sequence[Row] = ()

    @property
    def weight(self) -> int:
        """Return how much room the batch takes in the waiting room: its rows and text, and one for itself."""
        copies = sum(map(len, self.interactions)) + sum(map(len, self.active)) + sum(map(len, self.links))
        others = len(self.quarantined) + len(self.slates) + len(self.replayed)
        text = sum(len(row[PROPERTIES]) for row in self.events)
        text += sum(len(row[BODY]) + len(row[CANONICAL] or "") for row in self.quarantined)
        return 1 + len(self.events) + copies + others + text // ROW_CHARS


def commit_group(
    connection: Connection, batches: Sequence[EncodedBatch], writer: Writer
) -> list[list[AppendStatus]]:
    """Write all batches inside the open transaction; return the status of each event of each batch.

    An id that comes twice in the group is accepted for the first that asked, a duplicate for the later one.
    A batch whose quarantined events are not all there any more, erased, dropped or replayed meanwhile, has
    nothing written and one status: gone. They stay where they are when an event of the batch is a duplicate:
    whether it is the same one, nobody has looked.
    """
    whole = batches
    batches = _still_there(connection, whole)
    new = writer.insert_events(connection, [row for batch in batches for row in batch.events])
    statuses: list[list[AppendStatus]] = []
    gathered = _Gathered()
    for batch in batches:
        answer: list[AppendStatus] = []
        for position, row in enumerate(batch.events):
            key = (row[TENANT], row[EVENT_ID])
            if key in new.keys:
                new.keys.discard(key)
                answer.append(AppendStatus.ACCEPTED)
                gathered.take(batch, position, row)
            else:
                answer.append(AppendStatus.DUPLICATE)
        statuses.append(answer)
    writer.insert(connection, schema.interaction, gathered.interaction_rows(new.part))
    writer.add_activity(connection, gathered.activity_rows(new.part))
    writer.add_links(connection, gathered.link_rows())
    _take_out(connection, batches, statuses)
    writer.insert(connection, schema.quarantine, [row for batch in batches for row in batch.quarantined])
    writer.insert(connection, schema.slate, [row for batch in batches for row in batch.slates])
    if len(batches) == len(whole):
        return statuses
    told = {id(batch): answer for batch, answer in zip(batches, statuses, strict=True)}
    return [told.get(id(batch), [AppendStatus.GONE]) for batch in whole]


class _Gathered:
    """What the new events of a group leave behind; rows of one key become one, in the order of the keys.

    The order keeps two writers of PostgreSQL from waiting for each other in a circle.
    """

    def __init__(self) -> None:
        self._interactions: list[Row] = []
        self._activity: dict[tuple[str, str, str], list[int]] = {}
        self._links: dict[Row, int] = {}

    def take(self, batch: EncodedBatch, position: int, event: Row) -> None:
        """Take in what belongs to one new event."""
        if position < len(batch.interactions):
            self._interactions.extend(batch.interactions[position])
        if position < len(batch.active):
            at = event[OCCURRED_US]
            for person_id in batch.active[position]:
                known = self._activity.setdefault((event[TENANT], person_id, event[TYPE]), [0, at, at])
                known[0] += 1
                known[1] = min(known[1], at)
                known[2] = max(known[2], at)
        if position < len(batch.links):
            for *names, linked_us in batch.links[position]:
                key = tuple(names)
                self._links[key] = min(self._links.get(key, linked_us), linked_us)

    def interaction_rows(self, part: int) -> list[Row]:
        """Return the rows for `interaction`."""
        return [(tenant, part, *rest) for tenant, *rest in self._interactions]

    def activity_rows(self, part: int) -> list[Row]:
        """Return the rows for `person_activity`."""
        return [(tenant, part, *rest, *value) for (tenant, *rest), value in sorted(self._activity.items())]

    def link_rows(self) -> list[Row]:
        """Return the rows for `identity_link`."""
        return [(*key, linked_us) for key, linked_us in sorted(self._links.items())]


def _still_there(connection: Connection, batches: Sequence[EncodedBatch]) -> Sequence[EncodedBatch]:
    """Return the batches of which all that is replayed is in quarantine; nobody else takes it out now."""
    wanted = {key for batch in batches for key in batch.replayed}
    if not wanted:
        return batches
    table = schema.quarantine
    there: set[HeldKey] = set()
    for mine in _by_tenant(wanted):
        query = select(table.c.tenant, table.c.digest).where(*mine).order_by(table.c.digest)
        there.update((tenant, digest) for tenant, digest in connection.execute(query.with_for_update()))
    kept: list[EncodedBatch] = []
    for batch in batches:
        if there.issuperset(batch.replayed):
            there.difference_update(batch.replayed)
            kept.append(batch)
    return kept


def _take_out(
    connection: Connection, batches: Sequence[EncodedBatch], statuses: Sequence[Sequence[AppendStatus]]
) -> None:
    """Delete from quarantine what is replayed by batches without a duplicate."""
    told = zip(batches, statuses, strict=True)
    done = {key for batch, answer in told if AppendStatus.DUPLICATE not in answer for key in batch.replayed}
    for mine in _by_tenant(done):
        connection.execute(delete(schema.quarantine).where(*mine))


def _by_tenant(keys: Iterable[HeldKey]) -> Iterator[Sequence[ColumnElement[bool]]]:
    """Yield conditions that together name the rows of `keys`, each answered by the primary key."""
    table = schema.quarantine
    for tenant, mine in groupby(sorted(keys), key=itemgetter(0)):
        yield table.c.tenant == tenant, table.c.digest.in_([digest for _, digest in mine])


@dataclass(slots=True)
class _Pending:
    """A batch that waits for its turn; the future gets its outcome, whoever waits for it and wherever."""

    batch: EncodedBatch
    outcome: "Future[Sequence[AppendStatus]]" = field(default_factory=Future)

    def __post_init__(self) -> None:
        # Who waits may go away; the batch is written all the same, so its future cannot be cancelled.
        self.outcome.set_running_or_notify_cancel()

    def settle(
        self, *, statuses: Sequence[AppendStatus] | None = None, error: Exception | None = None
    ) -> None:
        if self.outcome.done():
            return
        if error is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(statuses or [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Linger:
    """How long a group may wait for batches on their way: in all, and for the next one to come."""

    most_s: float = 0.01
    quiet_s: float = 0.001


class GroupCommitter:
    """The one commit thread of a process; it starts with the first batch and so always after a fork."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        *,
        waiting_rows: int = WAITING_ROWS,
        patience_s: float = PATIENCE_S,
        linger: Linger = Linger(),
    ) -> None:
        self._database = database
        self._writer = writer
        self._waiting_rows = waiting_rows
        self._patience_s = patience_s
        self._linger = linger
        self._changed = threading.Condition()
        self._waiting: deque[_Pending] = deque()
        self._weight = 0
        self._expected = 1.0
        self._closing = False
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._turn_began: float | None = None
        self._probing = threading.Lock()
        self._probe_at = 0.0

    def append(self, batch: EncodedBatch) -> Sequence[AppendStatus]:
        """Queue `batch`, block until it is durable, return the status of each event."""
        try:
            return self.submit(batch).result(timeout=self._patience_s)
        except TimeoutError as error:
            self._failure = f"no answer from the database within {self._patience_s:g} s"
            raise StoreUnavailableError(
                f"{self._failure}; the batch may or may not be stored, sending it again is harmless"
            ) from error

    def submit(self, batch: EncodedBatch) -> "Future[Sequence[AppendStatus]]":
        """Queue `batch`; the future is done once it is durable, or once it is known not to be."""
        pending = _Pending(batch)
        self._enter(pending)
        return pending.outcome

    def check(self) -> None:
        """Raise StoreUnavailableError while writing fails or hangs; after a failure one is tried at times.

        Without that try a server that was taken out of the turn for its full disk would never come back.
        """
        began = self._turn_began
        if began is not None and time.monotonic() - began > self._patience_s:
            raise StoreUnavailableError(f"no answer from the database within {self._patience_s:g} s")
        if not self._failure:
            return
        with self._probing:
            if self._failure and time.monotonic() >= self._probe_at:
                try:
                    self._database.probe()
                except StoreUnavailableError as error:
                    self._failure = str(error)
                else:
                    self._failure = ""
                self._probe_at = time.monotonic() + PROBE_EVERY_S
            if self._failure:
                raise StoreUnavailableError(self._failure)

    def close(self) -> bool:
        """Write what was accepted, then end the thread; return False if it is stuck and was left behind."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=self._patience_s)
        return self._thread is None or not self._thread.is_alive()

    def _enter(self, pending: _Pending) -> None:
        with self._changed:
            if self._closing:
                raise StoreUnavailableError("the store is closing")
            if self._weight + pending.batch.weight > self._waiting_rows and self._waiting:
                raise StoreBusyError(f"{self._weight} rows are waiting to be written already")
            self._waiting.append(pending)
            self._weight += pending.batch.weight
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
                self._thread.start()
            if len(self._waiting) == 1 or not self._may_grow():
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                self._gather()
            self._turn()

    def _gather(self) -> None:
        """Let as many batches gather as were in flight lately, for as long as they keep coming.

        On a fast disk waiting for the turn is no linger: a commit that is over before the next request has
        been read would be paid for every few events. Who comes alone, or nearly, does not wait.
        """
        if self._expected < LINGER_FROM:
            return
        end = time.monotonic() + self._linger.most_s
        seen = 0
        while seen < len(self._waiting) and self._may_grow() and not self._closing:
            seen = len(self._waiting)
            self._changed.wait(min(self._linger.quiet_s, end - time.monotonic()))

    def _may_grow(self) -> bool:
        """Tell whether more batches are expected, and whether they would still be in this group."""
        return len(self._waiting) < self._expected and 2 * self._weight <= GROUP_ROWS

    def _expect(self, group: list[_Pending]) -> None:
        """Remember how many are in flight: those about to be answered, and those who came meanwhile."""
        with self._changed:
            self._expected = max(len(group) + len(self._waiting), FORGETTING * self._expected)

    def _turn(self) -> None:
        """Take the turn, then whatever has gathered meanwhile.

        This thread waits without an end: who waits for it has a deadline, and only a blocking wait is fair.
        Nothing may end the thread, and nobody may wait for an answer that will not come.
        """
        group: list[_Pending] = []
        self._turn_began = time.monotonic()
        try:
            with self._database.turn():
                group = self._drain()
                self._commit(group)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the next batch deserves its own try
            reason = f"the lock file refused: {error.strerror}" if isinstance(error, OSError) else ""
            self._fail(group or self._drain(), reason or f"the commit failed: {type(error).__name__}")
        finally:
            self._turn_began = None

    def _drain(self) -> list[_Pending]:
        group: list[_Pending] = []
        weight = 0
        with self._changed:
            while self._waiting and (not group or weight + self._waiting[0].batch.weight <= GROUP_ROWS):
                pending = self._waiting.popleft()
                group.append(pending)
                weight += pending.batch.weight
            self._weight -= weight
        return group

    def _commit(self, group: list[_Pending]) -> None:
        try:
            batches = [pending.batch for pending in group]
            statuses = self._database.write(
                lambda connection: commit_group(connection, batches, self._writer)
            )
        except StoreUnavailableError as error:
            self._fail(group, str(error))
        except Exception as error:  # noqa: BLE001 - one poisonous row must not fail the others, nor end the thread
            if len(group) == 1:
                group[0].settle(error=error)
            else:
                for pending in group:
                    self._commit([pending])
        else:
            self._failure = ""
            self._expect(group)
            for pending, answer in zip(group, statuses, strict=True):
                pending.settle(statuses=answer)

    def _fail(self, group: list[_Pending], reason: str) -> None:
        """Tell those who are not answered yet, and remember it for `check`."""
        self._failure = reason
        for pending in group:
            pending.settle(error=StoreUnavailableError(reason))
