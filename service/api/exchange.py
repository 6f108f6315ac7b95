"""Between Flask and the functions that also answer on the hot lane: its request in, their bytes out."""

from flask import Response, request

from service.api.context import request_id, services
from service.use_cases.exchange import Call, Reply
from service.use_cases.limits import client_address
from service.use_cases.preview import HEADER
from service.use_cases.streams import StreamCall

COUNTED = "opportune.counted"
"""Set in the environ of a request that the hot lane has counted against the rate limit."""


def call_of(key: str | None, body: bytes) -> Call:
    """Return the request as the hot lane would see it."""
    get = request.headers.get
    return Call(
        key=key,
        body=body,
        query=_query(),
        authorization=get("Authorization", ""),
        x_api_key=get("X-API-Key", ""),
        origin=get("Origin", ""),
        host=get("Host", ""),
        if_none_match=get("If-None-Match", ""),
        user_agent=get("User-Agent", ""),
        preview=get(HEADER, ""),
        cookie=get("Cookie", ""),
        address=_address(),
        person_token=get("X-Person-Token", ""),
        request_id=request_id(),
        content_type=get("Content-Type", ""),
        content_encoding=get("Content-Encoding", ""),
        sec_gpc=get("Sec-GPC", ""),
        dnt=get("DNT", ""),
    )


def stream_call() -> StreamCall:
    """Return the request for an event stream."""
    get = request.headers.get
    return StreamCall(
        path=request.path,
        query=_query(),
        last_event_id=get("Last-Event-ID", ""),
        origin=get("Origin", ""),
        host=get("Host", ""),
        request_id=request_id(),
    )


def response_of(reply: Reply) -> Response:
    """Return the reply with its headers and no others."""
    response = Response(reply.body, status=reply.status)
    del response.headers["Content-Type"]
    response.headers.extend(reply.headers)
    if reply.etag:
        response.headers["ETag"] = reply.etag
    return response


def _query() -> str:
    return request.query_string.decode("latin-1")


def _address() -> str:
    """Return whose requests are limited; empty where the hot lane has counted this one."""
    if not services().limit.rate or request.environ.get(COUNTED):
        return ""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return client_address(request.remote_addr or "-", forwarded, services().settings.proxies)
