"""The one table from error to HTTP answer: RFC 9457 problem+json with a stable code."""

from dataclasses import dataclass, field
from typing import Any

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Pointer:
    """One finding inside a refused body: where (RFC 6901) and why."""

    pointer: str
    reason: str


@dataclass(slots=True)
class ProblemError(Exception):
    """A request that is refused; `code` is a promise to users.

    `title` is fixed for a code, `detail` says what was seen and what to do.
    """

    status: int
    code: str
    detail: str
    errors: tuple[Pointer, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"

    def body(self, instance: str) -> dict[str, Any]:
        """Return the problem+json members; `instance` is the request id."""
        members: dict[str, Any] = {
            "type": f"urn:opportune:problem:{self.code}",
            "title": TITLES[self.code],
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:opportune:request:{instance}",
            "code": self.code,
        }
        if self.errors:
            members["errors"] = [{"pointer": e.pointer, "reason": e.reason} for e in self.errors]
        return members


def too_large(limit: int) -> ProblemError:
    """Return the refusal of a body above `limit` bytes."""
    return ProblemError(413, "too_large", f"the body may hold {limit} bytes; send it in smaller parts")


TITLES: dict[str, str] = {
    "bad_request": "The request could not be understood",
    "malformed_json": "The body is not acceptable JSON",
    "unauthorized": "A valid key is needed",
    "forbidden": "This key may not do that",
    "origin_not_allowed": "This web origin is not allowed",
    "not_found": "There is nothing here",
    "unknown_experiment": "No experiment has that key",
    "unknown_flag": "No flag has that key",
    "unknown_placement": "No placement has that key",
    "no_verdict_yet": "There is no verdict yet",
    "unknown_verdict": "No verdict has that id",
    "unknown_decision": "No decision has that id",
    "method_not_allowed": "This method is not allowed here",
    "request_timeout": "The body did not arrive in time",
    "conflict": "The request conflicts with the current state",
    "too_large": "The body is too large",
    "unsupported_media_type": "The content type is not supported",
    "invalid_body": "The body does not have the expected form",
    "invalid_query": "The query does not have the expected form",
    "invalid_catalog": "The catalog has errors; nothing was changed",
    "too_many_requests": "Too many requests",
    "busy": "The service is busy",
    "store_unavailable": "The store cannot be reached",
    "internal": "Something went wrong on our side",
}
