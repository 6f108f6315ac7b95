"""`opportune import`: events, items, and the files of shops, e-mail tools and call centres."""

import json
import sys
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import click

from service import settings as process_settings
from service.cli.data import bar, clear_errors, opened_store
from service.cli.desk_text import count
from service.clock import utc_now
from service.storage.sql import SqlStore
from service.use_cases.import_events import ImportReport, import_events, import_items
from service.use_cases.import_files import SEPARATORS, columns_of, separator_hint
from service.use_cases.import_mapping import MEMBERS, As, MappingError, Plan, make_plan
from service.use_cases.import_planned import PlannedFile, Preview, import_planned, preview
from service.use_cases.import_times import Times

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
COMMA = ","


class Wanted(NamedTuple):
    """What the options of an import say."""

    plan: Plan | None
    separator: str
    dry_run: bool


def _zone(_context: click.Context, _parameter: click.Parameter, name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError) as error:
        raise click.BadParameter(f"{name!r} is no time zone such as Europe/Madrid") from error


def _time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> time | None:
    try:
        return time.fromisoformat(text) if text else None
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time of day such as 18:00") from error


@click.command("import")
@click.argument("files", nargs=-1, type=EXISTING_FILE)
@click.option(
    "--items", "item_files", multiple=True, type=EXISTING_FILE, help="A file of items; may be repeated."
)
@click.option(
    "--as", "rows_are", type=click.Choice([kind.value for kind in As]), help="What the rows of FILES are."
)
@click.option("--map", "maps", metavar="COLUMN=MEMBER", multiple=True, help="What a column is; repeatable.")
@click.option(
    "--set", "constants", metavar="MEMBER=VALUE", multiple=True, help="What every row has; repeatable."
)
@click.option("--zone", callback=_zone, metavar="ZONE", help="Where clocks showed times without an offset.")
@click.option(
    "--time", "of_day", callback=_time, metavar="HH:MM", help="The time that stands for a day alone."
)
@click.option("--time-format", metavar="FORM", default="", help="Such as '%d/%m/%Y %H:%M'.")
@click.option(
    "--separator", type=click.Choice([COMMA, *SEPARATORS]), default=COMMA, help="Between the cells of CSV."
)
@click.option("--dry-run", is_flag=True, help="With --as: show the first events, store nothing.")
def import_(
    files: tuple[Path, ...],
    item_files: tuple[Path, ...],
    **said: Any,  # noqa: ANN401 - the other options, as click reads them
) -> None:
    """Import events and items from files.

    FILES: .ndjson, .csv (or either with .gz) or .parquet. The rules are those of a server key
    (docs/events.md). With --as, files of other tools are read: say what their columns are. Interrupted? Run
    it again: an event is stored once.
    """
    if not files and not item_files:
        raise click.UsageError("name at least one file")
    wanted = _wanted(said)
    refused = 0
    with clear_errors(), opened_store(process_settings.load()) as store:
        for path in item_files:
            with bar(f"items {path.name}") as progress:
                written = import_items(store, path, separator=wanted.separator, progress=progress)
            click.echo(f"{path}: {count(written, 'item')}")
        for path in files:
            report = _import_one(store, path, wanted)
            refused += not report.accepted and not report.duplicate and bool(report.total)
    if refused:
        sys.exit(1)


def _wanted(said: Mapping[str, Any]) -> Wanted:
    """Return what the options ask for; those that explain columns go with --as."""
    separator = SEPARATORS[said["separator"]][0] if said["separator"] != COMMA else COMMA
    if said["rows_are"] is None:
        if any(said[name] for name in ("maps", "constants", "zone", "of_day", "time_format", "dry_run")):
            raise click.UsageError("--map, --set, the options about times and --dry-run go with --as")
        return Wanted(None, separator, dry_run=False)
    times = Times(zone=said["zone"], of_day=said["of_day"], pattern=said["time_format"])
    try:
        plan = make_plan(As(said["rows_are"]), said["maps"], said["constants"], times)
    except MappingError as error:
        raise click.UsageError(str(error)) from error
    return Wanted(plan, separator, dry_run=said["dry_run"])


def _import_one(store: SqlStore, path: Path, wanted: Wanted) -> ImportReport:
    if wanted.plan is None:
        with bar(f"events {path.name}") as progress:
            report = import_events(store, path, separator=wanted.separator, clock=utc_now, progress=progress)
        _tell_import(path, report, hint=_unsplit_hint(path, wanted.separator))
        return report
    file = PlannedFile(path=path, plan=wanted.plan, separator=wanted.separator)
    with bar(f"reading {path.name}") as progress:
        found = preview(store, file, progress=progress)
    _tell_preview(path, found, dry_run=wanted.dry_run)
    if wanted.dry_run:
        return ImportReport()
    with bar(f"events {path.name}") as progress:
        report = import_planned(store, file, clock=utc_now, progress=progress)
    _tell_import(path, report)
    return report


def _tell_preview(path: Path, found: Preview, *, dry_run: bool) -> None:
    if found.not_enrolled:
        click.echo(f"{path}: {found.not_enrolled} rows left out: their decision is not 'enrolled'")
    if found.columns_left:
        click.echo(f"{path}: columns not taken: {', '.join(found.columns_left)}")
    if dry_run:
        click.echo(f"{path}: {found.events} events would be sent, such as")
        for event in found.first:
            click.echo(f"  {json.dumps(event, ensure_ascii=False)}")
        click.echo("Nothing was stored.")


def _tell_import(path: Path, report: ImportReport, *, hint: str = "") -> None:
    bad = report.quarantined.total()
    refused = f", {report.refused} refused" if report.refused else ""
    click.echo(
        f"{path}: {report.accepted} accepted, {report.duplicate} duplicate, {bad} quarantined{refused}"
    )
    for reason, n in report.quarantined.most_common():
        click.echo(f"  {reason}: {n}")
    for example in report.examples:
        click.echo(f"    e.g. {example}")
    if bad and not report.accepted and not report.duplicate:
        kept = f"{count(bad, 'row')} {'is' if bad == 1 else 'are'} kept in quarantine"
        click.echo(f"Nothing of this file was accepted; {kept} (opportune quarantine list).{hint}")


def _unsplit_hint(path: Path, separator: str) -> str:
    """Return what to do about a file none of whose columns is a member of events."""
    columns = columns_of(path, separator=separator)
    return "" if columns is None or set(MEMBERS) & set(columns) else separator_hint(path)


commands: tuple[click.Command, ...] = (import_,)
