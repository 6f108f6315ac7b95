"""Segment's HTTP tracking API: what each of its calls means, as our events.

A call keeps its id (`messageId`), its time (corrected by `sentAt` for a wrong clock) and who it is about.
Of its `context` nothing is stored, and nobody's address.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import orjson

from experiments.allocation import ANONYMOUS_ID
from experiments.definitions import Experiment
from experiments.identifiers import is_identifier
from experiments.units import USER_ID
from service.storage.interactions import EXPOSURE_EVENT
from service.use_cases.arrivals import Arrival
from service.use_cases.doors import Delivery, Door, Results
from service.use_cases.exposures import Refusal
from service.use_cases.services import Services
from service.use_cases.terms import CONTENT_IDS, SEGMENT
from service.use_cases.viewed import digits_as_text, exposure_of, first_of
from service.wire import read_moment

CLOCKS_AGREE = timedelta(minutes=1)
CALLS = ("identify", "track", "page", "screen", "group", "alias")
_UNKNOWN = Refusal(
    "invalid_event", f"type: expected one of {', '.join(CALLS)}, the calls of Segment's libraries"
)

Said = Mapping[str, Any]


class Meaning(NamedTuple):
    """What a call says: the type of our event and its properties, neither checked yet."""

    type: object
    properties: object


class SegmentReader:
    """Reads the calls of one request.

    `experiment_at` gives an experiment by its key as it was at a moment, `received_at` is when the request
    came, `sent_at` what its batch says of when it was sent; `key_id` names the key, so that ids made from
    content never meet across keys.
    """

    def __init__(
        self,
        *,
        experiment_at: Callable[[str, datetime], Experiment | None],
        received_at: datetime,
        sent_at: object = None,
        key_id: str = "",
    ) -> None:
        self._experiment_at = experiment_at
        self._received_at = received_at
        self._sent_at = sent_at
        self._key_id = key_id
        self._alike: Counter[str] = Counter()

    def read(
        self, value: object, original: Callable[[], bytes] | None = None, *, call: str | None = None
    ) -> Arrival:
        """Return one call as an arrival; `call` is what its path names, None in a batch."""
        if not isinstance(value, Mapping):
            return Arrival(canonical=value, original=original)
        kind = call or value.get("type")
        mean = _MEANINGS.get(kind) if isinstance(kind, str) else None
        kept = _without_secrets(value)
        if kept is not value and original is not None:
            original = partial(orjson.dumps, kept)
        problem = _UNKNOWN if mean is None else _problem_of(str(kind), value)
        # What says nothing has no type, so that judging it again finds no event in it either.
        meant = Meaning(None, {}) if mean is None or problem else mean(value)
        return Arrival(
            self._event(value, meant), original, problem or _time_problem(value), _user_agent(value)
        )

    def _event(self, value: Said, meant: Meaning) -> dict[str, Any]:
        ids = {
            USER_ID: digits_as_text(value.get("userId")),
            ANONYMOUS_ID: digits_as_text(value.get("anonymousId")),
        }
        known = {name: said for name, said in ids.items() if said not in (None, "")}
        event = {"type": meant.type, "properties": meant.properties, **known}
        # Before anything is taken from the catalog of today: sent again tomorrow it is the same call.
        event["event_id"] = self._event_id(value, event)
        event["occurred_at"] = self._occurred_at(value)
        if meant.type == EXPOSURE_EVENT and isinstance(meant.properties, Mapping):
            at = _moment(event["occurred_at"]) or self._received_at
            seen = exposure_of(meant.properties, known, lambda key: self._experiment_at(key, at))
            event["properties"] = {**meant.properties, **seen}
        return {name: said for name, said in event.items() if said is not None}

    def _event_id(self, value: Said, event: Mapping[str, Any]) -> object:
        """Return the call's own id, else one that follows from what it says and when it happened."""
        given = value.get("messageId")
        reserved = isinstance(given, str) and given.startswith(CONTENT_IDS)
        if given not in (None, "") and not reserved:
            return given
        said_at = _timestamp(value)
        moment = int(self._received_at.timestamp()) if said_at is None else said_at
        content = orjson.dumps([event, moment], option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(self._key_id.encode() + b"\0" + content).hexdigest()[:40]
        self._alike[digest] += 1
        return f"{CONTENT_IDS}{digest}" + (f"-{n}" if (n := self._alike[digest]) > 1 else "")

    def _occurred_at(self, value: Said) -> object:
        """Return when it happened by this service's clock, which the sender's may differ from."""
        said = _timestamp(value)
        if said is None:
            return _text(self._received_at)
        happened, sent = _moment(said), _moment(value.get("sentAt") or self._sent_at)
        if happened is None or sent is None or abs(self._received_at - sent) <= CLOCKS_AGREE:
            return said
        try:
            return _text(self._received_at - (sent - happened))
        except OverflowError:
            return said


def _user_agent(value: Said) -> str:
    context = value.get("context")
    said = context.get("userAgent") if isinstance(context, Mapping) else None
    return said if isinstance(said, str) else ""


def _timestamp(value: Said) -> object:
    return first_of(value, "timestamp", "originalTimestamp")


def _time_problem(value: Said) -> Refusal | None:
    """Return what is wrong with the time of a call, under the name that its sender knows."""
    said = _timestamp(value)
    if said is None or _moment(said) is not None:
        return None
    name = "originalTimestamp" if value.get("timestamp") is None else "timestamp"
    return Refusal("invalid_event", f"{name}: expected a time with an offset such as 2026-11-21T09:30:00Z")


def _moment(said: object) -> datetime | None:
    try:
        return read_moment(said) if isinstance(said, str) else None
    except ValueError:
        return None


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _without_secrets(value: Said) -> Said:
    """Return what may be kept if this goes into quarantine: all but the key and the sender's address."""
    context = value.get("context")
    if isinstance(context, Mapping) and "ip" in context:
        value = {**value, "context": {name: said for name, said in context.items() if name != "ip"}}
    if "writeKey" in value:
        value = {name: said for name, said in value.items() if name != "writeKey"}
    return value


def _problem_of(kind: str, value: Said) -> Refusal | None:
    """Return what makes a call say nothing, in Segment's words."""
    if kind == "track" and not value.get("event"):
        return Refusal("invalid_event", "event: it is missing; a track call names what happened")
    if kind == "alias" and not is_identifier(digits_as_text(value.get("previousId"))):
        return Refusal("invalid_event", "previousId: expected the id that the person had before")
    return None


def _object(value: Said, name: str) -> object:
    """Return an object member; the libraries send null for an empty one."""
    said = value.get(name)
    return {} if said is None else said


def _track(value: Said) -> Meaning:
    return Meaning(value.get("event"), _object(value, "properties"))


def _seen(type_: str) -> Callable[[Said], Meaning]:
    """Return the reading of a page or a screen: its name and category are properties."""

    def read(value: Said) -> Meaning:
        properties = _object(value, "properties")
        if isinstance(properties, Mapping):
            named = {name: value[name] for name in ("name", "category") if value.get(name) is not None}
            properties = {**properties, **named}
        return Meaning(type_, properties)

    return read


def _identify(value: Said) -> Meaning:
    return Meaning("User Identified", {"traits": _object(value, "traits")})


def _group(value: Said) -> Meaning:
    return Meaning(
        "Group Joined",
        {"group_id": digits_as_text(value.get("groupId")), "traits": _object(value, "traits")},
    )


def _alias(value: Said) -> Meaning:
    return Meaning("User Aliased", {"previous_id": digits_as_text(value.get("previousId"))})


_MEANINGS: Mapping[str, Callable[[Said], Meaning]] = {
    "identify": _identify,
    "track": _track,
    "page": _seen("Page Viewed"),
    "screen": _seen("Screen Viewed"),
    "group": _group,
    "alias": _alias,
}


def _success(results: Results) -> dict[str, Any]:
    return {"success": True, "results": results}


def _door(call: str | None) -> Door:
    """Return the door of one kind of call, or of batches of any kind."""

    def understand(services: Services, delivery: Delivery) -> Sequence[Arrival]:
        live = services.snapshots.current.state.revision
        reader = SegmentReader(
            experiment_at=partial(services.exposures.experiment_at, services.store, live=live),
            received_at=delivery.now,
            sent_at=delivery.rest.get("sentAt"),
            key_id=delivery.caller.key_id,
        )
        return [
            Arrival(part.value, part.original, part.problem)
            if part.problem
            else reader.read(part.value, part.original, call=call)
            for part in delivery.parts
        ]

    return Door(
        source=SEGMENT,
        understand=understand,
        member=None if call else "batch",
        single=call is not None,
        members=_success,
    )


BATCH = "batch"
_DOORS = {BATCH: _door(None), **{call: _door(call) for call in CALLS}}
PATHS: Mapping[str, tuple[str, Door]] = {
    f"/v1/{name}": (call, door)
    for call, door in _DOORS.items()
    for name in (call, call[0], *(("import",) if call == BATCH else ()))
}
"""Call and door by path: the browser's library posts to the first letters, a few older ones to /v1/import."""
