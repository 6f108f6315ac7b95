"""What people agreed to, put together into what may be done with an event of theirs."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.catalog.rules import DataRules
from service.storage.ports import People
from service.storage.records import Consent, Purpose
from service.use_cases.identity import also_known_as

GRANTED, DENIED = "granted", "denied"
REMEMBERED = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What may be done with an event: store it at all, count its exposure, personalize, train with it."""

    store: bool
    exposures: bool
    personalize: bool
    train: bool


Decisions = Mapping[tuple[str, Purpose], str]
"""(person id, purpose) -> the status that stands."""


class Wishes:
    """Who refused what. While nobody ever decided anything, that is all that is asked, once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_at: datetime | None = None
        self._anybody = False
        self._heeded = 0

    def of(
        self, store: People, persons: Iterable[Sequence[str]], *, rules: DataRules, now: datetime
    ) -> list[Wish]:
        """Return what may be done with each event, given the person ids that it names.

        A refusal under any of its ids counts, also under an account that one of them is known to be: on a
        shared device the account that the event names, else any that signed in there. Without one the
        purpose is granted by any of the event's own ids, else as `rules` say of people never asked.

        Raises
        ------
        StoreUnavailableError
            If the decisions cannot be read; nothing may be assumed then.
        """
        wanted = [tuple(ids) for ids in persons]
        unasked = _wish({}, (), (), rules)
        if not wanted or not self._anybody_decided(store, now):
            return [unasked] * len(wanted)
        persons_of = {own: _persons_of(own) for own in set(wanted)}
        accounts = also_known_as(store, {one for persons in persons_of.values() for one in persons})
        ids = {person_id for one in persons_of for person_id in one}
        decisions = in_force(store.consents_of(ids.union(*accounts.values())))
        deciders = {person_id for person_id, _purpose in decisions}
        found: list[Wish] = []
        for own in wanted:
            others = [account for one in persons_of[own] for account in accounts[one]]
            asked = not (deciders.isdisjoint(own) and deciders.isdisjoint(others))
            found.append(_wish(decisions, own, others, rules) if asked else unasked)
        return found

    def heed(self) -> None:
        """Look again at the next question: somebody just decided something."""
        with self._lock:
            self._heeded += 1
            self._asked_at = None

    def _anybody_decided(self, store: People, now: datetime) -> bool:
        with self._lock:
            asked_at, heeded = self._asked_at, self._heeded
            if self._anybody or (asked_at is not None and asked_at <= now < asked_at + REMEMBERED):
                return self._anybody
        anybody = store.has_consents()
        with self._lock:
            self._anybody = self._anybody or anybody
            # A look from before somebody decided tells nothing of the time after.
            if heeded == self._heeded:
                self._asked_at = now
        return anybody


def _persons_of(own: Sequence[str]) -> Sequence[str]:
    """Return those of an event's ids whose accounts are its person: the users it names, else its device."""
    return [one for one in own if one.startswith("u:")] or own


def in_force(consents: Iterable[Consent]) -> dict[tuple[str, Purpose], str]:
    """Return the status that stands for each person and purpose: the latest; of two at once the refusal."""
    ordered = sorted(consents, key=lambda one: (one.decided_at, one.status == DENIED))
    return {(one.person_id, one.purpose): one.status for one in ordered}


def allows(
    decisions: Decisions,
    purpose: Purpose,
    own: Iterable[str],
    accounts: Iterable[str] = (),
    *,
    unknown: bool,
) -> bool:
    """Tell whether nobody refused `purpose` and, unless `unknown` will do, one of `own` ids granted it."""
    mine = [decisions.get((person_id, purpose)) for person_id in own]
    if DENIED in mine or any(decisions.get((one, purpose)) == DENIED for one in accounts):
        return False
    return unknown or GRANTED in mine


def _wish(decisions: Decisions, own: Sequence[str], accounts: Sequence[str], rules: DataRules) -> Wish:
    experiments, personalize, train = (
        allows(decisions, purpose, own, accounts, unknown=rules.unknown_consent)
        for purpose in (Purpose.EXPERIMENTATION, Purpose.PERSONALIZATION, Purpose.MODEL_TRAINING)
    )
    return Wish(
        store=experiments or personalize,
        exposures=experiments,
        personalize=personalize,
        train=train and personalize,
    )
