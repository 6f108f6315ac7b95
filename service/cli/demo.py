"""`opportune demo-load`: the real orders of the demo shop, imported as a shop would import its own past."""

import sys

import click

from service.clock import utc_now
from service.settings import Settings, load, make_home, require_restored
from service.storage.migrate import migrate
from service.storage.ports import Store
from service.storage.sql import open_store
from service.use_cases.demo import SOURCE, DemoLoadError, load_demo


@click.command("demo-load")
@click.option("--yes", is_flag=True, help="Load it even where it would mix with data of one's own.")
def demo_load(*, yes: bool) -> None:
    """Import the demo shop's past orders.

    Its items too; the orders end 30 days before the last one. Repeating it adds nothing.
    """
    settings = load()
    require_restored(settings.home)
    make_home(settings)
    migrate(settings.database_url)
    store = open_store(settings)
    try:
        if not yes:
            _refuse_mixing(settings, store)
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


def _refuse_mixing(settings: Settings, store: Store) -> None:
    """Invented and real people cannot be told apart afterwards, so they never meet by accident."""
    if not settings.demo:
        raise DemoLoadError(
            f"OPPORTUNE_CATALOG={settings.catalog} is not the demo shop: its data would mix with yours in "
            f"{settings.home}; --yes does it all the same"
        )
    first = store.read(0, 1)
    if first and first[0].received.source != SOURCE:
        raise DemoLoadError(f"{settings.home} holds other events; --yes adds the demo shop's to them")


commands: tuple[click.Command, ...] = (demo_load,)
