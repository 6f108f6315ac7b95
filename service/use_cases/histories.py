"""Whose history may decide what somebody is shown: a public key vouches for nobody."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from experiments.membership import KNOWN_AS
from experiments.units import ANONYMOUS_ID, USER_ID, unit_id_of
from service.settings import Settings
from service.storage.records import KeyClass
from service.use_cases.access import Caller, visible_person_ids
from service.use_cases.exchange import Call

ATTRIBUTE = "person_token"


def with_known(
    context: Mapping[str, Any], caller: Caller, call: Call, *, settings: Settings, now: datetime
) -> Mapping[str, Any]:
    """Return `context` with the people whose history may count; all whom it names, for a secret key."""
    if caller.key_class is not KeyClass.CLIENT:
        return context
    token = call.person_token or context.get(ATTRIBUTE)
    known = visible_person_ids(
        caller,
        user_id=unit_id_of(USER_ID, context),
        anonymous_id=unit_id_of(ANONYMOUS_ID, context),
        token=token if isinstance(token, str) else "",
        secret=settings.signing_secret,
        now=now,
    )
    return {**context, KNOWN_AS: known}
