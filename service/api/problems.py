"""Every error leaves as problem+json with a stable code, except on OFREP's paths, which keep OFREP's form."""

from http import HTTPStatus

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from service.api.context import request_id
from service.errors import PROBLEM_TYPE, ProblemError
from service.log import logger
from service.storage.ports import StoreUnavailableError
from service.use_cases.fragments import error_members
from service.use_cases.ofrep import flag_key
from service.use_cases.problems import store_problem

CODES = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.CONFLICT: "conflict",
}
DETAILS = {
    HTTPStatus.NOT_FOUND: "no route has this path; /docs lists them all",
    HTTPStatus.METHOD_NOT_ALLOWED: "the Allow header lists what this path takes",
}


def install(app: Flask) -> None:
    """Add the hooks to `app`."""
    app.register_error_handler(ProblemError, answer)
    app.register_error_handler(StoreUnavailableError, _store_unavailable)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(Exception, _unexpected)


def answer(problem: ProblemError) -> Response:
    """Return the answer for a problem, in the form that belongs to the path."""
    is_ofrep, key = flag_key(request.path)
    members = error_members(key, "GENERAL", problem.detail) if is_ofrep else problem.body(request_id())
    kind = "application/json" if is_ofrep else PROBLEM_TYPE
    return Response(orjson.dumps(members), problem.status, problem.headers, content_type=kind)


def _store_unavailable(error: StoreUnavailableError) -> Response:
    return answer(store_problem(error))


def _http_exception(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Response(status=status, headers=dict(error.get_headers()))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unexpected(error)
    allow = {name: value for name, value in error.get_headers() if name == "Allow"}
    detail = DETAILS.get(status, error.description or status.phrase)
    return answer(ProblemError(int(status), CODES.get(status, "bad_request"), detail, headers=allow))


def _unexpected(error: Exception) -> Response:
    logger().error("request_failed", path=request.path, exc_info=error)
    return answer(ProblemError(500, "internal", "the request id names the line in our log"))
