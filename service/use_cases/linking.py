"""Join two ids of one person on the word of somebody who knows: a server, or the person's own token."""

from dataclasses import dataclass
from typing import Any

from service.errors import ProblemError
from service.storage.records import IdentityLink, KeyClass
from service.use_cases.access import Caller, require_own
from service.use_cases.identity import SERVER, known_as
from service.use_cases.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAsk:
    """`anonymous_id` is a device of `user_id`, or `previous_user_id` an account that became `user_id`."""

    user_id: str
    anonymous_id: str | None = None
    previous_user_id: str | None = None
    person_token: str = ""


def link(services: Services, ask: LinkAsk, *, caller: Caller) -> dict[str, Any]:
    """Store the link and return the ids that are the user's from now on; saying it again changes nothing.

    Raises
    ------
    ProblemError
        403 if a client key lacks the user's token, names a guessable id, or merges accounts.
    StoreUnavailableError
        If nothing could be written; sending it again is harmless.
    """
    now = services.clock()
    if caller.key_class is KeyClass.CLIENT and ask.previous_user_id:
        raise ProblemError(403, "forbidden", "merging accounts needs a server key")
    require_own(
        caller,
        user_id=ask.user_id,
        anonymous_id=ask.anonymous_id,
        token=ask.person_token,
        secret=services.settings.signing_secret,
        now=now,
    )
    named = (("a:", ask.anonymous_id), ("u:", ask.previous_user_id))
    links = [
        IdentityLink(from_id=prefix + name, user_id=ask.user_id, linked_at=now, trust=SERVER)
        for prefix, name in named
        if name
    ]
    services.store.put_links(links)
    known = known_as(services.store, ask.user_id)
    return {"user_ids": list(known.user_ids), "anonymous_ids": list(known.anonymous_ids)}
