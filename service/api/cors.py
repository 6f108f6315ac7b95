"""CORS in Flask: on client-key routes only, errors and preflights included."""

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from service.api.context import services
from service.api.describe import description_of
from service.storage.records import KeyClass
from service.use_cases.cors import answer_headers, preflight_headers


def install(app: Flask) -> None:
    """Add the hooks to `app`."""
    app.before_request(_preflight)
    app.after_request(_allow)


def _preflight() -> Response | None:
    wanted = request.headers.get("Access-Control-Request-Method")
    if request.method != "OPTIONS" or not wanted:
        return None
    rule = _rule(wanted)
    if rule is None or not _is_for_browsers(rule):
        return None
    response = Response(status=204)
    methods = ", ".join(sorted((rule.methods or set()) - {"HEAD"}))
    told = preflight_headers(
        request.headers.get("Origin", ""), services().settings.origins, host=_host(), methods=methods
    )
    response.headers.extend(told)
    del response.headers["Content-Type"]
    return response


def _allow(response: Response) -> Response:
    if request.url_rule is None or "Vary" in response.headers or not _is_for_browsers(request.url_rule):
        return response
    origin = request.headers.get("Origin", "")
    response.headers.extend(answer_headers(origin, services().settings.origins, host=_host()))
    return response


def _host() -> str:
    """Return the header as it came, port included: Flask's own form is another than an origin's."""
    return request.headers.get("Host", "")


def _rule(method: str) -> Rule | None:
    adapter = current_app.create_url_adapter(request)
    try:
        return adapter.match(method=method, return_rule=True)[0] if adapter else None
    except HTTPException:
        return None


def _is_for_browsers(rule: Rule) -> bool:
    about = description_of(current_app.view_functions.get(rule.endpoint))
    return about is not None and about.scopes is not None and KeyClass.CLIENT in about.scopes
