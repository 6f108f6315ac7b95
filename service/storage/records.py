"""Frozen facts that cross the storage port."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.storage.analysis_records import Steering

DEFAULT_TENANT = "default"


class KeyClass(StrEnum):
    """What a key may do; its value is the prefix of the key."""

    CLIENT = "ck"
    SERVER = "sk"
    ANALYST = "rk"
    ADMIN = "ak"


class AppendStatus(StrEnum):
    """What became of one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    GONE = "gone"
    """Nothing of the batch was written: what it takes out of quarantine is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact reported from outside; at least one of `user_id` and `anonymous_id` is given."""

    event_id: str
    type: str
    occurred_at: datetime
    user_id: str | None = None
    anonymous_id: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


class Purpose(StrEnum):
    """What personal data may be used for; people agree to each apart."""

    EXPERIMENTATION = "experimentation"
    PERSONALIZATION = "personalization"
    TRIGGERED_MARKETING = "triggered_marketing"
    LOCATION = "location"
    MODEL_TRAINING = "model_training"


class Mark(StrEnum):
    """What is marked on a stored event about the person's wishes, in this order, separated by spaces."""

    GPC = "gpc"
    """The request said Sec-GPC: 1."""
    DNT = "dnt"
    """The request said DNT: 1."""
    NO_PERSONALIZATION = "no_personalization"
    """The event made no interaction and no activity, and never may."""
    NO_TRAINING = "no_training"
    """No model may learn from the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """An accepted event as it is stored. `source` is the front door, `trust` is client or server.

    `privacy` holds the marks (`Mark`), separated by spaces.
    """

    event: Event
    received_at: datetime
    source: str
    trust: str
    privacy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """A stored event with its place in the log."""

    seq: int
    received: ReceivedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedEvent:
    """What was sent and refused, kept whole with the reason, so that it can be replayed.

    `body` is what came: the text itself, or its base64 where `encoding` says so (bytes that are no UTF-8).
    `canonical` is the JSON that was judged, empty when the body has no such form; replaying judges it again,
    with `context` (such as user_agent) standing for the request.
    """

    event_id: str
    reason: str
    detail: str
    body: str
    received_at: datetime
    source: str
    trust: str
    encoding: str = "utf-8"
    canonical: str = ""
    context: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return its name in the store: the same bad event sent again by a retrying client is one row.

        Not all bodies hold an id, and whose word an event is decides about it: both make it another one.
        """
        said = (self.reason, self.trust, self.source, self.event_id, self.body)
        return hashlib.sha256("\n".join(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEvent:
    """A quarantined event with its name: `digest` is a sha256 in hex, given when it came."""

    digest: str
    held: QuarantinedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReason:
    """How many events are in quarantine for one reason, and when the first and the last of them came."""

    reason: str
    n: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A person had an event with an item: what live fold-in reads."""

    person_id: str
    item_id: str
    event_type: str
    occurred_at: datetime
    quantity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """How often one person had an event of one type, and when first and last (by the events' own time)."""

    person_id: str
    event_type: str
    n: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityLink:
    """`from_id` (``a:<anonymous_id>`` or ``u:<user_id>``) was seen to be `user_id`, first at `linked_at`.

    `trust` tells whose word it is, client or server; what each of them said first is kept by itself.
    """

    from_id: str
    user_id: str
    linked_at: datetime
    trust: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One decision of one person about one purpose; `status` is granted or denied."""

    consent_id: str
    person_id: str
    purpose: Purpose
    status: str
    decided_at: datetime
    received_at: datetime
    text_version: str
    source: str
    trust: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something that can be recommended; `fields` go out with a slate."""

    item_id: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as the store knows it: never the key itself."""

    sha256: str
    key_class: KeyClass
    label: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRevision:
    """One immutable catalog: path inside the folder -> text."""

    revision: int
    digest: str
    files: Mapping[str, str]
    applied_at: datetime
    applied_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveState:
    """What every worker polls: cheap to read, changes when anything served changes."""

    version: int
    revision: int
    killed: frozenset[str]
    model: str
    steering: Mapping[tuple[str, int], Steering] = field(default_factory=dict, hash=False)
    """What was decided about phases, by experiment and phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictSnapshot:
    """A judged experiment: `body` is the verdict JSON, byte for byte.

    `number` counts the snapshots of a phase from 1 (0: not stored yet); `inputs` is JSON: what went in beside
    lake and catalog; `outline` is JSON: what a history tells of the body. Both are empty in a snapshot of
    a release that kept none. A `final` one is the last of its phase.
    """

    experiment: str
    phase: int
    revision: int
    log_offset: int
    as_of: datetime
    computed_at: datetime
    digest: str
    body: str
    number: int = 0
    inputs: str = ""
    final: bool = False
    outline: str = ""

    @property
    def id(self) -> str:
        """Return the name of the snapshot: experiment, phase and number; keys have no dots."""
        return f"{self.experiment}.{self.phase}.{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictOutline:
    """What a history tells of a snapshot without its body; `outline` is the body where none was kept."""

    experiment: str
    phase: int
    number: int
    revision: int
    log_offset: int
    as_of: datetime
    computed_at: datetime
    digest: str
    decision: str
    inputs: str
    final: bool
    outline: str

    @property
    def id(self) -> str:
        """Return the name of the snapshot."""
        return f"{self.experiment}.{self.phase}.{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slate:
    """What was shown to whom, with the probability of showing it."""

    slate_id: str
    person_id: str
    placement: str
    recommender: str
    model: str
    reason: str
    items: str
    created_at: datetime


def person_ids(event: Event) -> tuple[str, ...]:
    """Return the persons an event belongs to, the best known first: ``u:<user_id>``, ``a:<anonymous_id>``."""
    # Asked several times for every event: plain branches are five times as fast as a loop.
    if not event.user_id:
        return (f"a:{event.anonymous_id}",) if event.anonymous_id else ()
    known = f"u:{event.user_id}"
    return (known, f"a:{event.anonymous_id}") if event.anonymous_id else (known,)
