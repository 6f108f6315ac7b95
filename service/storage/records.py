"""Frozen facts that cross the storage port."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact reported from outside; at least one of `user_id` and `anonymous_id` is given."""

    event_id: str
    type: str
    occurred_at: datetime
    user_id: str | None = None
    anonymous_id: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """An accepted event as it is stored. `source` is the front door, `trust` is client or server."""

    event: Event
    received_at: datetime
    source: str
    trust: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """A stored event with its place in the log."""

    seq: int
    received: ReceivedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedEvent:
    """What was sent and refused, kept whole with the reason, so that it can be replayed."""

    event_id: str
    reason: str
    detail: str
    body: str
    received_at: datetime
    source: str
    trust: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A person had an event with an item: what live fold-in reads."""

    person_id: str
    item_id: str
    event_type: str
    occurred_at: datetime
    quantity: float = 1.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictSnapshot:
    """A judged experiment: `body` is the verdict JSON, byte for byte."""

    experiment: str
    phase: int
    revision: int
    log_offset: int
    as_of: datetime
    computed_at: datetime
    digest: str
    body: str


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
    known = (("u:", event.user_id), ("a:", event.anonymous_id))
    return tuple(prefix + value for prefix, value in known if value)
