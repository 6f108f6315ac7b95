"""Whose ids belong together: a function of the links that were seen, never of their order.

A link says that ``a:<anonymous_id>`` or ``u:<user_id>`` (an account that was merged) is a user. The word of a
server vouches for it; a client key is public, so its word alone never opens anybody's history.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from experiments.identifiers import is_identifier
from service.log import logger
from service.storage.naming import ALIASED, PREVIOUS, previous_in
from service.storage.ports import People
from service.storage.records import Event, IdentityLink, person_ids
from service.use_cases.unguessable import is_unguessable

SERVER = "server"
MOST_ACCOUNTS = 10_000
"""Accounts that are looked up at once beyond those asked for: far more than people merge, and an end."""
MOST_DEVICES = 30
"""Anonymous ids of one person whose history is read, the latest linked first."""


class Known(NamedTuple):
    """The ids of one person: accounts and anonymous ids, each sorted."""

    user_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]


def links_of(event: Event, trust: str) -> list[IdentityLink]:
    """Return the links that an event says: of its two ids, and of the id that an alias replaces."""
    if not event.user_id:
        return []
    from_ids = [f"a:{event.anonymous_id}"] if event.anonymous_id else []
    if event.type == ALIASED:
        previous = event.properties.get(PREVIOUS)
        if isinstance(previous, str) and is_identifier(previous):
            from_ids += replaced(previous, event.user_id, trust)
    return [
        IdentityLink(from_id=from_id, user_id=event.user_id, linked_at=event.occurred_at, trust=trust)
        for from_id in dict.fromkeys(from_ids)
    ]


def concerned(event: Event) -> tuple[str, ...]:
    """Return whose wishes count for an event: whom it names, and the id that an alias replaces."""
    previous = previous_in(event.type, event.properties)
    return (*person_ids(event), f"u:{previous}", f"a:{previous}") if previous else person_ids(event)


def replaced(previous: str, user_id: str, trust: str) -> list[str]:
    """Return the forms in which `previous` stands for `user_id` from now on.

    Whether it is an account or an anonymous id cannot be seen, so a server's word is taken for both. A client
    key merges no accounts.
    """
    merged = trust == SERVER and previous != user_id
    return [f"a:{previous}", f"u:{previous}"] if merged else [f"a:{previous}"]


def user_of(links: Iterable[IdentityLink]) -> str | None:
    """Return whose an anonymous id is, given the links from it: the first user, of equals the least user_id.

    Examples
    --------
    >>> from service.clock import from_micros
    >>> def link(user_id: str, at: int) -> IdentityLink:
    ...     return IdentityLink(from_id="a:1", user_id=user_id, linked_at=from_micros(at), trust="server")
    >>> user_of([link("bob", 2), link("eve", 1), link("ana", 1)])
    'ana'
    """
    first = min(links, key=lambda link: (link.linked_at, link.user_id), default=None)
    return first.user_id if first else None


def merged(users: Iterable[str], links: Iterable[IdentityLink]) -> dict[str, set[str]]:
    """Return, for each user and each account named in `links`, the accounts of the same person.

    `links` are all links from the accounts they begin at. An account becomes one user only, as `user_of`
    says: otherwise a device id that was aliased twice would make two people one.

    Examples
    --------
    >>> from service.clock import from_micros
    >>> def link(old: str, new: str, at: int) -> IdentityLink:
    ...     return IdentityLink(from_id=f"u:{old}", user_id=new, linked_at=from_micros(at), trust="server")
    >>> found = merged(["bob", "new"], [link("old", "new", 1), link("old", "bob", 2)])
    >>> {user: sorted(same) for user, same in found.items()}
    {'bob': ['bob'], 'new': ['new', 'old'], 'old': ['new', 'old']}
    """
    by_account: dict[str, list[IdentityLink]] = {}
    for link in links:
        by_account.setdefault(link.from_id[2:], []).append(link)
    same = {user: {user} for user in users}
    for account, rivals in by_account.items():
        became = user_of(rivals) or account
        one, other = (same.setdefault(user, {user}) for user in (became, account))
        if one is not other:
            one |= other
            same.update(dict.fromkeys(other, one))
    return same


def read_links(store: People, users: Iterable[str], devices: Iterable[str] = ()) -> list[IdentityLink]:
    """Return the links of `devices`, and the merges that lead to or from these users, over every step.

    Only links whose word counts are among them.
    """
    known: set[str] = set()
    fresh = set(users)
    most = len(fresh) + MOST_ACCOUNTS
    found: set[IdentityLink] = set()
    ask = [*devices, *_accounts(fresh)]
    while ask:
        known |= fresh
        links = [one for one in store.links_around(ask, fresh) if counts(one)]
        found.update(links)
        named = {one.user_id for one in links}
        fresh = named.union(one.from_id[2:] for one in links if one.from_id.startswith("u:")) - known
        ask = _accounts(fresh)
        if ask and len(known) >= most:
            logger().error("too_many_merged_accounts", read=len(known), left=len(fresh))
            break
    # Of an account at the far end not all links were read: it is left out.
    return [one for one in found if one.from_id.startswith("a:") or one.from_id[2:] in known]


def _accounts(users: Iterable[str]) -> list[str]:
    return [f"u:{user}" for user in users]


def counts(link: IdentityLink) -> bool:
    """Tell whether a link is believed: a server's word, or that of somebody who knew an unguessable device.

    A client key merges no accounts, and anybody could say that a device with a guessable id is theirs.
    """
    if link.trust == SERVER:
        return True
    return link.from_id.startswith("a:") and is_unguessable(link.from_id[2:])


def accounts_of(store: People, users: Iterable[str]) -> set[str]:
    """Return `users` and all accounts that were merged with theirs."""
    wanted = set(users)
    same = merged(wanted, read_links(store, wanted))
    return set().union(*(same[user] for user in wanted))


def known_as(store: People, user_id: str) -> Known:
    """Return the ids whose history is that of `user_id`, by links that a server vouched for.

    An anonymous id that several people signed in under belongs to the first of them.
    """
    users = accounts_of(store, [user_id])
    links = sorted(store.links_to(users, trust=SERVER), key=_time_and_id, reverse=True)
    devices = list(dict.fromkeys(link.from_id for link in links if link.from_id.startswith("a:")))
    vouched: dict[str, list[IdentityLink]] = {device: [] for device in devices[:MOST_DEVICES]}
    for link in store.links_from(vouched):
        if link.trust == SERVER:
            vouched[link.from_id].append(link)
    own = (device[2:] for device, rivals in vouched.items() if user_of(rivals) in users)
    return Known(tuple(sorted(users)), tuple(sorted(own)))


def _time_and_id(link: IdentityLink) -> tuple[datetime, str]:
    return link.linked_at, link.from_id


def also_known_as(store: People, person_ids: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return, for each person id, the accounts whose refusals count for it too.

    These are the users that signed in under an anonymous id, and all accounts that were merged with theirs.
    """
    users: dict[str, set[str]] = {}
    for person_id in person_ids:
        users[person_id] = {person_id[2:]} if person_id.startswith("u:") else set()
    named = set().union(*users.values())
    links = read_links(store, named, [person_id for person_id in users if person_id.startswith("a:")])
    for link in links:
        if link.from_id in users and link.from_id.startswith("a:"):
            users[link.from_id].add(link.user_id)
    same = merged(set().union(*users.values()), [link for link in links if link.from_id.startswith("u:")])
    return {
        person_id: sorted({f"u:{account}" for user in mine for account in same[user]} - {person_id})
        for person_id, mine in users.items()
    }
