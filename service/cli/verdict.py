"""`opportune verdict`: judge now and read it; `opportune sign-in-link`: let an analyst in."""

import sys
import textwrap
from typing import NoReturn

import click

from experiments.definitions import Catalog
from experiments.lifecycle import Status
from service import settings as settings_module
from service.cli.setup import new_sign_in_link
from service.clock import utc_now
from service.errors import ProblemError
from service.storage.ports import Store
from service.storage.records import KeyClass, VerdictSnapshot
from service.storage.sql import open_store
from service.use_cases import verdict_words, verdicts
from service.use_cases.launch import served_catalog

WIDTH = 100


@click.command()
@click.argument("key")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the stored JSON; into a file or a pipe, exactly its bytes, so that its sha256 is the ETag.",
)
def verdict(key: str, *, as_json: bool) -> None:
    """Judge the experiment KEY now and print it."""
    from service.lake import export_all  # noqa: PLC0415 - Ibis and DuckDB take a second to load
    from service.use_cases.judge import refresh_verdict  # noqa: PLC0415

    settings = settings_module.require_home(settings_module.load())
    store = open_store(settings)
    try:
        loaded = served_catalog(store)
        if loaded is None:
            _fail("no catalog is live yet; `opportune apply` makes one live")
        experiment = loaded.catalog.experiments.get(key)
        if experiment is not None and experiment.status is not Status.DRAFT:
            if not store.last_seq():
                _fail("no event has arrived yet, so there is nothing to judge")
            export_all(store, settings.lake)
            refresh_verdict(store, settings.lake, key, now=utc_now())
        snapshot = _find(store, loaded.catalog, key)
        if as_json:
            # A newline more would be another sha256; a terminal's prompt needs it.
            click.echo(snapshot.body.encode(), nl=sys.stdout.isatty())
        else:
            standing = verdicts.standing(loaded.catalog, store.live_state().killed, key)
            click.echo(_tell(snapshot, standing=standing))
    finally:
        store.close()


@click.command(name="sign-in-link")
@click.option("--base", default="", help="Where the pages are served. Default: http://127.0.0.1:$PORT.")
@click.option(
    "--admin", is_flag=True, help="For an administrator: quarantined events can be seen and replayed."
)
def sign_in_link(base: str, *, admin: bool) -> None:
    """Print a link that signs an analyst in.

    It works once, within the next hour.
    """
    settings = settings_module.load()
    key_class = KeyClass.ADMIN if admin else KeyClass.ANALYST
    base = base.rstrip("/") or f"http://127.0.0.1:{settings.port}"
    click.echo(new_sign_in_link(settings, base, key_class=key_class))


def _find(store: Store, catalog: Catalog, key: str) -> VerdictSnapshot:
    try:
        return verdicts.find(catalog, store, key)
    except ProblemError as error:
        _fail(error.detail)


def _tell(snapshot: VerdictSnapshot, *, standing: str) -> str:
    body = verdicts.body_of(snapshot)
    place = f"phase {snapshot.phase}, revision {snapshot.revision}, log offset {snapshot.log_offset}"
    lines = [
        f"{snapshot.experiment}: {body['decision'].replace('_', ' ').upper()}",
        *([standing] if standing else []),
        "",
        *(
            line
            for part in verdict_words.parts(body["text"])
            for line in (textwrap.fill(part.text, WIDTH), "")
        ),
        *(f"  {name:<32}{n:>12,}" for name, n in verdict_words.accounting(body["exposure"])),
        "",
        f"As of {verdicts.when(snapshot.as_of)}, {place}, digest {snapshot.digest[:12]}.",
    ]
    return "\n".join(lines)


def _fail(why: str) -> NoReturn:
    click.echo(f"opportune: {why}", err=True)
    sys.exit(1)


commands: tuple[click.Command, ...] = (verdict, sign_in_link)
