"""The migrations make exactly the schema that the code uses."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from service.storage.migrate import migrate
from service.storage.schema import metadata


def test_a_migrated_database_is_the_schema_of_the_code(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    migrate(f"sqlite:///{path}")
    engine = create_engine(f"sqlite:///{path}")

    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()

    assert differences == []


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x.db"
    migrate(f"sqlite:///{path}")
    before = statements(path)

    migrate(f"sqlite:///{path}")

    assert statements(path) == before


def test_tables_are_created_by_the_migration_as_the_code_would_create_them(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'migrated.db'}")
    engine = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    metadata.create_all(engine)
    engine.dispose()

    migrated = {
        name: sql for name, sql in statements(tmp_path / "migrated.db").items() if "alembic" not in name
    }
    assert migrated == statements(tmp_path / "created.db")


def test_every_primary_key_holds_the_tenant_except_the_offset_of_the_log() -> None:
    for table in metadata.tables.values():
        key = [column.name for column in table.primary_key.columns]
        assert key[0] == "tenant" or (table.name == "event" and key == ["seq"])


def statements(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return {name: "".join(sql.split()) for name, sql in rows}
