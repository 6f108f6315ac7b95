"""The reserved attribute `request`: what the server itself knows of a request, for targeting by it."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from ua_parser import Domain, Parser
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

ATTRIBUTE = "request"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_CHARACTERS = 512
MOST_KNOWN = 10_000

MOBILE = frozenset(
    {"iOS", "Windows Phone", "KaiOS", "BlackBerry OS", "Firefox OS", "Symbian OS", "HarmonyOS"}
)
DESKTOP = frozenset({"Windows", "Mac OS X", "Linux", "Ubuntu", "Debian", "Fedora", "Chrome OS", "FreeBSD"})

Attributes: TypeAlias = Mapping[str, Any]


def with_facts(context: Attributes, *, now: datetime, user_agent: str, zone: ZoneInfo) -> dict[str, Any]:
    """Return `context` with the reserved attribute; what the client sent under that name is replaced."""
    local = now.astimezone(zone)
    return {
        **context,
        ATTRIBUTE: {
            "time": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "weekday": WEEKDAYS[local.weekday()],
            "hour": local.hour,
            "device": device_class(user_agent[:MOST_CHARACTERS]),
        },
    }


@functools.lru_cache(maxsize=MOST_KNOWN)
def device_class(user_agent: str) -> str:
    """Return desktop, mobile, tablet, bot or unknown.

    Examples
    --------
    >>> device_class("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    'bot'
    >>> device_class("curl/8.5")
    'unknown'
    """
    found = parser()(user_agent, Domain.OS | Domain.DEVICE)
    system = found.os.family if found.os else ""
    if found.device and found.device.family == "Spider":
        return "bot"
    if system == "Android":
        return _android(user_agent, (found.device and found.device.brand) or "")
    if found.device and found.device.family == "iPad":
        return "tablet"
    if system in MOBILE:
        return "mobile"
    return "desktop" if system in DESKTOP else "unknown"


def _android(user_agent: str, brand: str) -> str:
    """Tell phones from tablets as Android's own browsers do: only phones say Mobile."""
    in_a_browser = user_agent.startswith("Mozilla/")
    tablet = brand == "Generic_Android_Tablet" or (in_a_browser and "Mobile" not in user_agent)
    return "tablet" if tablet else "mobile"


@functools.cache
def parser() -> Parser:
    """Return the parser of User-Agent texts: 27 MB and half a second, so it is made when first asked for."""
    return Parser(Resolver(load_lazy_builtins()))
