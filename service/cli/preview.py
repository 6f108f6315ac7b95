"""`opportune preview`: a signed link on which one variant is shown, also of a draft."""

import sys
from datetime import timedelta
from urllib.parse import quote

import click

from experiments.answers import forced_arms
from experiments.notation import seconds_in
from service import settings as settings_module
from service.catalog import LoadedCatalog
from service.cli.desk import store_of, tells
from service.clock import utc_now
from service.use_cases import launch, preview

LONGEST = timedelta(days=90)


def _ttl(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    seconds = seconds_in(value)
    if seconds is None:
        raise click.BadParameter(f"expected a time such as 30m, 24h, 7d or 2w, at most {LONGEST.days}d")
    ttl = timedelta(seconds=seconds)
    if ttl > LONGEST:
        raise click.BadParameter(f"at most {LONGEST.days}d: a link that is passed on should end")
    return ttl


@click.command("preview")
@click.argument("key")
@click.argument("variant")
@click.option("--ttl", default="7d", callback=_ttl, help="How long it works: 30m, 24h, 7d, 2w. Default: 7d.")
@tells
def preview_command(key: str, variant: str, ttl: timedelta) -> None:
    """Make a token that shows VARIANT of KEY.

    To whoever holds it, also while KEY is a draft; such visitors are never analysed.
    """
    settings = settings_module.load()
    with store_of(settings) as store:
        loaded = launch.live_catalog(store)
    _check(loaded, key, variant)
    expires_at = (utc_now() + ttl).replace(microsecond=0)
    try:
        token = preview.make_preview(settings.signing_secret, {key: variant}, expires_at=expires_at)
    except preview.PreviewError as error:
        click.echo(f"opportune: {error}", err=True)
        sys.exit(1)
    click.echo(_told(token, key, variant, until=f"{expires_at:%Y-%m-%d %H:%M} UTC"))


def _check(loaded: LoadedCatalog | None, key: str, variant: str) -> None:
    """Raise UnknownKeyError unless the live catalog has that variant of that key; drafts count."""
    known = launch.definitions(loaded)
    if key not in known:
        hint = launch.suggest(key, known) or "no catalog is live yet; `opportune apply` makes one live"
        raise launch.UnknownKeyError(f"the live catalog does not define '{key}': {hint}")
    variants = forced_arms(known[key])
    if variant not in variants:
        raise launch.UnknownKeyError(f"{key} has no variant '{variant}': {launch.suggest(variant, variants)}")


def _told(token: str, key: str, variant: str, *, until: str) -> str:
    return "\n".join(
        [
            f"Whoever sends this sees {variant!r} of {key} until {until}, and is not analysed:",
            "",
            token,
            "",
            f"  link      https://YOUR-SHOP/?{preview.COOKIE}={quote(token)}",
            "            (your page passes it on, as docs/frontend.md shows)",
            f'  cookie    document.cookie = "{preview.COOKIE}={token}; path=/; SameSite=Lax"',
            f"  header    {preview.HEADER}: {token}",
            f'  context   {{"{preview.ATTRIBUTE}": "{token}"}}',
            "",
            "It cannot be taken back before its time, except by a new OPPORTUNE_SIGNING_SECRET, which ends",
            "all previews and all person tokens.",
        ]
    )


commands: tuple[click.Command, ...] = (preview_command,)
