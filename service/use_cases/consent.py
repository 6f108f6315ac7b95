"""What people agree to and refuse: written down as it was said, never changed, honoured from then on."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from service.errors import Pointer, ProblemError
from service.storage.ports import Store
from service.storage.records import Consent, KeyClass, Mark, Purpose
from service.use_cases.access import Caller, require_own
from service.use_cases.services import Services
from service.use_cases.wishes import in_force

AHEAD = timedelta(minutes=5)
DOOR = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One purpose, granted or denied; without `decided_at` just now."""

    purpose: Purpose
    status: str
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentAsk:
    """What a person decided, and how that can be proved.

    `text_version` names the words that were shown, `proof` is the shop's own evidence. A repeat with the same
    `consent_id` is stored once.
    """

    decisions: Sequence[Decision]
    text_version: str
    user_id: str | None = None
    anonymous_id: str | None = None
    proof: str = ""
    consent_id: str = ""
    person_token: str = ""
    signals: frozenset[Mark] = frozenset()


def decide(services: Services, ask: ConsentAsk, *, caller: Caller) -> dict[str, Any]:
    """Record decisions under every id that is given; return what is in force for each.

    Raises
    ------
    ProblemError
        403 if a client key decides for somebody else; 409 if the `consent_id` stands for another decision;
        422 if a decision is dated wrongly.
    StoreUnavailableError
        If nothing could be written; sending it again is harmless with a `consent_id`.
    """
    now = services.clock()
    persons = require_own(
        caller,
        user_id=ask.user_id,
        anonymous_id=ask.anonymous_id,
        token=ask.person_token,
        secret=services.settings.signing_secret,
        now=now,
    )
    client = caller.key_class is KeyClass.CLIENT
    decisions = [
        replace(one, decided_at=_time_of(one, now, place=place, client=client))
        for place, one in enumerate(ask.decisions)
    ]
    consents = _consents(ask, decisions, persons, now, client=client)
    _refuse_another_meaning(services.store, persons, consents)
    stored = services.store.put_consents(consents)
    services.wishes.heed()
    if stored < len(consents):
        # Somebody else may have used the id between the look and the write.
        _refuse_another_meaning(services.store, persons, consents)
    return {
        "consent_id": consents[0].consent_id,
        "stored": stored,
        "in_force": statuses(services.store.consents_of(persons), persons),
    }


def statuses(consents: Iterable[Consent], persons: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what stands for each person: purpose -> status, without what was never decided."""
    standing = in_force(consents)
    return {
        person_id: {
            purpose.value: standing[person_id, purpose]
            for purpose in Purpose
            if (person_id, purpose) in standing
        }
        for person_id in persons
    }


def _time_of(decision: Decision, now: datetime, *, place: int, client: bool) -> datetime:
    """Return when it was decided; a browser's clock is not asked: it could date a refusal before a grant."""
    said = decision.decided_at
    if said is None:
        return now
    if client:
        raise _misdated(place, "only a server key may date a decision; leave it out and it is decided now")
    if said > now + AHEAD:
        raise _misdated(place, "a decision may be dated up to 5 minutes ahead; is the clock right?")
    return min(said, now)


def _misdated(place: int, why: str) -> ProblemError:
    where = Pointer(f"/decisions/{place}/decided_at", why)
    return ProblemError(422, "invalid_body", "some members are missing or wrong", (where,))


def _consents(
    ask: ConsentAsk, decisions: Sequence[Decision], persons: Sequence[str], now: datetime, *, client: bool
) -> list[Consent]:
    consent_id = ask.consent_id or f"co_{secrets.token_urlsafe(16)}"
    return [
        Consent(
            consent_id=consent_id,
            person_id=person_id,
            purpose=one.purpose,
            status=one.status,
            decided_at=one.decided_at or now,
            received_at=now,
            text_version=ask.text_version,
            source=" ".join([DOOR, *(mark.value for mark in Mark if mark in ask.signals)]),
            trust="client" if client else "server",
            proof=ask.proof,
        )
        for person_id in persons
        for one in decisions
    ]


def _refuse_another_meaning(store: Store, persons: Sequence[str], consents: Sequence[Consent]) -> None:
    """Refuse an id that stands for another decision: a withdrawal must not be taken for a repeat."""
    known = {(one.consent_id, one.person_id, one.purpose): one.status for one in store.consents_of(persons)}
    for one in consents:
        if known.get((one.consent_id, one.person_id, one.purpose), one.status) != one.status:
            detail = (
                f"consent_id {one.consent_id!r} stands for another decision; give each one an id of its own"
            )
            raise ProblemError(409, "conflict", detail)
