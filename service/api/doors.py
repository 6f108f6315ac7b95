"""The front doors of events, where Flask is the one who answers."""

from flask import Response

from service.api.context import services
from service.api.describe import read_body
from service.api.exchange import call_of, response_of
from service.errors import ProblemError
from service.use_cases.conservation import count_refused
from service.use_cases.doors import Door, answer


def answer_at(door: Door) -> Response:
    """Answer the request that Flask is at through one of the doors."""
    try:
        body = read_body(any_encoding=True)
    except ProblemError:
        count_refused(services().meters, services().clock())
        raise
    return response_of(answer(services(), call_of(None, body), door))
