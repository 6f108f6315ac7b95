"""What every request through Flask gets: a tidy path without NUL, an id, safe headers, a count."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, g, request

from service import log
from service.api.context import request_id, services
from service.errors import ProblemError
from service.use_cases.exchange import PRIVATE, tidy_path


def install(app: Flask) -> None:
    """Add the hooks to `app`."""
    app.wsgi_app = TidyPath(app.wsgi_app)  # type: ignore[method-assign]
    app.before_request(_begin)
    app.after_request(_finish)


class TidyPath:
    """Forgives doubled and final slashes."""

    def __init__(self, inner: WSGIApplication) -> None:
        self._inner = inner

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request on with one slash between parts."""
        environ["PATH_INFO"] = tidy_path(environ.get("PATH_INFO", ""))
        return self._inner(environ, start_response)


def _begin() -> None:
    g.request_id = log.request_id(request.headers.get("X-Request-Id", ""))
    log.bind_request(g.request_id)
    if "\0" in request.path:
        # PostgreSQL takes no such text, not even to find nothing.
        raise ProblemError(404, "not_found", "no name holds a NUL, and this path does")


def _finish(response: Response) -> Response:
    for name, value in PRIVATE:
        response.headers.setdefault(name, value)
    if "Allow" in response.headers:
        # Werkzeug keeps the methods in a set: without this the order differs from worker to worker.
        response.headers["Allow"] = ", ".join(sorted(response.headers["Allow"].split(", ")))
    response.headers["X-Request-Id"] = request_id()
    services().meters.count("http_requests", str(response.status_code))
    return response
