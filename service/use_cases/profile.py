"""Everything that is known of one person, for the people who answer when that person asks."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from service.storage.ports import People
from service.storage.records import Activity, IdentityLink, Interaction
from service.use_cases.consent import statuses
from service.use_cases.identity import known_as

RECENT = 50
"""Interactions shown of each id, the newest ones."""


def profile(store: People, *, user_id: str | None, anonymous_id: str | None) -> dict[str, Any]:
    """Return the person's ids, links, decisions, activity, when last seen, and latest interactions.

    Of a user these are also those of the accounts and anonymous ids that a server linked; the links that only
    a client key vouches for are shown, and what is known under them is not.

    Raises
    ------
    StoreUnavailableError
        If it cannot be read.
    """
    known = known_as(store, user_id) if user_id else None
    users = known.user_ids if known else ()
    devices = known.anonymous_ids if known else ()
    anonymous = sorted({*devices, *([anonymous_id] if anonymous_id else [])})
    persons = [*(f"u:{user}" for user in users), *(f"a:{device}" for device in anonymous)]
    links = {*store.links_to(users), *store.links_from(persons)}
    consents = store.consents_of(persons)
    activity = [one for person_id in persons for one in store.activity(person_id)]
    return {
        "user_ids": list(users),
        "anonymous_ids": anonymous,
        "links": [asdict(one) for one in sorted(links, key=_names)],
        "in_force": {person: said for person, said in statuses(consents, persons).items() if said},
        "consents": [asdict(one) for one in consents],
        "last_seen": max((one.last_at for one in activity), default=None),
        "activity": [asdict(one) for one in activity],
        "interactions": [asdict(one) for one in _latest(store, activity)],
    }


def _latest(store: People, activity: Sequence[Activity]) -> list[Interaction]:
    types: dict[str, set[str]] = {}
    for one in activity:
        types.setdefault(one.person_id, set()).add(one.event_type)
    found = [i for person, named in types.items() for i in store.recent_of_types(person, named, RECENT)]
    return sorted(found, key=lambda one: one.occurred_at, reverse=True)


def _names(one: IdentityLink) -> tuple[str, str, str]:
    return one.from_id, one.user_id, one.trust
