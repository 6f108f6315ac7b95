"""What the first run does to an empty home, and every later run checks in a moment."""

import secrets
import subprocess
import sys
from datetime import timedelta

import click

from service.catalog import CatalogError, read_folder
from service.cli.upgrades import upgraded
from service.clock import utc_now
from service.settings import REPOSITORY, Settings, child_environment, make_home, require_home
from service.storage.ports import RevisionMovedError, Store
from service.storage.records import KeyClass
from service.storage.sql import open_store
from service.use_cases.access import hash_key, keep_environment_keys
from service.use_cases.launch import apply

SIGN_IN_VALID = timedelta(hours=1)


def prepare_home(settings: Settings) -> None:
    """Bring the store to the current schema, store key hashes, apply the catalog, load and train the demo."""
    make_home(settings)
    upgraded(settings)
    store = open_store(settings)
    try:
        keep_environment_keys(store, settings, now=utc_now())
        apply_catalog(store, settings)
        steps = missing_demo_steps(store, settings) if settings.demo else ()
    finally:
        store.close()
    for step in steps:
        run_step(settings, step)


def missing_demo_steps(store: Store, settings: Settings) -> tuple[str, ...]:
    """Return the commands that the demo shop still needs, also after a first run that was interrupted."""
    from service.use_cases.demo import demo_loaded  # noqa: PLC0415 - a user's own catalog never needs it

    if not demo_loaded(settings, store):
        return ("demo-load", "train")
    return () if store.live_state().model else ("train",)


def apply_catalog(store: Store, settings: Settings) -> None:
    """Make the catalog folder live; errors are shown and the last good revision keeps serving."""
    try:
        applied = apply(store, read_folder(settings.catalog), by="run", now=utc_now())
    except RevisionMovedError as error:
        click.echo(f"opportune: {error}; it keeps serving", err=True)
    except CatalogError as error:
        click.echo(str(error), err=True)
        serving = store.live_state().revision
        kept = f"revision {serving} keeps serving" if serving else "nothing is served"
        click.echo(f"opportune: the catalog has errors; {kept} until they are mended", err=True)
    else:
        if applied.started and not settings.demo:
            click.echo(f"opportune: running now: {', '.join(applied.started)} of its audience")


def run_step(settings: Settings, command: str) -> None:
    """Run one `opportune` command as a child, so that its memory is given back before serving starts."""
    environment = child_environment(
        OPPORTUNE_HOME=str(settings.home), OPPORTUNE_CATALOG=str(settings.catalog)
    )
    arguments = [sys.executable, "-m", "service.cli.main", command]
    done = subprocess.run(arguments, env=environment, cwd=REPOSITORY, check=False)  # noqa: S603
    if done.returncode != 0:
        click.echo(f"opportune: `opportune {command}` failed (exit {done.returncode}); see above", err=True)
        sys.exit(1)


def new_sign_in_link(settings: Settings, base: str, *, key_class: KeyClass = KeyClass.ANALYST) -> str:
    """Return a link that signs somebody in once, within the next hour: an analyst, unless told otherwise."""
    token = secrets.token_urlsafe(24)
    store = open_store(require_home(settings))
    try:
        store.put_sign_in(hash_key(token), key_class, expires_at=utc_now() + SIGN_IN_VALID)
    finally:
        store.close()
    return f"{base}/sign-in/{token}"
