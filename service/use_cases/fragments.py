"""One flag's part of an answer, rendered once for each different answer that a snapshot can give."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson

from experiments.assignment import Assignment
from experiments.definitions import JsonValue
from service.use_cases.snapshot import ServingSnapshot

FLAG_SET = "default"
DIGEST_BYTES = 16
OPENING = b'{"flags":['


class Fragments:
    """What one snapshot's assignments look like on the wire, by identity: its catalog shares them.

    `parts` are texts as they follow each other in a bulk answer, with its beginning or a comma in front; one
    join makes the whole. The digest stands for the text in an entity tag. All three have the same keys.
    """

    def __init__(self, snapshot: ServingSnapshot) -> None:
        self.texts: dict[int, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.digests: dict[int, bytes] = {}
        # An identity is only good while its object lives.
        self._kept: list[Assignment] = []
        self._snapshot = snapshot

    def text(self, assigned: Assignment) -> bytes:
        """Return the JSON of one answer."""
        known = self.texts.get(id(assigned))
        if known is None:
            known = orjson.dumps(members(self._snapshot, assigned))
            self._kept.append(assigned)
            is_first = assigned.key == self._snapshot.compiled.keys[0]
            self.digests[id(assigned)] = digest(known)
            self.parts[id(assigned)] = (OPENING if is_first else b",") + known
            self.texts[id(assigned)] = known
        return known


def digest(text: bytes) -> bytes:
    """Return the digest that stands for `text` inside an entity tag."""
    return blake2b(text, digest_size=DIGEST_BYTES).digest()


def members(snapshot: ServingSnapshot, assigned: Assignment) -> dict[str, Any]:
    """Return the members of a successful evaluation; every one of them is always there."""
    revision = snapshot.state.revision
    return {
        "key": assigned.key,
        "value": _typed(snapshot, assigned),
        "reason": assigned.reason.value,
        "variant": assigned.variant_key,
        "metadata": {
            "decision": assigned.decision,
            "enrolled": assigned.enrolled,
            "phase": assigned.phase,
            "revision": revision,
            "unit": _unit(snapshot, assigned.key),
            "flagSetId": FLAG_SET,
            "version": str(revision),
        },
    }


def error_members(key: str | None, code: str, details: str) -> dict[str, str]:
    """Return OFREP's failure; bulk has no key."""
    named = {} if key is None else {"key": key}
    return {**named, "errorCode": code, "errorDetails": details}


def set_metadata(snapshot: ServingSnapshot, *, events_url: str) -> dict[str, Any]:
    """Return what holds for all flags of one answer, without the context's id."""
    revision = snapshot.state.revision
    return {
        "revision": revision,
        "flagSetId": FLAG_SET,
        "version": str(revision),
        "eventsUrl": events_url,
    }


def _unit(snapshot: ServingSnapshot, key: str) -> str:
    catalog = snapshot.loaded.catalog
    found = catalog.experiments.get(key) or catalog.flags.get(key)
    return found.unit if found else ""


def _typed(snapshot: ServingSnapshot, assigned: Assignment) -> JsonValue:
    """Return the value; if any variant of its flag is a float, so are they all: clients want the point."""
    value = assigned.value
    if type(value) is int and any(type(v) is float for v in _values(snapshot, assigned.key)):
        return float(value)
    return value


def _values(snapshot: ServingSnapshot, key: str) -> Sequence[JsonValue]:
    experiment = snapshot.loaded.catalog.experiments.get(key)
    if experiment is not None:
        return [*(variant.value for variant in experiment.variants), experiment.default_value]
    flag = snapshot.loaded.catalog.flags.get(key)
    return [flag.value, flag.otherwise] if flag else []
