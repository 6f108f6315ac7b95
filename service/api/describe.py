"""One decorator a route: it checks the key, reads the body and documents it, so that none can drift."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError

from service.api.auth import authenticate, may_ride_in_body
from service.errors import Pointer, ProblemError, too_large
from service.storage.records import KeyClass
from service.wire import read_json

BODY_LIMIT = 1 << 20
MAX_POINTERS = 50
ATTRIBUTE = "opportune_description"

View = Callable[..., ResponseReturnValue]


class Query(Schema):
    """What a route takes behind the question mark: given as its body, it is read from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known about a route: the source of /openapi.json, /docs and the CORS rules.

    `scopes` are the keys that open it; `sign_in` tells that a signed-in browser may come in as well.
    """

    summary: str
    tag: str
    scopes: frozenset[KeyClass] | None
    body: type[Schema] | None = None
    answer: type[Schema] | None = None
    status: int = 200
    media_type: str = "application/json"
    sign_in: bool = False


def describe(
    *,
    summary: str,
    tag: str,
    scopes: frozenset[KeyClass] | None,
    body: type[Schema] | None = None,
    answer: type[Schema] | None = None,
    status: int = 200,
) -> Callable[[View], View]:
    """Guard and document a view; put it below ``@bp.post(...)``.

    `scopes` None means that no key is asked for. With `body`, the loaded body is the view's first argument.
    """
    schema = body() if body else None

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
            # A beacon's key is inside its body; every other body is read after the key is known to be good.
            key_in_body = scopes is not None and schema is not None and may_ride_in_body(scopes)
            if scopes is not None and not key_in_body:
                authenticate(scopes)
            if schema is None:
                return view(*args, **kwargs)
            if isinstance(schema, Query):
                return view(read_query(schema), *args, **kwargs)
            payload = read_payload()
            if scopes is not None and key_in_body:
                authenticate(scopes, payload)
            return view(_load(schema, payload), *args, **kwargs)

        about = Description(summary=summary, tag=tag, scopes=scopes, body=body, answer=answer, status=status)
        return document(about)(guarded)

    return decorate


def document(description: Description) -> Callable[[View], View]:
    """Document a view that guards itself."""

    def decorate(view: View) -> View:
        setattr(view, ATTRIBUTE, description)
        return view

    return decorate


def description_of(view: object) -> Description | None:
    """Return what `describe` or `document` attached, None for a page."""
    found = getattr(view, ATTRIBUTE, None)
    return found if isinstance(found, Description) else None


def read_body(limit: int = BODY_LIMIT, *, any_encoding: bool = False) -> bytes:
    """Return the body, read by our own count: a chunked body has no length, and gunicorn cuts it silently.

    With `any_encoding` it is returned as it came, whatever Content-Encoding says.
    """
    if not any_encoding and request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(415, "unsupported_media_type", "send the body without Content-Encoding")
    stated = request.content_length
    if stated is not None and stated > limit:
        raise too_large(limit)
    stream = request.environ["wsgi.input"]
    try:
        body: bytes = stream.read(limit + 1 if stated is None else stated)
    except (OSError, ValueError) as error:
        # A broken chunk size, or a client that left in the middle.
        raise ProblemError(400, "bad_request", "the body could not be read to its end") from error
    if len(body) > limit:
        raise too_large(limit)
    return body


def read_payload(limit: int = BODY_LIMIT) -> Any:  # noqa: ANN401 - any JSON
    """Return the strictly read JSON body of this request."""
    kind = request.mimetype
    # sendBeacon can only say text/plain without a preflight.
    if kind and kind not in ("application/json", "text/plain") and not kind.endswith("+json"):
        raise ProblemError(415, "unsupported_media_type", "send Content-Type: application/json")
    return read_json(read_body(limit), limit=limit)


def read_query(schema: Query) -> Any:  # noqa: ANN401 - whatever the schema makes
    """Return what stands behind the question mark; no value of it may hold a NUL, which no store takes."""
    asked = request.args.to_dict()
    holes = tuple(Pointer(_step("", name), "holds a NUL") for name, value in asked.items() if "\0" in value)
    if holes:
        raise invalid_query(*holes[:MAX_POINTERS])
    try:
        return schema.load(asked)
    except ValidationError as error:
        raise invalid_query(*tuple(_pointers("", error.messages))[:MAX_POINTERS]) from error


def invalid_query(*found: Pointer) -> ProblemError:
    """Return the refusal of what stands behind the question mark."""
    return ProblemError(422, "invalid_query", "some parameters are missing or wrong", found)


def _load(schema: Schema, payload: Any) -> Any:  # noqa: ANN401 - whatever the schema makes
    if not isinstance(payload, dict):
        raise ProblemError(
            422, "invalid_body", "the body must be a JSON object", (Pointer("", "not an object"),)
        )
    known = {name: value for name, value in payload.items() if name != "writeKey" or name in schema.fields}
    try:
        return schema.load(known)
    except ValidationError as error:
        found = tuple(_pointers("", error.messages))[:MAX_POINTERS]
        raise ProblemError(422, "invalid_body", "some members are missing or wrong", found) from error


def _pointers(prefix: str, messages: Any) -> list[Pointer]:  # noqa: ANN401 - marshmallow's tree of messages
    if isinstance(messages, dict):
        return [p for key, inner in messages.items() for p in _pointers(_step(prefix, key), inner)]
    if isinstance(messages, list):
        return [p for inner in messages for p in _pointers(prefix, inner)]
    return [Pointer(prefix, str(messages))]


def _step(prefix: str, key: object) -> str:
    if key == "_schema":
        return prefix
    return f"{prefix}/{str(key).replace('~', '~0').replace('/', '~1')}"
