"""Which schema this code knows, and which one a database has."""

from pathlib import Path

from sqlalchemy import Connection, inspect

from service.storage.ports import StoreUnavailableError

SCRIPTS = Path(__file__).parent / "migrations"
KNOWN = tuple(sorted(path.name[1:5] for path in (SCRIPTS / "versions").glob("r[0-9]*.py")))
"""Every revision of the schema, the oldest first."""
HEAD = KNOWN[-1]
QUERY = "SELECT version_num FROM alembic_version"


def revision_of(connection: Connection) -> str:
    """Return the revision of the schema behind `connection`, empty for a database without any table of ours.

    Raises
    ------
    StoreUnavailableError
        If a newer version of the code wrote it.
    """
    if not inspect(connection).has_table("alembic_version"):
        return ""
    found = connection.exec_driver_sql(QUERY).scalar_one_or_none()
    refuse_newer(found)
    return str(found or "")


def refuse_newer(found: object) -> None:
    """Raise StoreUnavailableError when the revision is none that this code knows."""
    if found is not None and found not in KNOWN:
        raise StoreUnavailableError(
            f"the database was written by a newer version of Opportune (schema {found}; this version knows "
            f"schemas up to {HEAD}): install that version again, or restore a backup from before its upgrade"
        )
