"""Bring the database to the schema of this code: Alembic, driven from here, no ini file."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from service.storage.engine import Database, database_path, store_errors

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database_url: str) -> None:
    """Create or upgrade the database behind `database_url`; harmless when there is nothing to do.

    It takes the writer's turn, so it may run while web workers write.

    Raises
    ------
    StoreUnavailableError
        If the file cannot be created or written.
    SettingsError
        If the URL names something else than a SQLite file.
    """
    path = database_path(database_url)
    with store_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        database = Database(path)
    try:
        with database.writing() as connection:
            config = Config()
            config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()
