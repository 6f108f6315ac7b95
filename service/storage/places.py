"""From a database URL to the database."""

from pathlib import Path
from typing import TypeAlias

from sqlalchemy import URL, exc, make_url

from service.settings import SettingsError
from service.storage.engine import Database
from service.storage.postgres_writer import PostgresWriter
from service.storage.sqlite import SqliteDatabase
from service.storage.writers import SqliteWriter, Writer

POSTGRESQL = "postgresql+psycopg"
EXPECTED = "sqlite:////folder/file.db or postgresql://user:password@host/database"

Place: TypeAlias = Path | URL
"""A SQLite file, or a PostgreSQL database."""


def place_of(url: str) -> Place:
    """Return the database that `url` names; a PostgreSQL URL may name no other driver than psycopg.

    Raises
    ------
    SettingsError
        If it is neither; the message does not repeat the URL, which may hold a password.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        # Not chained: the original repeats the URL.
        raise SettingsError(f"OPPORTUNE_DATABASE_URL: not a database URL; expected {EXPECTED}") from None
    backend = parsed.get_backend_name()
    # Heroku and its like still hand out postgres://.
    if parsed.drivername in ("postgres", "postgresql", POSTGRESQL):
        if not parsed.database:
            raise SettingsError(f"OPPORTUNE_DATABASE_URL: names no database; expected {EXPECTED}")
        return parsed.set(drivername=POSTGRESQL)
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise SettingsError(
            f"OPPORTUNE_DATABASE_URL: {parsed.drivername!r} is not supported by this version; use {EXPECTED}"
        )
    if not parsed.database or parsed.database.startswith((":", "file:")):
        raise SettingsError(f"OPPORTUNE_DATABASE_URL: a {backend} database must be a file; use {EXPECTED}")
    return Path(parsed.database).absolute()


def open_database(place: Place) -> Database:
    """Return the database at `place`, as this process sees it."""
    if isinstance(place, Path):
        return SqliteDatabase(place)
    from service.storage.postgres import PostgresDatabase  # noqa: PLC0415 - who uses SQLite waits for no driver

    return PostgresDatabase(place)


def writer_for(place: Place) -> Writer:
    """Return what rows are written with at `place`."""
    return SqliteWriter() if isinstance(place, Path) else PostgresWriter()
