"""Why a context gets its variant: the account of an assignment, as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from experiments.account import Account, account
from experiments.errors import UnknownFlagError
from experiments.lifecycle import Status
from experiments.membership import Membership
from service.use_cases import request_facts
from service.use_cases.launch import UnknownKeyError, definitions, suggest
from service.use_cases.snapshot import ServingSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom to explain for, and when."""

    context: Mapping[str, Any]
    now: datetime
    zone: ZoneInfo


def explained(snapshot: ServingSnapshot, membership: Membership, key: str, asking: Asking) -> dict[str, Any]:
    """Return the account of one assignment as JSON members.

    Raises
    ------
    UnknownKeyError
        If nothing live has that key.
    """
    context = _with_request(asking) if snapshot.compiled.reads_request else asking.context
    killed = snapshot.state.killed
    try:
        found = account(
            snapshot.loaded.catalog, key, context, now=asking.now, killed=killed, membership=membership
        )
    except UnknownFlagError as error:
        raise UnknownKeyError(_unknown(snapshot, key)) from error
    return {
        "key": key,
        "revision": snapshot.state.revision,
        "unit": found.unit,
        "unit_id": found.unit_id,
        "assignment": _assignment(found),
        "decided_by": found.decided_by.gate if found.decided_by else None,
        "change": found.decided_by.change if found.decided_by else "",
        "gates": [{**asdict(step), "facts": dict(step.facts)} for step in found.steps],
    }


def _with_request(asking: Asking) -> dict[str, Any]:
    """Return the context with the facts of a request; what is given stands, to ask what would be."""
    facts = request_facts.with_facts(asking.context, now=asking.now, user_agent="", zone=asking.zone)
    given = asking.context.get(request_facts.ATTRIBUTE)
    if isinstance(given, Mapping):
        facts[request_facts.ATTRIBUTE] = {**facts[request_facts.ATTRIBUTE], **given}
    return facts


def _assignment(found: Account) -> dict[str, Any] | None:
    answer = found.assignment
    if answer is None:
        return None
    return {
        "variant": answer.variant_key,
        "value": answer.value,
        "reason": answer.reason.value,
        "decision": answer.decision,
        "enrolled": answer.enrolled,
        "phase": answer.phase,
    }


def _unknown(snapshot: ServingSnapshot, key: str) -> str:
    known = definitions(snapshot.loaded)
    if key in known and known[key].status is Status.DRAFT:
        return f"'{key}' is a draft: it is not served, so there is nothing to explain"
    return f"nothing live is called '{key}': {suggest(key, known) or 'nothing is live'}"
