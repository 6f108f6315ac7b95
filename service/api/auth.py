"""Whose key came with the request that Flask is answering."""

from typing import Any

from flask import g

from service.api.context import services
from service.api.exchange import call_of
from service.storage.records import KeyClass
from service.use_cases import authority
from service.use_cases.access import Caller


def may_ride_in_body(scopes: frozenset[KeyClass]) -> bool:
    """Tell whether the key, absent from headers and query, may be in the body of this request."""
    return authority.may_ride_in_body(call_of(None, b""), scopes)


def authenticate(scopes: frozenset[KeyClass], payload: Any = None) -> Caller:  # noqa: ANN401 - any JSON
    """Return the caller and remember it for the view, or raise the 401 or 403 that says why not."""
    found = authority.authenticate(services(), call_of(None, b""), scopes, payload)
    g.caller = found
    return found
