"""Who reads the pages: a one-time link becomes a session cookie; the store keeps hashes of both."""

import secrets
from datetime import datetime, timedelta

from service.storage.ports import Control
from service.storage.records import KeyClass
from service.use_cases.access import hash_key

COOKIE = "opportune_session"
SESSION_VALID = timedelta(hours=24)
READERS = frozenset({KeyClass.ANALYST, KeyClass.ADMIN})
MAX_TOKEN = 128


def sign_in(control: Control, token: str, *, now: datetime) -> str | None:
    """Spend a link's token; return the value of the session cookie, None if it was spent or has expired."""
    key_class = control.use_sign_in(hash_key(token), now=now) if len(token) <= MAX_TOKEN else None
    if key_class is None:
        return None
    cookie = secrets.token_urlsafe(32)
    control.put_session(hash_key(cookie), key_class, expires_at=now + SESSION_VALID)
    return cookie


def session_class(control: Control, cookie: str, *, now: datetime) -> KeyClass | None:
    """Return as what the holder of `cookie` may read pages, None if it is no live session."""
    if not cookie or len(cookie) > MAX_TOKEN:
        return None
    found = control.session(hash_key(cookie), now=now)
    return found if found in READERS else None


def signed_in(control: Control, cookie: str, *, now: datetime) -> bool:
    """Tell whether `cookie` is a live session that may read verdicts."""
    return session_class(control, cookie, now=now) is not None
