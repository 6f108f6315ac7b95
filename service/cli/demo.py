"""`opportune demo-load`: the real orders of the demo shop, imported as a shop would import its own past."""

import sys

import click

from service.clock import utc_now
from service.settings import load
from service.storage.sql import open_store
from service.use_cases.demo import DemoLoadError, load_demo


@click.command("demo-load")
def demo_load() -> None:
    """Import the demo shop's items and its orders up to 30 days before the end; repeating it adds nothing."""
    settings = load()
    store = open_store(settings)
    try:
        with click.progressbar(length=1, label="Loading the demo shop", file=sys.stderr) as bar:

            def progress(done: int, total: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            report = load_demo(settings, store, now=utc_now(), progress=progress)
    except DemoLoadError as error:
        click.echo(f"opportune: {error}", err=True)
        sys.exit(1)
    finally:
        store.close()
    if report.skipped:
        click.echo("The demo shop is loaded already")
    else:
        known = f" ({report.duplicate:,} known already)" if report.duplicate else ""
        click.echo(f"Demo shop: {report.items:,} items, {report.accepted:,} orders and refunds{known}")


commands: tuple[click.Command, ...] = (demo_load,)
