"""An event between a front door, which understood it, and ingest, which judges it."""

from dataclasses import dataclass

from service.use_cases.exposures import Refusal


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event that came in.

    `canonical` is a JSON value that should have the form of docs/events.md; it is not checked yet. `original`
    are the bytes that came, None where they are the canonical value itself. `problem` says why there is
    nothing to judge: the event goes into quarantine with that reason.
    """

    canonical: object
    original: bytes | None = None
    problem: Refusal | None = None
