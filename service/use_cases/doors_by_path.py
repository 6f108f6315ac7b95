"""Which path is which front door of events."""

from collections.abc import Mapping, Sequence

from service.errors import Pointer, ProblemError
from service.use_cases import segment
from service.use_cases.arrivals import Arrival
from service.use_cases.doors import Delivery, Door, only_members
from service.use_cases.growthbook_track import TRACK, TRACK_PATH
from service.use_cases.ingest import MAX_EVENTS
from service.use_cases.services import Services

EVENTS_PATH = "/v1/events"
EMPTY = Pointer("/events", f"Length must be between 1 and {MAX_EVENTS}.")


def _as_they_are(services: Services, delivery: Delivery) -> Sequence[Arrival]:  # noqa: ARG001 - a door's form
    only_members(delivery.rest)
    if not delivery.parts:
        raise ProblemError(422, "invalid_body", "some members are missing or wrong", (EMPTY,))
    return [Arrival(part.value, part.original, part.problem) for part in delivery.parts]


EVENTS = Door(source="events", member="events", understand=_as_they_are, status=202)
"""Canonical events."""

DOORS: Mapping[str, Door] = {
    EVENTS_PATH: EVENTS,
    TRACK_PATH: TRACK,
    **{path: door for path, (_, door) in segment.PATHS.items()},
}
"""Every door by its tidy path; all are POST."""
