"""Signed, expiring preview tokens: whoever holds one sees the variants it names, and is never analysed."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime

ATTRIBUTE = "preview"
HEADER = "X-Opportune-Preview"
COOKIE = "opportune_preview"

MOST_VARIANTS = 50
MOST_CHARACTERS = 4_096
# Another purpose than person tokens, which the same secret signs: neither passes for the other.
PURPOSE = b"preview\0"


class PreviewError(ValueError):
    """A preview token that cannot be made."""


def make_preview(secret: str, variants: Mapping[str, str], *, expires_at: datetime) -> str:
    """Return a token that forces `variants` (key to variant) until `expires_at`.

    Raises
    ------
    PreviewError
        If there is no secret to sign with, or more than a token may name.
    """
    if not secret:
        raise PreviewError("OPPORTUNE_SIGNING_SECRET is not set; a preview link must be signed")
    if not variants or len(variants) > MOST_VARIANTS:
        raise PreviewError(f"a preview names 1 to {MOST_VARIANTS} variants")
    claims = {"see": dict(variants), "exp": int(expires_at.timestamp())}
    payload = _encode(json.dumps(claims, separators=(",", ":"), sort_keys=True).encode())
    token = f"{payload}.{_encode(_signature(secret, payload))}"
    if len(token) > MOST_CHARACTERS:
        raise PreviewError(f"a preview token may have {MOST_CHARACTERS} characters; name fewer variants")
    return token


def read_preview(secret: str, token: str, *, now: datetime) -> Mapping[str, str] | None:
    """Return which variant of what a token forces; None if it is forged, expired or malformed."""
    payload, _, signature = token.partition(".")
    if not secret or not token.isascii() or len(token) > MOST_CHARACTERS:
        return None
    if not hmac.compare_digest(signature, _encode(_signature(secret, payload))):
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        variants, expires = claims["see"], claims["exp"]
    except (ValueError, KeyError, TypeError):
        return None
    if type(expires) is not int or now.timestamp() >= expires or type(variants) is not dict:
        return None
    return {key: variant for key, variant in variants.items() if isinstance(variant, str)}


def presented_token(attribute: object, header: str, cookies: str) -> str:
    """Return the token that came with a request, empty if none did: attribute, else header, else cookie."""
    if isinstance(attribute, str) and attribute:
        return attribute
    if header:
        return header.strip()
    if COOKIE not in cookies:
        return ""
    # No SimpleCookie: it stops at the first cookie that is not quite one, and those of others are in front.
    pairs = (pair.partition("=") for pair in cookies.split(";"))
    return next((value.strip(' \t"') for name, _, value in pairs if name.strip() == COOKIE), "")


def _signature(secret: str, payload: str) -> bytes:
    return hmac.new(secret.encode(), PURPOSE + payload.encode(), hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
