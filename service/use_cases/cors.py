"""What a browser is told about calling from another origin; the same words on the hot lane and in Flask."""

from service.use_cases.access import origin_allowed
from service.use_cases.exchange import Headers

VARY: Headers = (("Vary", "Origin"),)
EXPOSED = "ETag, Retry-After, X-Request-Id, x-sse-support"
ALLOWED_HEADERS = (
    "authorization, cache-control, content-type, if-none-match, last-event-id, x-api-key, "
    "x-opportune-preview, x-person-token, x-retry-count"
)
MAX_AGE_S = 600


def answer_headers(origin: str, allowed: tuple[str, ...], *, host: str) -> Headers:
    """Return the headers of an answer on a client-key route, errors and 304 included."""
    if not origin or not origin_allowed(origin, allowed, host=host):
        return VARY
    return (*VARY, ("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", EXPOSED))


def preflight_headers(origin: str, allowed: tuple[str, ...], *, host: str, methods: str) -> Headers:
    """Return the headers of the answer to a preflight, which carries no key."""
    if not origin or not origin_allowed(origin, allowed, host=host):
        return VARY
    return (
        *VARY,
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
        ("Access-Control-Max-Age", str(MAX_AGE_S)),
    )
