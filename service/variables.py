"""How one environment variable is read: the value in its type, or a ValueError that names the variable."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LAKE_URL = re.compile(r"[a-z][a-z0-9+]*://[^/?#@\s]+(/[^?#\s]*)?", re.ASCII)
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ORIGIN = re.compile(
    r"localhost|https?://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE
)
PUBLIC_URL = re.compile(
    r"https?://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", re.ASCII | re.IGNORECASE
)


def origins(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the browser origins that may call."""
    named = tuple(o.strip().rstrip("/") for o in env.get("OPPORTUNE_ORIGINS", "").split(",") if o.strip())
    wrong = [origin for origin in named if not ORIGIN.fullmatch(origin)]
    if wrong:
        raise ValueError(
            f"OPPORTUNE_ORIGINS={wrong[0]!r}: expected scheme://host[:port], such as https://shop.example, "
            "or localhost"
        )
    return named


def public_url(env: Mapping[str, str]) -> str:
    """Return the address under which clients reach the service, without a final slash."""
    url = env.get("OPPORTUNE_PUBLIC_URL", "").strip().rstrip("/")
    if url and not PUBLIC_URL.fullmatch(url):
        raise ValueError(
            f"OPPORTUNE_PUBLIC_URL={url!r}: expected scheme://host[:port][/path], "
            "such as https://flags.shop.example"
        )
    return url


def proxies(env: Mapping[str, str]) -> tuple[Network, ...]:
    """Return the networks of trusted proxies."""
    named = [part.strip() for part in env.get("OPPORTUNE_PROXIES", "").split(",") if part.strip()]
    try:
        return tuple(ipaddress.ip_network(name) for name in named)
    except ValueError as error:
        raise ValueError(
            f"OPPORTUNE_PROXIES: {error}; expected addresses or networks, such as 10.0.0.7, 10.1.0.0/16"
        ) from error


def zone(env: Mapping[str, str]) -> ZoneInfo:
    """Return the time zone of the reserved attributes."""
    name = env.get("OPPORTUNE_ZONE") or "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"OPPORTUNE_ZONE={name!r}: expected a time zone such as Europe/Madrid") from error


def lake(env: Mapping[str, str]) -> Path | str:
    """Return the folder of the lake, or its URL; empty if the environment names none."""
    text = env.get("OPPORTUNE_LAKE", "").strip()
    if text and "://" not in text:
        return Path(text).expanduser().resolve()
    if text.startswith("file:///"):
        return Path(text.removeprefix("file://")).resolve()
    if text and not LAKE_URL.fullmatch(text):
        # Somebody may have put credentials into it, so it is not repeated.
        raise ValueError(
            "OPPORTUNE_LAKE: expected a folder, or a URL without credentials such as s3://bucket/shop"
        )
    return text.rstrip("/")


def integer(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """Return a whole number between `low` and `high`."""
    text = env.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ValueError(f"{name}={text!r}: expected a whole number from {low} to {high}")
    return int(text)


def switch(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return whether a switch is on."""
    text = env.get(name, "")
    if text not in ("", "0", "1"):
        raise ValueError(f"{name}={text!r}: expected 0 or 1")
    return default if not text else text == "1"


def one_of(env: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """Return one of the words `allowed` as it is written there, the first by default."""
    text = env.get(name) or allowed[0]
    found = next((word for word in allowed if word.lower() == text.lower()), None)
    if found is None:
        raise ValueError(f"{name}={text!r}: expected one of {', '.join(allowed)}")
    return found


def key(env: Mapping[str, str], name: str, prefix: str) -> str:
    """Return a key of the class `prefix`, empty if there is none."""
    text = env.get(name, "")
    if text and not (text.startswith(prefix) and text.isascii() and len(text) >= len(prefix) + 24):
        raise ValueError(f"{name}: expected {prefix} followed by at least 24 ASCII characters")
    return text
