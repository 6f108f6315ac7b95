"""Bringing the database up to date before a command uses it."""

import click

from service.settings import Settings
from service.storage.migrate import migrate


def upgraded(settings: Settings) -> None:
    """Migrate, and say where the database is as it was before, if that changed it."""
    kept = migrate(settings.database_url)
    if kept is not None:
        click.echo(f"opportune: the database was upgraded; as it was before, it lies in {kept}", err=True)
