"""`opportune assign`: variants for a list of units, for channels that cannot ask while they run."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from service import settings as settings_module
from service.cli.desk import store_of, tells
from service.cli.desk_text import count
from service.clock import utc_now
from service.use_cases.offline import (
    ENCODING_ERRORS,
    Account,
    BadListError,
    UnitList,
    assign_list,
    units_of,
    write_list,
)
from service.use_cases.snapshot import SnapshotHolder

TOLD = 20
NEXT = """\
Nothing was recorded. When a unit really sees its variant (the mail is sent, the parcel packed), report an
exposure for each row whose decision is 'enrolled': `opportune import FILE --as exposures --set
occurred_at=...` does it for the whole list (docs/import.md)."""


class Complaints:
    """Tells the first rows that are wrong, on standard error."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, why: str) -> None:
        """Tell one."""
        self._told += 1
        if self._told <= TOLD:
            click.echo(why, err=True)
        elif self._told == TOLD + 1:
            click.echo("... and more", err=True)


@click.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option(
    "--units",
    "units_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A CSV with a header; '-' is standard input. Its columns are attributes, the unit's id among them.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@tells
def assign(keys: tuple[str, ...], units_file: Path, out: Path | None) -> None:
    """Write the variants of a list of units as CSV.

    For e-mail tools, stores, call scripts, packaging: the same variant as everywhere else. Cells are text;
    a column named age:number or tags:json is read as such. Exit code 1 if a row had to be left out.
    """
    now = utc_now()
    settings = settings_module.load()
    with store_of(settings) as store:
        holder = SnapshotHolder(store, audiences=settings.audiences)
        holder.refresh()
        snapshot = holder.current
    units = units_of(snapshot, tuple(dict.fromkeys(keys)))
    try:
        with click.open_file(str(units_file), encoding="utf-8-sig", errors=ENCODING_ERRORS) as lines:
            found = UnitList(lines, Complaints())
            found.check_has(units.values())
            with _target(out) as target:
                write_list(target, assign_list(snapshot, units, found, now=now))
    except BadListError as error:
        click.echo(f"opportune: {units_file}: {error}", err=True)
        sys.exit(1)
    click.echo(_summary(found.account), err=True)
    if found.account.refused:
        sys.exit(1)


@contextmanager
def _target(out: Path | None) -> Iterator[IO[str]]:
    """Open where to write; a file appears whole at the end or not at all."""
    if out is None:
        with click.open_file("-", "w", encoding="utf-8") as stream:
            yield stream
        return
    handle, name = tempfile.mkstemp(dir=out.absolute().parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
        Path(name).replace(out)
    finally:
        Path(name).unlink(missing_ok=True)


def _summary(account: Account) -> str:
    told = f"{count(account.units, 'unit')}: {count(account.written, 'row')} written"
    told += f", {account.enrolled:,} of them enrolled."
    if account.refused:
        told += f" {count(account.refused, 'row')} of the list left out, see above."
    return f"{told}\n{NEXT}" if account.enrolled else told


commands: tuple[click.Command, ...] = (assign,)
