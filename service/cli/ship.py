"""`opportune ship` and `unship`: one variant for everybody, and back to what each of them had."""

import click

from service import settings as settings_module
from service.cli.desk import BY, store_of, tells
from service.clock import utc_now
from service.use_cases import shipping


@click.command()
@click.argument("key")
@click.argument("variant")
@tells
def ship(key: str, variant: str) -> None:
    """Give everybody VARIANT of KEY at once.

    KEY is an experiment; nobody takes part in it any more, and its verdict stays readable.
    """
    with store_of(settings_module.load()) as store:
        done = shipping.ship(store, key, variant, by=BY, now=utc_now())
    if done.changed:
        click.echo(f"{variant} of {key} is shipped: every worker serves it to everybody within 2 seconds.")
    else:
        click.echo(f"{variant} of {key} was shipped before; nothing changed.")
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(f"Undo it with `opportune unship {key}`. To make it permanent, write the value of {variant}")
    click.echo(f"as `otherwise:` into the file of {key}, then `opportune stop {key}` (docs/catalog.md).")


@click.command()
@click.argument("key")
@tells
def unship(key: str) -> None:
    """Undo `ship`: everybody gets their own variant."""
    with store_of(settings_module.load()) as store:
        done = shipping.unship(store, key, by=BY, now=utc_now())
    if not done.changed:
        click.echo(f"Nothing of {key} was shipped; nothing changed.")
        return
    click.echo(f"{key} splits again, in every worker within 2 seconds; {done.variant} is shipped no more.")
    click.echo(f"Who came meanwhile saw {done.variant} uncounted: if that was long, begin a new phase with")
    click.echo(f"`opportune start {key} --new-phase`.")


commands: tuple[click.Command, ...] = (ship, unship)
