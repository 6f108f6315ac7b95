"""From logged events to the rows of the lake; everything numeric becomes an integer here."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC
from json.encoder import encode_basestring
from math import isfinite
from typing import Any

import orjson

from experiments.kinds import MAX_AMOUNT, micro_of
from service.clock import to_micros
from service.lake.manifest import EVENTS, EXPOSURES, INTERACTIONS
from service.storage.interactions import EXPOSURE_EVENT, interactions_of
from service.storage.records import LoggedEvent, Mark, person_ids

MAX_BITS = 4_096
NOT_LEARNED = frozenset({Mark.NO_PERSONALIZATION.value, Mark.NO_TRAINING.value})

Rows = dict[tuple[str, str], list[dict[str, Any]]]


def rows_of(page: Sequence[LoggedEvent]) -> Rows:
    """Return the rows of a page of the log by dataset and UTC day of receipt."""
    rows: Rows = defaultdict(list)
    for logged in page:
        day = logged.received.received_at.astimezone(UTC).date().isoformat()
        rows[EVENTS, day].append(_event_row(logged))
        rows[INTERACTIONS, day].extend(_interaction_rows(logged))
        if (exposure := _exposure_row(logged)) is not None:
            rows[EXPOSURES, day].append(exposure)
    return {key: found for key, found in rows.items() if found}


def canonical_json(value: object) -> str:
    """Return the one text of a JSON value: sorted keys, no spaces, and 5.0 written as 5."""
    # Nearly all values are short texts and numbers: skipping the general writer halves an export.
    if isinstance(value, str):
        return encode_basestring(value)
    if type(value) is int and -MAX_AMOUNT < value < MAX_AMOUNT:
        return str(value)
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def whole_json(properties: Mapping[str, Any]) -> str:
    """Return all properties as JSON text with sorted keys, for people and later readers."""
    try:
        return orjson.dumps(dict(properties), option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # a whole number beyond 64 bits
        return canonical_json(properties)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    # The wire refuses these; should one ever get through, it must not stop the export of all others.
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return None
    return value


def _event_row(logged: LoggedEvent) -> dict[str, Any]:
    event = logged.received.event
    numbers = ((name, micro_of(value)) for name, value in event.properties.items())
    return {
        "seq": logged.seq,
        "event_id": event.event_id,
        "type": event.type,
        "user_id": event.user_id,
        "anonymous_id": event.anonymous_id,
        "occurred_us": to_micros(event.occurred_at),
        "trust": logged.received.trust,
        "properties": whole_json(event.properties),
        "facts": [
            (name, canonical_json(value))
            for name, value in event.properties.items()
            if not isinstance(value, Mapping | list | tuple)
        ],
        "amounts": [(name, amount) for name, amount in numbers if amount is not None],
    }


def _exposure_row(logged: LoggedEvent) -> dict[str, Any] | None:
    event = logged.received.event
    if event.type != EXPOSURE_EVENT:
        return None
    told = event.properties
    return {
        "seq": logged.seq,
        "experiment_key": str(told.get("experiment_key", "")),
        "phase": _whole(told.get("phase", 1)),
        "variant_key": str(told.get("variant_key", "")),
        "unit_type": str(told.get("unit_type", "")),
        "unit_id": str(told.get("unit_id", "")),
        "occurred_us": to_micros(event.occurred_at),
        "revision": _whole(told.get("revision")),
        "source": logged.received.source,
    }


def _interaction_rows(logged: LoggedEvent) -> list[dict[str, Any]]:
    if NOT_LEARNED & set(logged.received.privacy.split()):
        return []
    event = logged.received.event
    best = person_ids(event)[:1]
    return [
        {
            "seq": logged.seq,
            "person_id": found.person_id,
            "item_id": found.item_id,
            "event_type": found.event_type,
            "occurred_us": to_micros(found.occurred_at),
            "quantity": float(found.quantity),
            "event_id": event.event_id,
        }
        for found in interactions_of(event)
        if found.person_id in best
    ]


def _whole(value: object) -> int | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    return int(value) if whole and isinstance(value, int | float) and abs(value) < MAX_AMOUNT else None
