"""What Segment's browser library loads before it sends anything: where to send it, and no more to load."""

from typing import Any
from urllib.parse import urlsplit

from service.storage.records import KeyClass

SCOPES = frozenset({KeyClass.CLIENT})
LOCAL = ("localhost", "127.0.0.1", "[::1]")
HTTP, HTTPS = "http", "https"


def library_settings(client_key: str, *, api_host: str, protocol: str) -> dict[str, Any]:
    """Return the settings of one source, in the form of Segment's CDN.

    Without the sample rate of 0 the library would report its own performance to its maker's host.
    """
    own = {
        "apiKey": client_key,
        "apiHost": api_host,
        "protocol": protocol,
        "addBundledMetadata": False,
        "unbundledIntegrations": [],
        "maybeBundledConfigIds": {},
    }
    by_default = {"__default": {"enabled": True, "integrations": {}}}
    return {
        "integrations": {"Segment.io": own},
        "plan": {"track": by_default, "identify": by_default, "group": by_default},
        "metrics": {"sampleRate": 0},
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "remotePlugins": [],
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "legacyVideoPluginsEnabled": False,
    }


def api_of(public_url: str, *, host: str, origin: str, forwarded_proto: str) -> tuple[str, str]:
    """Return host with path, and protocol, under which a browser reaches the API.

    Examples
    --------
    >>> api_of("https://flags.shop.example", host="10.0.0.7", origin="", forwarded_proto="")
    ('flags.shop.example/v1', 'https')
    >>> api_of("", host="localhost:8000", origin="http://localhost:3000", forwarded_proto="")
    ('localhost:8000/v1', 'http')
    >>> api_of("", host="flags.shop.example", origin="https://shop.example", forwarded_proto="")
    ('flags.shop.example/v1', 'https')
    """
    if public_url:
        parts = urlsplit(public_url)
        return f"{parts.netloc}{parts.path}/v1", parts.scheme
    is_local = host.startswith(LOCAL)
    # A page on https may call nothing but https, except on its own machine.
    secure = forwarded_proto == HTTPS or (origin.startswith(HTTPS + ":") and not is_local)
    return f"{host}/v1", HTTPS if secure else HTTP
