"""Bring the database to the schema of this code: Alembic, driven from here, no ini file."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from service.storage.engine import store_errors
from service.storage.places import open_database, place_of
from service.storage.ports import StoreUnavailableError
from service.storage.rehearsal import keep_copy, rehearsed
from service.storage.sqlite import SqliteDatabase
from service.storage.version import HEAD, SCRIPTS, revision_of

UNAWARE = frozenset({"0001"})
"""Schemas whose release does not look whether an open file was upgraded, and writes on as it always did."""


def migrate(database_url: str) -> Path | None:
    """Create or upgrade the database behind `database_url`; harmless when there is nothing to do.

    An upgrade is one transaction under the writer's turn: killed at any point, it leaves the old schema or
    the new one. It may run beside web workers, who wait, but not beside those of the release that wrote
    schema 0001: they would go on without the rows that this version adds for each event. A SQLite file with
    data is copied first, and the upgrade is tried on a second copy before it touches the file; returns the
    first copy, which stays.

    Raises
    ------
    StoreUnavailableError
        If the database cannot be reached, created, copied or written, if a newer version wrote it, or if
        the release that has it open must be stopped first.
    SettingsError
        If the URL names neither a SQLite file nor a PostgreSQL database.
    """
    place = place_of(database_url)
    with store_errors():
        if isinstance(place, Path):
            place.parent.mkdir(parents=True, exist_ok=True)
        database = open_database(place)
    kept = None
    try:
        with database.reading() as connection:
            if revision_of(connection) == HEAD:
                return None
        with database.writing(within_s=None) as connection:
            found = revision_of(connection)
            if found in UNAWARE and isinstance(database, SqliteDatabase) and not database.in_use.alone():
                raise StoreUnavailableError(
                    f"{place} is open in another process, and the release that wrote it must not go on "
                    f"beside the upgrade: stop the service and its other commands, then do this again"
                )
            if isinstance(place, Path) and found not in ("", HEAD):
                kept = keep_copy(place)
                with rehearsed(kept) as copy:
                    upgrade(copy)
            upgrade(connection)
    finally:
        database.close()
    return kept


def upgrade(connection: Connection, *, to: str = "head") -> None:
    """Do the steps from the schema behind `connection` to another, inside its transaction."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
