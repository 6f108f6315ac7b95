"""Commands about GrowthBook: import what runs there."""

import sys
from pathlib import Path

import click

from service.catalog.findings import CatalogError
from service.catalog.loader import read_folder
from service.errors import ProblemError
from service.use_cases.growthbook_import import Conversion, ImportRefusedError, convert
from service.wire import read_json

FILE_LIMIT = 64 * 1024 * 1024
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def growthbook() -> None:
    """Take over what runs in GrowthBook."""


@growthbook.command("import")
@click.argument("features", type=EXISTING_FILE)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Catalog folder to write to.")
@click.option("--metric", default="", help="Key of a metric there that judges the experiments.")
def import_(features: Path, out: Path | None, metric: str) -> None:
    """Turn a features payload into catalog files.

    FEATURES: what GrowthBook's /api/features/<client key> answers, as a file. Everybody keeps the variant
    they have; what cannot be taken over is listed with the reason. Without --out nothing is written.
    """
    try:
        payload = read_json(features.read_bytes(), limit=FILE_LIMIT)
        found = convert(payload, read_folder(out) if out and out.is_dir() else {}, metric=metric)
        if out is not None:
            _write(out, found)
    except ProblemError as problem:
        _stop(f"{features}: {problem.detail}")
    except (ImportRefusedError, CatalogError, OSError) as error:
        _stop(str(error))
    _tell(found, out)


def _write(out: Path, found: Conversion) -> None:
    for name, text in found.files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def _tell(found: Conversion, out: Path | None) -> None:
    told = found.told
    for feature, key in sorted(told.renamed.items()):
        if feature not in told.refused:
            click.echo(f"{feature}: its key is {key!r} here; ask for that in your code")
    for feature, text in told.notes:
        if feature not in told.refused:
            click.echo(f"{feature}: {text}")
    for feature, reason in sorted(told.refused.items()):
        click.echo(f"{feature}: NOT taken over: {reason}")
    where = f"written to {out}" if out else "nothing was written: say --out FOLDER"
    click.echo(f"{len(told.definitions)} taken over, {len(told.refused)} not; {where}")
    if out:
        click.echo(f"Next: opportune lint {out}")


def _stop(message: str) -> None:
    click.echo(f"opportune: {message}", err=True)
    sys.exit(1)


commands: tuple[click.Command, ...] = (growthbook,)
