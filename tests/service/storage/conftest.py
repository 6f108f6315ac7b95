"""A migrated, empty store on each database that the Store port is kept on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.storage.migrate import migrate
from service.storage.places import place_of
from service.storage.sql import SqlStore


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """Give a store on SQLite, then one on PostgreSQL."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_store")
        return
    opened = SqlStore(place_of(request.getfixturevalue("postgres_url")))
    yield opened
    opened.close()


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    """Give the file of a migrated, empty database on SQLite."""
    path = tmp_path / "opportune.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_store(database_file: Path) -> Iterator[SqlStore]:
    """Give a store on SQLite: for tests of what only a file has."""
    opened = SqlStore(database_file)
    yield opened
    opened.close()
