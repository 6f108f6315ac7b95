"""Commands about data: migrate, backup, restore, delete-person."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from service import settings as process_settings
from service.cli.upgrades import upgraded
from service.clock import utc_now
from service.lake import LakeError
from service.settings import Settings
from service.storage.ports import StoreUnavailableError
from service.storage.sql import SqlStore, open_store
from service.use_cases.access import keep_environment_keys
from service.use_cases.archive import BackupError, Progress, check_restored
from service.use_cases.backup import BackupReport, back_up
from service.use_cases.backup import restore as restore_backup
from service.use_cases.import_files import ImportFileError
from service.use_cases.people import erase_person

EXISTING = click.Path(exists=True, path_type=Path)


@click.command()
def migrate() -> None:
    """Bring the database up to date.

    To this version's schema; the hashes of the environment's keys are stored too.
    """
    settings = process_settings.load()
    with clear_errors(), opened_store(settings) as store:
        keep_environment_keys(store, settings, now=utc_now())
    click.echo("The database is up to date.")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Put keys.env in as well. Keep such a backup secret.")
def backup(target: Path, *, with_keys: bool) -> None:
    """Write a copy of all data to TARGET.

    A .tar.gz or a new folder; consistent, the service may run.
    """
    settings = process_settings.require_home(process_settings.load())
    with clear_errors(), bar("backup") as progress:
        report = back_up(settings, target, now=utc_now(), with_keys=with_keys, progress=progress)
    click.echo(f"Copied {settings.home}")
    _tell_backup("Wrote", report)
    if not report.with_keys:
        click.echo("The keys (keys.env) are not in it: keep them apart, or say --with-keys.")


@click.command()
@click.argument("archive", type=EXISTING)
@click.option("--replace", is_flag=True, help="Move the data that is there aside first.")
def restore(archive: Path, *, replace: bool) -> None:
    """Put back a backup.

    The service must not run; existing data is only moved aside, never deleted.
    """
    settings = process_settings.load()
    process_settings.make_home(settings)
    with clear_errors():
        with bar("restore") as progress:
            report = restore_backup(settings, archive, now=utc_now(), replace=replace, progress=progress)
        upgraded(settings)
    _tell_backup("Restored", report)
    if not report.with_keys and settings.keys_file.exists():
        click.echo("The keys in keys.env are untouched; the backup held none.")
    for reminder in report.reminders:
        click.echo(reminder)


@click.command("delete-person")
@click.option("--user-id", "user_ids", multiple=True, help="A user_id of the person; may be repeated.")
@click.option("--anonymous-id", "anonymous_ids", multiple=True, help="An anonymous_id; may be repeated.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_person(user_ids: tuple[str, ...], anonymous_ids: tuple[str, ...], *, yes: bool) -> None:
    """Erase one person for ever.

    From the store and the lake; this cannot be undone. Anonymous ids that only this person's signed-in
    events used are erased too. Backups keep what they hold.
    """
    if not user_ids and not anonymous_ids:
        raise click.UsageError("give --user-id or --anonymous-id")
    settings = process_settings.require_home(process_settings.load())
    names = ", ".join((*user_ids, *anonymous_ids))
    if not yes:
        click.confirm(f"Erase {names} from {settings.home} for ever?", abort=True)
    with clear_errors(), opened_store(settings) as store:
        erased = erase_person(store, settings, user_ids=user_ids, anonymous_ids=anonymous_ids)
    click.echo(f"Home: {settings.home}")
    if any(erased.values()):
        click.echo("Erased rows: " + ", ".join(f"{table} {n}" for table, n in erased.items()))
    else:
        click.echo(f"Nothing is stored about {names}; nothing was erased. Is the id right?")


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what can go wrong into one line and exit status 1."""
    try:
        yield
    except (StoreUnavailableError, ImportFileError, BackupError, LakeError, OSError) as error:
        click.echo(f"opportune: {error}", err=True)
        sys.exit(1)


@contextmanager
def opened_store(settings: Settings) -> Iterator[SqlStore]:
    """Open the store, brought up to date."""
    process_settings.make_home(settings)
    check_restored(settings.home)
    upgraded(settings)
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def bar(label: str) -> Iterator[Progress]:
    """Give a progress callback that draws a bar on a terminal; its unit may change from stage to stage."""
    with click.progressbar(length=100, label=label, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            share = min(100, 100 * done // max(total, 1))
            if share != bar.pos:
                bar.update(share - bar.pos)

        yield progress


def _tell_backup(verb: str, report: BackupReport) -> None:
    click.echo(
        f"{verb} {report.path}: {report.files} files, {report.size / 1e6:.1f} MB, "
        f"log offset {report.log_offset}, catalog revision {report.revision}"
    )


commands: tuple[click.Command, ...] = (migrate, backup, restore, delete_person)
