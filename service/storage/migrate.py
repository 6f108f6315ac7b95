"""Bring the database to the schema of this code: Alembic, driven from here, no ini file."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from service.storage.engine import store_errors
from service.storage.places import open_database, place_of

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database_url: str) -> None:
    """Create or upgrade the database behind `database_url`; harmless when there is nothing to do.

    It takes the writer's turn, so it may run while web workers write.

    Raises
    ------
    StoreUnavailableError
        If the database cannot be reached, created or written.
    SettingsError
        If the URL names neither a SQLite file nor a PostgreSQL database.
    """
    place = place_of(database_url)
    with store_errors():
        if isinstance(place, Path):
            place.parent.mkdir(parents=True, exist_ok=True)
        database = open_database(place)
    try:
        with database.writing(within_s=None) as connection:
            config = Config()
            config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()
