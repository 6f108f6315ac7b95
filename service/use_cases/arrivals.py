"""An event between a front door, which understood it, and ingest, which judges it."""

from collections.abc import Callable
from dataclasses import dataclass

from service.use_cases.exposures import Refusal


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event that came in.

    `canonical` is a JSON value that should have the form of docs/events.md; it is not checked yet. `original`
    are the bytes that came, or what returns them when they are wanted; None where they are the canonical
    value itself. `problem` says why there is nothing to judge: the event goes into quarantine with that
    reason. `user_agent` is what the event itself says of the browser, where it does.
    """

    canonical: object
    original: Callable[[], bytes] | bytes | None = None
    problem: Refusal | None = None
    user_agent: str = ""

    def bytes_sent(self) -> bytes | None:
        """Return the bytes that came, None where they are the canonical value itself."""
        return self.original() if callable(self.original) else self.original
