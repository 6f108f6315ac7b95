"""From ASGI to WSGI: a whole request in, a whole answer out, one thread hand-over for both."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from wsgiref.types import WSGIApplication

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


def run_wsgi(app: WSGIApplication, environ: dict[str, Any]) -> tuple[int, RawHeaders, bytes]:
    """Call a WSGI application and gather its whole answer: one thread hand-over a request."""
    status = 500
    headers: RawHeaders = []
    out: list[bytes] = []

    def start(
        line: str,
        pairs: Iterable[tuple[str, str]],
        exc_info: object = None,  # noqa: ARG001 - WSGI's signature
    ) -> Callable[[bytes], None]:
        nonlocal status
        status = int(line[:3])
        headers[:] = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in pairs]
        return out.append

    chunks = app(environ, start)
    try:
        out.extend(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return status, headers, b"".join(out)
