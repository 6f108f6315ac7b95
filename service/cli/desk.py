"""The marketer's desk: write, check, launch, steer and stop experiments and flags."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click
from marshmallow import ValidationError

from experiments.plans import EVERYTHING
from service import settings as settings_module
from service.catalog import CatalogError, load, read_folder
from service.catalog.compiling import load_to_serve
from service.catalog.fields import BasisPoints, checked_name
from service.catalog.findings import summary
from service.catalog.goal_schema import notes as goal_notes
from service.catalog.notes import notes
from service.catalog.scaffold import scaffold
from service.cli import desk_text
from service.clock import utc_now
from service.settings import Settings, make_home, require_home, require_restored
from service.storage.migrate import migrate
from service.storage.ports import RevisionMovedError, Store, StoreUnavailableError
from service.storage.sql import open_store
from service.use_cases import launch, steer

BY = "cli"
FORMATS = click.Choice(["text", "json", "github"])


@contextmanager
def store_of(settings: Settings) -> Iterator[Store]:
    """Open the store of a home that has one."""
    store = open_store(require_home(settings))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def made_store_of(settings: Settings) -> Iterator[Store]:
    """Open the store, made first where there is none: one can launch before the first `make run`."""
    require_restored(settings.home)
    if not settings.has_data:
        make_home(settings)
        migrate(settings.database_url)
    with store_of(settings) as store:
        yield store


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
        except RevisionMovedError as error:
            click.echo(f"opportune: {error}; nothing was changed, try again", err=True)
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
        raise click.BadParameter(_said(error).replace(f"'{number}%'", f"'{value}'")) from error


def _said(error: ValidationError) -> str:
    messages: Any = error.messages
    return "; ".join(f"{said.message} ({said.hint})" if said.hint else said.message for said in messages)


@click.command()
@click.argument("kind", type=click.Choice(["experiment", "flag"]))
@click.argument("name", callback=_name)
@tells
def new(kind: str, name: str) -> None:
    """Write the file of a new experiment or flag."""
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
    """Check the catalog folder: every error.

    Each with file, line and column; of FOLDER if it is given. No database is needed.
    """
    files: dict[str, str] = {}
    place = folder or settings_module.load().catalog
    try:
        files = read_folder(place)
        loaded = load_to_serve(files)
        noted = (*notes(files, loaded), *goal_notes(loaded.goals, today=utc_now().date()))
    except CatalogError as error:
        _show_findings(error, form, files, place)
        sys.exit(1)
    if form == "json":
        click.echo(json.dumps({"files": len(files), "findings": [], "notes": noted}, ensure_ascii=False))
    else:
        for note in noted:
            click.echo(f"note: {note}")
        click.echo(summary((), files))


def _show_findings(error: CatalogError, form: str, files: dict[str, str], folder: Path) -> None:
    if form == "json":
        found = [finding.members() for finding in error.findings]
        click.echo(json.dumps({"files": len(files), "findings": found}, ensure_ascii=False, indent=2))
    elif form == "github":
        for finding in error.findings:
            # An annotation attaches to a path from where the command runs.
            path = desk_text.shown((folder / finding.path).resolve())
            click.echo(replace(finding, path=path).github())
    else:
        click.echo(str(error))
        click.echo("\n" + summary(error.findings, files))


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@tells
def plan(form: str) -> None:
    """Show what apply would do, and who would move."""
    settings = settings_module.load()
    files = read_folder(settings.catalog)
    if settings.has_data:
        with store_of(settings) as store:
            bar = desk_text.Progress("reading exposures")
            found = launch.plan(store, files, utc_now(), progress=bar)
    else:
        found = launch.plan(None, files, utc_now())
        click.echo(f"{desk_text.shown(settings.home)} holds no data yet.", err=True)
    click.echo(
        json.dumps(desk_text.plan_members(found), indent=2) if form == "json" else desk_text.plan_text(found)
    )
    if found.blocked:
        sys.exit(1)


@click.command()
@tells
def apply() -> None:
    """Make the catalog folder live within 2 seconds."""
    settings = settings_module.load()
    files = read_folder(settings.catalog)
    if not settings.has_data:
        load(files)  # Errors are told before a home is made.
    with made_store_of(settings) as store:
        applied = launch.apply(store, files, by=BY, now=utc_now())
    click.echo(desk_text.applied_text(applied))


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@tells
def status(form: str) -> None:
    """Show what is live, killed, pending and wrong."""
    settings = settings_module.load()
    with store_of(settings) as store:
        found = steer.status(store, settings.catalog, now=utc_now())
    if form == "json":
        click.echo(json.dumps({"home": str(settings.home), **found.members()}, indent=2))
    else:
        click.echo(f"home       {desk_text.shown(settings.home)}\n{desk_text.status_text(found)}")


@click.command()
@click.argument("key")
@click.argument("share", required=False, callback=_share)
@click.option("--new-phase", is_flag=True, help="Assign everybody anew and restart the analysis.")
@tells
def start(key: str, share: int | None, *, new_phase: bool) -> None:
    """Launch KEY (on SHARE of the visitors).

    Sets it to running in its file, and applies.
    """
    settings = settings_module.load()
    if not settings.has_data:
        load(read_folder(settings.catalog))  # Errors are told before a home is made.
    with made_store_of(settings) as store:
        _steer(store, settings, key, lambda now: steer.started(now, share_bp=share, new_phase=new_phase))


@click.command()
@click.argument("key")
@tells
def stop(key: str) -> None:
    """End KEY: all get the control's value.

    Sets it to stopped in its file (brought back from the live revision if it is gone), and applies.
    """
    settings = settings_module.load()
    with store_of(settings) as store:
        _steer(store, settings, key, steer.stopped)


@click.command()
@click.argument("key")
@click.argument("share", callback=_share)
@tells
def ramp(key: str, share: int) -> None:
    """Raise the share of visitors in KEY.

    To SHARE, such as 50%: in its file, and applies.
    """
    settings = settings_module.load()
    with store_of(settings) as store:
        _steer(store, settings, key, lambda now: steer.ramped(now, share_bp=share))


def _steer(store: Store, settings: Settings, key: str, change: steer.Change) -> None:
    done = steer.steer(store, settings.catalog, key, change, now=utc_now())
    click.echo(desk_text.steered_text(done))


@click.command()
@click.argument("key")
@tells
def kill(key: str) -> None:
    """Switch KEY off at once.

    The control's value is served whatever the catalog says; '*' is everything.
    """
    with store_of(settings_module.load()) as store:
        launch.kill(store, key, by=BY, now=utc_now())
    what = "Everything" if key == EVERYTHING else key
    click.echo(f"{what} is killed: every worker serves the control's value within 2 seconds.")
    click.echo(f"Undo it with `opportune revive {desk_text.shell(key)}`.")


@click.command()
@click.argument("key")
@tells
def revive(key: str) -> None:
    """Undo `kill`."""
    with store_of(settings_module.load()) as store:
        was_killed = launch.revive(store, key, by=BY, now=utc_now())
        left = sorted(store.live_state().killed)
    what = "Everything" if key == EVERYTHING else key
    if was_killed:
        click.echo(f"{what} is revived, in every worker within 2 seconds.")
    else:
        click.echo(f"{key} was not killed; nothing changed.")
    if left:
        names = ", ".join("everything ('*')" if name == EVERYTHING else name for name in left)
        click.echo(f"Still killed: {names}.")


commands: tuple[click.Command, ...] = (new, lint, plan, apply, status, start, stop, ramp, kill, revive)
