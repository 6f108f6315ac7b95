"""Bring the database to the schema of this code: Alembic, driven from here, no ini file."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from service.storage.engine import store_errors
from service.storage.places import open_database, place_of
from service.storage.rehearsal import keep_copy, rehearsed
from service.storage.version import HEAD, SCRIPTS, revision_of


def migrate(database_url: str) -> Path | None:
    """Create or upgrade the database behind `database_url`; harmless when there is nothing to do.

    An upgrade is one transaction under the writer's turn, so it may run beside web workers, who wait: killed
    at any point, it leaves the old schema or the new one. A SQLite file with data is copied first, and the
    upgrade is tried on a second copy before it touches the file; returns the first copy, which stays.

    Raises
    ------
    StoreUnavailableError
        If the database cannot be reached, created, copied or written, or if a newer version wrote it.
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
