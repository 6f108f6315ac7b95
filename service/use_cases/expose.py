"""An evaluation that also says «shown»: the exposure is stored before the answer leaves."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from experiments.allocation import ANONYMOUS_ID, unit_id_of
from experiments.assignment import Assignment
from experiments.metrics import OTHER, UNKNOWN, Dimension
from service.storage.interactions import EXPOSURE_EVENT
from service.use_cases.access import Caller
from service.use_cases.admission import OfrepError
from service.use_cases.exchange import Call, Reply
from service.use_cases.ingest import EVALUATION, OWN_IDS, ingest
from service.use_cases.ofrep import assign, failure, single_members, success, understand
from service.use_cases.services import Services


def answer_exposed(services: Services, call: Call) -> Reply:
    """Answer one flag; if the unit is enrolled, store its exposure first (once, however often it is asked).

    Raises
    ------
    StoreUnavailableError
        If the exposure could not be stored; the caller retries, which is harmless.
    """
    snapshot = services.snapshots.current
    now = services.clock()
    try:
        asked = understand(services, snapshot, call, now=now)
        assigned = assign(snapshot, call.key or "", asked, now=now)
    except OfrepError as error:
        return failure(services, call, error)
    services.meters.count("evaluations", "single")
    answered = single_members(services, snapshot, asked, assigned)
    unit = answered["metadata"]["unit"]
    answered["metadata"]["exposure"] = "none"
    if assigned.enrolled:
        event = exposure_event(assigned, asked.context, unit=unit, revision=snapshot.state.revision, now=now)
        groups = groups_of(asked.context, snapshot.loaded.catalog.dimensions.values())
        event["properties"] = {**groups, **event["properties"]}
        answered["metadata"]["exposure"] = _store(services, event, asked.caller, call)
    return success(asked, orjson.dumps(answered))


def exposure_event(
    assigned: Assignment, context: Mapping[str, Any], *, unit: str, revision: int, now: datetime
) -> dict[str, Any]:
    """Return the wire form of the exposure; its id depends on unit, experiment, phase and variant alone."""
    anonymous_id = unit_id_of(ANONYMOUS_ID, context)
    unit_id = unit_id_of(unit, context) or ""
    identity = "\0".join((assigned.key, str(assigned.phase), assigned.variant_key, unit, unit_id))
    event = {
        "event_id": OWN_IDS + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:40],
        "type": EXPOSURE_EVENT,
        "anonymous_id": anonymous_id,
        "user_id": unit_id_of("user_id", context),
        "occurred_at": now.isoformat(timespec="microseconds"),
        "properties": {
            "experiment_key": assigned.key,
            "variant_key": assigned.variant_key,
            "unit_type": unit,
            "unit_id": unit_id,
            "phase": assigned.phase,
            "revision": revision,
        },
    }
    return {name: value for name, value in event.items() if value is not None}


def groups_of(context: Mapping[str, Any], dimensions: Iterable[Dimension]) -> dict[str, Any]:
    """Return what of the context results are cut by: values that the catalog lists, else that they are other.

    Nothing else of a context is ever stored.
    """
    groups: dict[str, Any] = {}
    for dimension in dimensions:
        value = context.get(dimension.property)
        group = dimension.group_of(value)
        if group == OTHER:
            groups.setdefault(dimension.property, OTHER)
        elif group != UNKNOWN:
            groups[dimension.property] = value
    return groups


def _store(services: Services, event: dict[str, Any], caller: Caller, call: Call) -> str:
    result = ingest(services, [event], caller=caller, source=EVALUATION, call=call)[0]
    return str(result["status"])
