"""Who is calling, and what may they see: keys, person tokens, unguessable ids, browser origins."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from service.errors import ProblemError
from service.settings import Settings
from service.storage.ports import Control
from service.storage.records import KeyClass
from service.use_cases.unguessable import is_unguessable

MAX_KEY_LENGTH = 512
MAX_TOKEN_LENGTH = 2_048
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1"})
SECRET_CLASSES = frozenset({KeyClass.SERVER, KeyClass.ANALYST, KeyClass.ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key came with a request. `key_id` may be logged; `origin` is empty outside browsers."""

    key_class: KeyClass
    key_id: str
    origin: str


def hash_key(key: str) -> str:
    """Return the form in which a key is stored and looked up: sha256, hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def presented_key(authorization: str, x_api_key: str) -> str:
    """Return the key in the headers, empty if there is none: Bearer, Basic (as the user name), X-API-Key."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        return _basic_user(rest.strip())
    return x_api_key.strip()


def _basic_user(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("latin-1").partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def find_caller(keys: Mapping[str, KeyClass], key: str, *, origin: str) -> Caller | None:
    """Return whose key this is, or None. The look-up is by digest, so its time tells nothing about a key."""
    if not key or len(key) > MAX_KEY_LENGTH:
        return None
    digest = hash_key(key)
    key_class = keys.get(digest)
    return None if key_class is None else Caller(key_class, f"{key_class.value}:{digest[:12]}", origin)


def origin_allowed(origin: str, allowed: tuple[str, ...], *, host: str) -> bool:
    """Tell whether a page of `origin` may call: it is listed, or the page came from this very host.

    The entry ``localhost`` stands for any port of localhost and 127.0.0.1, over http.
    """
    if origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
        return False
    if host and parts.netloc == host:
        return True
    return "localhost" in allowed and parts.scheme == "http" and name in LOCAL_HOSTS and "@" not in origin


def sign_person_token(secret: str, *, subject: str, expires_at: datetime) -> str:
    """Return a token with which a browser may see the history of `subject` (``u:<id>`` or ``a:<id>``)."""
    claims = {"sub": subject, "exp": int(expires_at.timestamp())}
    payload = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{payload}.{_encode(_signature(secret, payload))}"


def verify_person_token(secret: str, token: str, *, now: datetime) -> str | None:
    """Return the person that `token` names; None if it is forged, expired, malformed, or no secret is set."""
    payload, _, signature = token.partition(".")
    if not secret or not token.isascii() or len(token) > MAX_TOKEN_LENGTH:
        return None
    try:
        if not hmac.compare_digest(_decode(signature), _signature(secret, payload)):
            return None
        claims = json.loads(_decode(payload))
        subject, expires = claims["sub"], claims["exp"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    good = isinstance(subject, str) and type(expires) is int and now.timestamp() < expires
    return subject if good else None


def visible_person_ids(
    caller: Caller,
    *,
    user_id: str | None,
    anonymous_id: str | None,
    token: str,
    secret: str,
    now: datetime,
) -> tuple[str, ...]:
    """Return which of the persons named this caller may use the history of, the best known first.

    A secret key may use them all. A client key is public: it may use an anonymous id that cannot be guessed,
    and whoever a valid person token names.
    """
    named = tuple(p + i for p, i in (("u:", user_id), ("a:", anonymous_id)) if i)
    if caller.key_class is not KeyClass.CLIENT:
        return named
    vouched = verify_person_token(secret, token, now=now) if token else None
    return tuple(p for p in named if p == vouched or (p.startswith("a:") and is_unguessable(p[2:])))


def require_own(
    caller: Caller,
    *,
    user_id: str | None,
    anonymous_id: str | None,
    token: str,
    secret: str,
    now: datetime,
) -> tuple[str, ...]:
    """Return the persons named, all of whom this caller may speak for.

    Raises
    ------
    ProblemError
        403 that names the first one whom a client key may not speak for.
    """
    named = tuple(p + i for p, i in (("u:", user_id), ("a:", anonymous_id)) if i)
    allowed = visible_person_ids(
        caller, user_id=user_id, anonymous_id=anonymous_id, token=token, secret=secret, now=now
    )
    for person_id in named:
        if person_id not in allowed:
            member = "user_id" if person_id.startswith("u:") else "anonymous_id"
            detail = (
                f"with a client key {member} needs a person_token that names it, made with a server key; an "
                "anonymous_id that cannot be guessed, such as a UUID, speaks for itself"
            )
            raise ProblemError(403, "forbidden", detail)
    return named


def _signature(secret: str, payload: str) -> bytes:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def keep_environment_keys(store: Control, settings: Settings, *, now: datetime) -> None:
    """Store the hashes of the keys that the settings hold; a key taken out of the settings stops working."""
    classes = {
        KeyClass.CLIENT: settings.client_key,
        KeyClass.SERVER: settings.server_key,
        KeyClass.ANALYST: settings.analyst_key,
        KeyClass.ADMIN: settings.admin_key,
    }
    valid = {hash_key(key): key_class for key_class, key in classes.items() if key}
    store.set_keys("environment", valid, now=now)
