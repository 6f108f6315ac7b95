"""Requests to one door: path, key, headers and body, mostly decent and always a little different."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from scripts.fuzz.bodies import FORMS, bodies, packed
from scripts.fuzz.wire import Ask


class Door(NamedTuple):
    """A route: its path may hold `{parameters}`; `query` names what it asks for there, `scopes` its keys."""

    method: str
    path: str
    query: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


DECENT = ("button", "price", "dark-mode", "@HELD@")
PARAMETERS = (
    "unborn", "none", "*", ".", "..", "%2e%2e%2f", "a/b", "%00", "%ff", "%0a",
    "a%20b", "caf%C3%A9", "caf\u00e9", "x" * 300, "%", "%zz", "'", "<script>", "\u202e", "0" * 64,
    "ck_wrong",
)  # fmt: skip
VALUES = (
    "", "0", "-1", "1", "99999999999999999999", "1e5", "NaN", "abc", "%00", "%ff", "a%0ab", "true",
    "x" * 2_000, "=", "&&",
    "@STREAM@", "2026-11-22T09:30:00Z", "invalid_event", "\u00e9", "a.b", "..",
)  # fmt: skip
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Content-Type", ("application/json", "text/plain;charset=UTF-8", "text/csv", "multipart/form-data")),
    ("Content-Encoding", ("gzip", "identity", "br", "deflate", "gzip, gzip", "\u00ff")),
    ("Origin", ("http://localhost:1", "https://shop.example", "null", "http://[", "\u00ff")),
    ("X-Request-Id", ("a-decent-id", "x", "\u00ff" * 9, "{}")),
    ("If-None-Match", ("*", '"a"', 'W/"a", "b"', '"', "\u00e9")),
    ("If-Modified-Since", ("Sun, 22 Nov 2026 09:30:00 GMT", "never")),
    ("User-Agent", ("Mozilla/5.0", "Googlebot/2.1", "", "\u00ff" * 700, "(" * 300)),
    ("Cookie", ("opportune_preview=@PREVIEW@", "opportune_session=x", "=", ";;;", "\u00ff=\u00ff", '"')),
    ("X-Person-Token", ("@PERSON@", "a.b", "e30.e30", ".", "\u00ff", "x" * 3_000)),
    ("X-Opportune-Preview", ("@PREVIEW@", "a.b", "", "\u00ff")),
    ("X-Forwarded-For", ("1.2.3.4", "::1, 5.6.7.8", "garbage", "," * 50)),
    ("X-Forwarded-Proto", ("https", "x")),
    ("Sec-GPC", ("1", "0", "x")),
    ("DNT", ("1", "\u00ff")),
    ("Last-Event-ID", ("0.0", "99999999999999999999.9", "x")),
    ("Accept", ("text/html", "*/*", "\u00ff")),
    ("Accept-Language", ("es-ES,es;q=0.9", "\u00ff")),
    ("Accept-Encoding", ("gzip", "x")),
    ("Range", ("bytes=0-1", "bytes=9-1", "x")),
    ("Access-Control-Request-Method", ("POST", "DELETE", "")),
    ("Expect", ("100-continue", "x")),
    ("Sec-Fetch-Site", ("same-origin", "cross-site")),
)  # fmt: skip
KEYS = ("@CK@", "@SK@", "@RK@", "@AK@")
PAGES = ("/quarantine", "/experiments")
FORM = b"application/x-www-form-urlencoded"
PACKINGS = ("whole", "whole", "cut", "twice", "bomb", "not")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


def requests(doors: Sequence[Door]) -> st.SearchStrategy[Ask]:
    """Return what to draw requests from."""
    return st.sampled_from(doors).flatmap(_request)


@st.composite
def _request(draw: st.DrawFn, door: Door) -> Ask:
    odd = draw(st.integers(0, 29)) == 0
    headers = dict(draw(_HEADERS))
    body = draw(bodies(door.path)) if door.method != "GET" or odd else b""
    if headers.get("Content-Encoding") == b"gzip":
        body = packed(body, draw(st.sampled_from(PACKINGS)))
    if draw(st.integers(0, 9)):
        headers.setdefault("Content-Type", FORM if door.path in FORMS else b"application/json")
    if draw(st.integers(0, 3)) == 0 or door.path.startswith(PAGES):
        headers.setdefault("Cookie", b"opportune_session=@SESSION@")
    how = draw(st.sampled_from(("bearer",) * 9 + ("basic", "api-key", "query", "garbage", "none")))
    key = draw(st.sampled_from((door.scopes or KEYS) * 3 + KEYS))
    headers |= _credentials(how, key)
    query = draw(_queries(door.query))
    if how == "query":
        query = "&".join(filter(None, (query, f"client_key={key}")))
    return Ask(
        door=f"{door.method} {door.path}",
        method=draw(st.sampled_from(METHODS)) if odd else door.method,
        target=(_filled(draw, door.path) + (f"?{query}" if query else "")).encode(),
        headers=tuple(headers.items()),
        body=body,
        chunked=draw(st.integers(0, 29)) == 0,
    )


@st.composite
def _headers(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    n = draw(st.sampled_from((0, 0, 0, 1, 1, 2, 4)))
    chosen = [HEADERS[draw(st.integers(0, len(HEADERS) - 1))] for _ in range(n)]
    return [(name, draw(st.sampled_from(values)).encode("latin-1")) for name, values in chosen]


_HEADERS = _headers()


def _credentials(how: str, key: str) -> dict[str, bytes]:
    values = {
        "bearer": ("Authorization", f"Bearer {key}"),
        "basic": ("Authorization", f"Basic {key}:"),
        "api-key": ("X-API-Key", key),
        "garbage": ("Authorization", "Bearer \u00ff\u00fe" + key[:5]),
    }
    found = values.get(how)
    return {found[0]: found[1].encode("latin-1")} if found else {}


@st.composite
def _queries(draw: st.DrawFn, names: tuple[str, ...]) -> str:
    n = draw(st.sampled_from((0, 0, 0, 1, 2)))
    wanted = (*names, "client_key", "flagConfigEtag", "flagConfigLastModified", "x")
    return "&".join(f"{draw(st.sampled_from(wanted))}={draw(st.sampled_from(VALUES))}" for _ in range(n))


def _filled(draw: st.DrawFn, path: str) -> str:
    """Return the path with its parameters filled in, and sometimes with a slash too many."""
    parts = []
    for part in path.split("/"):
        if not part.startswith("{"):
            parts.append(part)
        elif part == "{client_key}" and draw(st.integers(0, 3)):
            parts.append("@CK@")
        else:
            parts.append(draw(st.sampled_from(PARAMETERS if draw(st.integers(0, 1)) else DECENT)))
    slash: str = draw(st.sampled_from(("",) * 20 + ("/", "//")))
    return slash[1:] + "/".join(parts) + slash[:1]
