"""A request and its answer, in the form that the hot lane and the Flask routes share."""

from typing import NamedTuple, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]

JSON_TYPE: Headers = (("Content-Type", "application/json"),)
PRIVATE: Headers = (
    ("Cache-Control", "private, no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


class Call(NamedTuple):
    """One request that Flask and another lane may answer; of an evaluation `key` is None for all flags.

    Header values are empty when absent.

    `address` is whose requests are limited; it is empty where nothing is, or was counted already.
    """

    key: str | None
    body: bytes
    path: str = ""
    query: str = ""
    authorization: str = ""
    x_api_key: str = ""
    origin: str = ""
    host: str = ""
    if_none_match: str = ""
    user_agent: str = ""
    preview: str = ""
    cookie: str = ""
    address: str = ""
    person_token: str = ""
    request_id: str = ""
    content_type: str = ""
    content_encoding: str = ""
    sec_gpc: str = ""
    dnt: str = ""


class Reply(NamedTuple):
    """What goes back, byte for byte; `etag` is one more header, apart since it differs most often."""

    status: int
    headers: Headers
    body: bytes
    etag: str = ""


def tidy_path(path: str) -> str:
    """Return a path with one slash between parts and none at the end: what ``BASE_URL/`` + path was to be.

    Forgiven without a redirect, since clients turn a redirected POST into a GET.

    Examples
    --------
    >>> tidy_path("//ofrep/v1//evaluate/flags/")
    '/ofrep/v1/evaluate/flags'
    """
    if "//" in path or (path.endswith("/") and path != "/"):
        return "/" + "/".join(part for part in path.split("/") if part)
    return path
