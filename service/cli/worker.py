"""`opportune worker`: the second process."""

import sys

import click

from service.settings import load, require_home


@click.command()
def worker() -> None:
    """Run the second process.

    It follows the catalog, fills the lake, judges, trains daily; it ends on SIGTERM.
    """
    require_home(load())
    from service.worker import main  # noqa: PLC0415 - Ibis and DuckDB take a second to load

    sys.exit(main())


commands: tuple[click.Command, ...] = (worker,)
