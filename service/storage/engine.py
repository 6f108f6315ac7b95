"""What the store asks of a database, whichever it is, and what it makes of its complaints."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from sqlalchemy import Connection, exc

from service.storage.ports import StoreUnavailableError

CONTROL_PATIENCE_S = 10.0
PROBE_PATIENCE_S = 1.0

T = TypeVar("T")


class Database(Protocol):
    """Connections of one process to one database; a forked child must make its own."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection to read with; keep it short, and one statement if it must see one state."""
        ...

    def writing(self, *, within_s: float | None = CONTROL_PATIENCE_S) -> AbstractContextManager[Connection]:
        """Wait to be the only writer; commit at the end of the block, or roll back when it raises."""
        ...

    def look_ahead(self, tenant: str, event_ids: Sequence[str]) -> None:
        """Let what writing these events needs come from the disk before anybody's turn, where that helps."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Wait until the commit thread may write; what gathers meanwhile is written together."""
        ...

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work`, which only adds rows, in a transaction of its own, inside of a turn.

        It may be done again from the start when the database could not fit it in between others.
        """
        ...

    def horizon(self) -> int | None:
        """Return the offset up to which the log is complete; None if every event that can be seen is."""
        ...

    def probe(self) -> None:
        """Write and sync something that changes nothing; raise StoreUnavailableError when that fails."""
        ...

    def wipe(self) -> None:
        """Take what was deleted out of the files, as far as the database lets a client do that."""
        ...

    def close(self) -> None:
        """Close every connection and lock of this process."""
        ...


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what a driver or the disk raises into StoreUnavailableError; bugs pass through as they are."""
    try:
        yield
    except exc.TimeoutError as error:
        raise StoreUnavailableError("every connection to the database is in use") from error
    except exc.DBAPIError as error:
        if type(error) is exc.DatabaseError:
            raise StoreUnavailableError(f"the database is damaged: {error.orig}") from error
        refused = isinstance(error, exc.OperationalError | exc.InternalError) or error.connection_invalidated
        if refused or _not_migrated(str(error.orig)):
            raise StoreUnavailableError(explain(str(error.orig))) from error
        raise
    except OSError as error:
        raise StoreUnavailableError(f"the disk refused: {error.strerror}") from error


def explain(reason: str) -> str:
    """Return what a driver said as one line that says what to do, where that is known."""
    if _not_migrated(reason):
        return f"the database is not migrated ({reason}); run: opportune migrate"
    # What comes from a server's driver may be several lines.
    return f"the database refused: {' '.join(reason.split())}"


def _not_migrated(reason: str) -> bool:
    if "no such table" in reason or "no such column" in reason:
        return True
    # The words of PostgreSQL, which calls it a mistake of the program.
    return reason.startswith(("relation ", "column ")) and "does not exist" in reason
