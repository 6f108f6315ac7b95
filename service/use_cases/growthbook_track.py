"""What GrowthBook's tracking plugins send, as our events: exposures are checked like any other.

The plugins give no event an id and no time: the time is that of arrival, and the id follows from what the
event says. An exposure is the same one however often it is sent; another event is, within one second.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from experiments.allocation import ANONYMOUS_ID
from experiments.units import USER_ID
from service.batches import Part
from service.storage.interactions import EXPOSURE_EVENT
from service.storage.naming import EXPOSURES
from service.use_cases.arrivals import Arrival
from service.use_cases.doors import Delivery, Door
from service.use_cases.services import Services
from service.use_cases.terms import GROWTHBOOK, SDK_IDS
from service.use_cases.viewed import exposure_of

EVALUATED = frozenset({"Feature Evaluated", "$$feature_evaluated"})


def _is_evaluation(raw: object) -> bool:
    return isinstance(raw, Mapping) and _is_named(raw.get("event_name"), EVALUATED)


def _is_named(name: object, names: frozenset[str]) -> bool:
    return isinstance(name, str) and name in names


class _Reader:
    """Reads one batch."""

    def __init__(self, services: Services, delivery: Delivery) -> None:
        self._experiments = services.snapshots.current.loaded.catalog.experiments
        self._now = delivery.now
        self._key_id = delivery.caller.key_id
        self._alike: Counter[str] = Counter()

    def read(self, part: Part) -> Arrival | None:
        """Return one event as an arrival.

        An evaluation of a feature is none, it is counted only: that a value was asked for shows nobody
        anything.
        """
        if part.problem is not None:
            return Arrival(part.value, part.original, part.problem)
        if _is_evaluation(part.value):
            return None
        return Arrival(self.event(part.value), part.original)

    def event(self, raw: object) -> object:
        """Return our form of one event; what is not in theirs stays as it is, and will be refused."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("properties_json", {}), Mapping):
            return raw
        name, said = raw.get("event_name"), dict(raw.get("properties_json", {}))
        ids = _ids(raw)
        if _is_named(name, EXPOSURES):
            return self._exposure(said, ids)
        event_id = said.get("event_id")
        if not isinstance(event_id, str) or not event_id or event_id.startswith(SDK_IDS):
            event_id = self._content_id(name, said, ids)
        return self._made(event_id, name, ids, said)

    def _exposure(self, said: Mapping[str, Any], ids: Mapping[str, Any]) -> dict[str, Any]:
        found = exposure_of(said, ids, self._experiments.get)
        unit = found["unit_type"]
        if unit in (ANONYMOUS_ID, USER_ID):
            ids = {**ids, unit: found["unit_id"]}
        identity = orjson.dumps([EXPOSURE_EVENT, *found.values()])
        return self._made(self._hashed(identity), EXPOSURE_EVENT, ids, found)

    def _content_id(self, name: object, said: Mapping[str, Any], ids: Mapping[str, Any]) -> str:
        """Return an id that equal events of one second share; of those in one batch each has its own."""
        second = int(self._now.timestamp())
        content = orjson.dumps([name, said, ids, second], option=orjson.OPT_SORT_KEYS)
        digest = self._hashed(content)
        self._alike[digest] += 1
        return digest if self._alike[digest] == 1 else f"{digest}-{self._alike[digest]}"

    def _hashed(self, content: bytes) -> str:
        return SDK_IDS + hashlib.sha256(self._key_id.encode() + b"\0" + content).hexdigest()[:40]

    def _made(
        self, event_id: str, name: object, ids: Mapping[str, Any], properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        known = {key: value for key, value in ids.items() if value}
        at = self._now.isoformat(timespec="microseconds")
        return {
            "event_id": event_id,
            "type": name,
            "occurred_at": at,
            "properties": dict(properties),
            **known,
        }


def _ids(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return who did it: the plugins put the attributes user_id and device_id, anonymous_id or id on top."""
    nested = raw.get("context_json")
    attributes = nested if isinstance(nested, Mapping) else {}
    anonymous_id = attributes.get(ANONYMOUS_ID) or raw.get("device_id")
    return {USER_ID: raw.get("user_id"), ANONYMOUS_ID: anonymous_id}


def _understand(services: Services, delivery: Delivery) -> Sequence[Arrival | None]:
    reader = _Reader(services, delivery)
    return [reader.read(part) for part in delivery.parts]


TRACK_PATH = "/track"
TRACK = Door(source=GROWTHBOOK, understand=_understand)
"""The events of GrowthBook's tracking plugins, an array; unlike others' they may be of many people."""
