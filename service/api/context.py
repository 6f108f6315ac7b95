"""What a view may reach: this process's services and the caller of this request."""

from typing import cast

from flask import current_app, g, has_request_context

from service.use_cases.access import Caller
from service.use_cases.services import Services

EXTENSION = "opportune"


def services() -> Services:
    """Return the wiring of this process."""
    return cast(Services, current_app.extensions[EXTENSION])


def caller() -> Caller:
    """Return whose key came with the request; only inside a view that demands one."""
    return cast(Caller, g.caller)


def request_id() -> str:
    """Return the id under which this request is logged."""
    return cast(str, g.get("request_id", "")) if has_request_context() else ""
