"""What the caller is told of an error that nobody foresaw in words."""

from service.errors import ProblemError
from service.log import logger
from service.storage.ports import StoreBusyError, StoreUnavailableError

RETRY = {"Retry-After": "1"}
BUSY = ProblemError(503, "busy", "the store has too much to do; try again", headers=RETRY)
AWAY = ProblemError(
    503,
    "store_unavailable",
    "nothing was stored, or it is unknown whether it was; trying again is harmless",
    headers=RETRY,
)


def store_problem(error: StoreUnavailableError) -> ProblemError:
    """Return the 503 for a store that is away or has too much to do, and log it."""
    logger().warning("store_refused", error=type(error).__name__)
    return BUSY if isinstance(error, StoreBusyError) else AWAY
