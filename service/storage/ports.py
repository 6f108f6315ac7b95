"""What use cases may ask of a store; the docstrings are the contract that tests/service/storage checks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.storage.analysis_ports import Decisions, Goals, Leases, Outbox, Steerings
from service.storage.records import (
    Activity,
    AppendStatus,
    Consent,
    HeldEvent,
    HeldReason,
    IdentityLink,
    Interaction,
    Item,
    KeyClass,
    LiveState,
    LoggedEvent,
    QuarantinedEvent,
    ReceivedEvent,
    Slate,
    StoredKey,
    StoredRevision,
    VerdictOutline,
    VerdictSnapshot,
)


class StoreUnavailableError(Exception):
    """The store cannot be reached or is full; the caller answers 503 and the client retries."""


class StoreBusyError(StoreUnavailableError):
    """The waiting room in front of the store is full; the caller answers 503 with Retry-After."""


class StoreConflictError(Exception):
    """What the caller decided upon is not so any more; nothing was written, deciding again helps."""


class RevisionMovedError(StoreConflictError):
    """Another revision went live since the caller reviewed its own against the live one."""

    def __init__(self, *, expected: int, live: int) -> None:
        super().__init__(f"revision {live} went live meanwhile; this one was reviewed against {expected}")
        self.expected = expected
        self.live = live


@dataclass(frozen=True, slots=True)
class IngestBatch:
    """One atomic write.

    `interactions[i]`, `active[i]` (the person ids whose activity the event counts for) and `links[i]` belong
    to `events[i]` and are written only if that event is new. `replayed` are digests of quarantined events
    that this write takes out of quarantine. It takes out none when one of the events is a duplicate, and
    writes nothing at all when one of the digests is not there.
    """

    events: Sequence[ReceivedEvent] = ()
    interactions: Sequence[Sequence[Interaction]] = ()
    active: Sequence[Sequence[str]] = ()
    links: Sequence[Sequence[IdentityLink]] = ()
    replayed: Sequence[str] = ()
    quarantined: Sequence[QuarantinedEvent] = ()
    slates: Sequence[Slate] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """For how many days rows are kept; an event can be recognized as a duplicate for as long as it is."""

    events: int = 400
    interactions: int = 400
    quarantine: int = 90
    slates: int = 90
    verdicts: int = 100
    """Verdict snapshots of each phase, not days."""


class LogReader(Protocol):
    """The log, for those who only read it."""

    def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Return up to `limit` events with seq > `after` in log order (commit order, not event time)."""
        ...

    def last_seq(self) -> int:
        """Return the offset of the newest event, 0 for an empty log."""
        ...


class EventLog(LogReader, Protocol):
    """Append-only log of events, de-duplicated by (tenant, event_id)."""

    def append(self, batch: IngestBatch) -> Sequence[AppendStatus]:
        """Write `batch` in one durable transaction; return, in order, accepted or duplicate for each event.

        Idempotent. An id twice in one batch is accepted once. Blocks until committed.

        Raises
        ------
        StoreUnavailableError
            Nothing of the batch was written, or it is unknown whether it was (retrying is harmless).
        """
        ...

    def submit(self, batch: IngestBatch) -> "Future[Sequence[AppendStatus]]":
        """Queue what `append` would write and return at once; the future has its answer or its error.

        Raises
        ------
        StoreBusyError
            If too much is waiting already.
        """
        ...

    def stored_events(self, event_ids: Iterable[str]) -> Sequence[LoggedEvent]:
        """Return the events that are stored under these ids, in no order."""
        ...

    def quarantine_counts(self) -> Mapping[str, int]:
        """Return the number of quarantined events by reason."""
        ...

    def quarantine_reasons(self) -> Sequence[HeldReason]:
        """Return the reasons there are events in quarantine for, in order, each with its count and times."""
        ...

    def quarantined(
        self,
        *,
        reason: str = "",
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
        oldest_first: bool = False,
    ) -> Sequence[HeldEvent]:
        """Return quarantined events, newest first unless told otherwise.

        `after` is (received_at, digest) of the last one seen.
        """
        ...

    def quarantined_event(self, digest: str) -> Sequence[HeldEvent]:
        """Return those whose digest begins with `digest` (at least 6 hex digits), at most two."""
        ...

    def drop_quarantined(self, digests: Iterable[str]) -> int:
        """Delete quarantined events for good; return how many there were."""
        ...

    def quarantined_exposures(self, experiment: str, phase: int | None = None) -> Mapping[str, int]:
        """Return, by reason, how many exposure events that name `experiment` are in quarantine.

        With `phase` only those that name it; one without a readable phase belongs to none of them.
        """
        ...


class People(Protocol):
    """What is known of single persons."""

    def recent_of_types(
        self, person_id: str, event_types: Collection[str], limit: int
    ) -> Sequence[Interaction]:
        """Return the newest interactions of one person whose event has one of these types, newest first."""
        ...

    def items_of_types(self, person_id: str, event_types: Collection[str]) -> Collection[str]:
        """Return every item that the person ever had an event of one of these types with, once each."""
        ...

    def activity(self, person_id: str) -> Sequence[Activity]:
        """Return what one person did, in order of event_type."""
        ...

    def put_links(self, links: Sequence[IdentityLink]) -> None:
        """Store links; of one of the same trust that is there the earlier time stays, in any order."""
        ...

    def links_from(self, from_ids: Iterable[str]) -> Sequence[IdentityLink]:
        """Return the links of these ids, in no order."""
        ...

    def links_to(self, user_ids: Iterable[str], *, trust: str | None = None) -> Sequence[IdentityLink]:
        """Return the links that lead to these users, of one trust or of any, in no order."""
        ...

    def links_around(self, from_ids: Iterable[str], user_ids: Iterable[str]) -> Sequence[IdentityLink]:
        """Return, at one look, the links of `from_ids` and what a server merged into `user_ids`."""
        ...

    def put_consents(self, consents: Sequence[Consent]) -> int:
        """Append decisions; return how many are new, by (consent_id, person_id, purpose)."""
        ...

    def consents_of(self, person_ids: Iterable[str]) -> Sequence[Consent]:
        """Return every decision of these persons, in order of (decided_at, consent_id)."""
        ...

    def has_consents(self) -> bool:
        """Tell whether anybody ever decided anything: without it nobody needs to be asked about."""
        ...

    def delete_person(
        self, person_ids: Iterable[str], *, user_ids: Iterable[str], anonymous_ids: Iterable[str]
    ) -> Mapping[str, int]:
        """Erase every row of the person; return rows erased by table."""
        ...


class Items(Protocol):
    """The things that can be recommended."""

    def put_items(self, items: Sequence[Item]) -> int:
        """Insert or replace; return how many rows were written."""
        ...

    def all_items(self) -> Sequence[Item]:
        """Return every item, in order of item_id."""
        ...


class Control(Protocol):
    """Catalog revisions, kill switches, keys, the live pointer."""

    def live_state(self) -> LiveState:
        """Return the pointer that workers poll: one row read."""
        ...

    def add_revision(
        self,
        files: Mapping[str, str],
        digest: str,
        *,
        by: str,
        now: datetime,
        expected: int | None = None,
    ) -> int:
        """Store a new immutable revision and make it live; return its number.

        If `digest` equals the live revision's, nothing is written and its number is returned. `expected`
        is the live revision that the caller reviewed against (0: none was live); it is compared in the same
        transaction.

        Raises
        ------
        RevisionMovedError
            If another revision than `expected` is live; nothing was written.
        """
        ...

    def revision(self, number: int) -> StoredRevision | None:
        """Return one revision, or None."""
        ...

    def revisions_since(self, moment: datetime) -> Sequence[StoredRevision]:
        """Return the revisions live at any time since `moment`, newest first, the live one included."""
        ...

    def set_killed(self, key: str, *, killed: bool, by: str, now: datetime) -> None:
        """Kill or revive one flag or experiment; ``*`` is all of them."""
        ...

    def set_live_model(self, version: str, *, now: datetime) -> None:
        """Name the model directory that serves."""
        ...

    def set_keys(self, label: str, valid: Mapping[str, KeyClass], *, now: datetime) -> None:
        """Make `valid` (hash -> class) the only keys that carry `label`; the others are revoked."""
        ...

    def keys(self) -> Sequence[StoredKey]:
        """Return all keys that are valid."""
        ...

    def put_sign_in(self, sha256: str, key_class: KeyClass, *, expires_at: datetime) -> None:
        """Store the hash of a one-time sign-in token."""
        ...

    def use_sign_in(self, sha256: str, *, now: datetime) -> KeyClass | None:
        """Spend a one-time token: its class the first time before it expires, None ever after."""
        ...

    def put_session(self, sha256: str, key_class: KeyClass, *, expires_at: datetime) -> None:
        """Store the hash of a session cookie."""
        ...

    def session(self, sha256: str, *, now: datetime) -> KeyClass | None:
        """Return the class of a live session, or None."""
        ...


class Verdicts(Protocol):
    """Verdict snapshots: kept as history, read by point reads."""

    def put_verdict(self, snapshot: VerdictSnapshot) -> int:
        """Append a snapshot; return its number, the next of its phase whatever the snapshot says."""
        ...

    def verdict_numbers(self) -> Mapping[str, tuple[int, int]]:
        """Return, by experiment, the phase and number of what `latest_verdict` returns."""
        ...

    def latest_verdict(self, experiment: str) -> VerdictSnapshot | None:
        """Return the newest snapshot of the experiment's highest phase, or None."""
        ...

    def verdict(self, experiment: str, phase: int, number: int) -> VerdictSnapshot | None:
        """Return one snapshot, or None."""
        ...

    def verdict_history(self, experiment: str, phase: int, limit: int) -> Sequence[VerdictSnapshot]:
        """Return up to `limit` newest snapshots of one phase, oldest first."""
        ...

    def verdict_outlines(self, experiment: str, phase: int, limit: int) -> Sequence[VerdictOutline]:
        """Return the outlines of up to `limit` newest snapshots of one phase, oldest first."""
        ...

    def verdict_turns(self, experiment: str, phase: int, limit: int) -> Sequence[VerdictOutline]:
        """Return the last snapshot of each UTC day of `as_of` and every change of the decision.

        Of these the newest `limit`, oldest first.
        """
        ...


class Retention(Protocol):
    """What need not be kept for ever."""

    def prune(self, *, now: datetime, keep: Keep, exported: int) -> Mapping[str, int]:
        """Delete what has served its time; return rows deleted by table.

        Goes: sign-in tokens that are spent or expired, sessions that are expired, what is older than `keep`
        says (by the time of receipt, interactions and activity by their last event), but no event beyond the
        log offset `exported` nor the newest one; verdict snapshots but for the newest `keep.verdicts` of each
        phase, every change of the decision, the last of each UTC day of `as_of` and those that a recorded
        decision names; after 90 days, messages that wait for nothing (but for the newest to each endpoint
        that is gone) and what was decided about phases that were over by then. Every transaction is short,
        and a call does a bounded amount of work: what is left (of a large table of interactions, most) goes
        with the calls that follow.

        Raises
        ------
        StoreUnavailableError
            If the store cannot be written; what was deleted until then stays deleted.
        """
        ...

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes that each part of the database takes on its disk, such as `database`."""
        ...


class Store(
    EventLog,
    People,
    Items,
    Control,
    Verdicts,
    Retention,
    Steerings,
    Goals,
    Decisions,
    Outbox,
    Leases,
    Protocol,
):
    """The whole store, as `service/app.py` wires it."""

    def close(self) -> None:
        """Finish what was accepted, then release connections and locks."""
        ...

    def ping(self) -> None:
        """Raise StoreUnavailableError when the store cannot answer, or its last write failed.

        After a failed write (a full disk, a stuck writer) it tries a write of its own, at most one a second,
        and is content again as soon as that one or any other succeeds.
        """
        ...
