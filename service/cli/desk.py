"""The marketer's desk: write, check, launch, steer and stop experiments and flags."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
from marshmallow import ValidationError

from service import settings as settings_module
from service.catalog import CatalogError, load, read_folder
from service.catalog.fields import BasisPoints, checked_name
from service.catalog.findings import summary
from service.catalog.scaffold import scaffold
from service.cli import desk_text
from service.clock import utc_now
from service.settings import Settings
from service.storage.engine import database_path
from service.storage.migrate import migrate
from service.storage.ports import Store, StoreUnavailableError
from service.storage.sql import open_store
from service.use_cases import launch, steer

BY = "cli"
FORMATS = click.Choice(["text", "json", "github"])


@contextmanager
def store_of(settings: Settings) -> Iterator[Store]:
    """Open the store, made first where there is none: a plan must work before the first `make run`."""
    if not database_path(settings.database_url).exists():
        migrate(settings.database_url)
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def tells(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what a user can cause into words and exit code 1."""

    @wraps(command)
    def told(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - a click command
        try:
            command(*args, **kwargs)
        except CatalogError as error:
            click.echo(str(error))
            click.echo(f"\n{desk_text.count(len(error.findings), 'error')}. Nothing was changed.")
            sys.exit(1)
        except (steer.RefusedError, launch.UnknownKeyError, StoreUnavailableError, OSError) as error:
            click.echo(f"opportune: {error}", err=True)
            sys.exit(1)

    return told


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return checked_name(value)
    except ValidationError as error:
        raise click.BadParameter(_said(error)) from error


def _share(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    number = value.strip().removesuffix("%")
    try:
        return int(BasisPoints().deserialize(f"{number}%") or 0)
    except ValidationError as error:
        raise click.BadParameter(_said(error)) from error


def _said(error: ValidationError) -> str:
    messages: Any = error.messages
    return "; ".join(f"{said.message} ({said.hint})" if said.hint else said.message for said in messages)


@click.command()
@click.argument("kind", type=click.Choice(["experiment", "flag"]))
@click.argument("name", callback=_name)
@tells
def new(kind: str, name: str) -> None:
    """Write a first version of an experiment or a flag into the catalog folder."""
    folder = settings_module.load().catalog
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load(read_folder(folder))
    if name in {**loaded.catalog.experiments, **loaded.catalog.flags}:
        raise steer.RefusedError(
            f"'{name}' is already defined in {desk_text.shown(folder)}; nothing was written"
        )
    files = scaffold(kind, name, loaded)
    taken = [path for path in files if (folder / path).exists()]
    if taken:
        raise steer.RefusedError(f"{desk_text.shown(folder / taken[0])} exists already; nothing was written")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
        click.echo(f"wrote {desk_text.shown(folder / path)}")
    click.echo(f"\nNext: edit it, check it with `opportune lint`, then `opportune start {name}`.")


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--format", "form", type=FORMATS, default="text", help="How errors are written.")
def lint(folder: Path | None, form: str) -> None:
    """Check the catalog folder (or FOLDER): every error with file, line and column."""
    files: dict[str, str] = {}
    try:
        files = read_folder(folder or settings_module.load().catalog)
        load(files)
    except CatalogError as error:
        _show_findings(error, form, files)
        sys.exit(1)
    if form == "json":
        click.echo(json.dumps({"files": len(files), "findings": []}))
    else:
        click.echo(summary((), files))


def _show_findings(error: CatalogError, form: str, files: dict[str, str]) -> None:
    if form == "json":
        found = [finding.members() for finding in error.findings]
        click.echo(json.dumps({"files": len(files), "findings": found}, ensure_ascii=False, indent=2))
    elif form == "github":
        for finding in error.findings:
            click.echo(finding.github())
    else:
        click.echo(str(error))
        click.echo("\n" + summary(error.findings, files))


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@tells
def plan(form: str) -> None:
    """Show what `apply` would change, and how many enrolled people would move."""
    settings = settings_module.load()
    with store_of(settings) as store:
        bar = desk_text.Progress("reading exposures")
        found = launch.plan(store, read_folder(settings.catalog), utc_now(), progress=bar)
    click.echo(
        json.dumps(desk_text.plan_members(found), indent=2) if form == "json" else desk_text.plan_text(found)
    )
    if found.blocked:
        sys.exit(1)


@click.command()
@tells
def apply() -> None:
    """Make the catalog folder live: a new revision, in every worker within 2 seconds."""
    settings = settings_module.load()
    with store_of(settings) as store:
        files = read_folder(settings.catalog)
        applied = launch.apply(store, files, by=BY, now=utc_now())
    click.echo(desk_text.applied_text(applied))


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@tells
def status(form: str) -> None:
    """Show what is live: revision, experiments, flags, switches, and problems of the catalog folder."""
    settings = settings_module.load()
    with store_of(settings) as store:
        found = steer.status(store, settings.catalog)
    click.echo(json.dumps(found.members(), indent=2) if form == "json" else desk_text.status_text(found))


@click.command()
@click.argument("key")
@click.argument("share", required=False, callback=_share)
@click.option("--new-phase", is_flag=True, help="Assign everybody anew and restart the analysis.")
@tells
def start(key: str, share: int | None, *, new_phase: bool) -> None:
    """Set KEY to running in its file (with SHARE of the visitors, if given) and apply."""
    _steer(key, lambda now: steer.started(now, share_bp=share, new_phase=new_phase))


@click.command()
@click.argument("key")
@tells
def stop(key: str) -> None:
    """Set KEY to stopped in its file and apply: everybody gets the control's value."""
    _steer(key, steer.stopped)


@click.command()
@click.argument("key")
@click.argument("share", callback=_share)
@tells
def ramp(key: str, share: int) -> None:
    """Raise the share of visitors who take part in KEY to SHARE (such as 50%) and apply."""
    _steer(key, lambda now: steer.ramped(now, share_bp=share))


def _steer(key: str, change: steer.Change) -> None:
    settings = settings_module.load()
    with store_of(settings) as store:
        done = steer.steer(store, settings.catalog, key, change, now=utc_now())
    click.echo(desk_text.steered_text(done))


@click.command()
@click.argument("key")
@tells
def kill(key: str) -> None:
    """Serve the control's value of KEY at once, whatever the catalog says; '*' is everything."""
    with store_of(settings_module.load()) as store:
        launch.kill(store, key, by=BY, now=utc_now())
    what = "Everything" if key == launch.EVERYTHING else key
    click.echo(f"{what} is killed: every worker serves the control's value within 2 seconds.")
    click.echo(f"Undo it with `opportune revive {desk_text.shell(key)}`.")


@click.command()
@click.argument("key")
@tells
def revive(key: str) -> None:
    """Undo `kill`."""
    with store_of(settings_module.load()) as store:
        launch.revive(store, key, by=BY, now=utc_now())
        left = sorted(store.live_state().killed)
    click.echo(
        f"{'Everything' if key == launch.EVERYTHING else key} is revived, in every worker within 2 seconds."
    )
    if left:
        names = ", ".join("everything ('*')" if name == launch.EVERYTHING else name for name in left)
        click.echo(f"Still killed: {names}.")


commands: tuple[click.Command, ...] = (new, lint, plan, apply, status, start, stop, ramp, kill, revive)
