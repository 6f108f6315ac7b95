"""`opportune doctor`: questions about what is live that need some computing."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from experiments.definitions import Catalog
from experiments.independence import FALSE_ALARMS, SHAPES, Dependence, Splitter, Survey, splitters, survey
from service import settings as settings_module
from service.catalog import load, read_folder
from service.cli.desk import store_of, tells
from service.cli.desk_text import count, shown
from service.use_cases.launch import served_catalog

REMEDY = (
    "What to do: a new phase (`opportune start KEY --new-phase`) gives an experiment a new salt; without "
    "`seed` and\n`hash_version: 1`, a layer has our own. Until then their results cannot be told apart."
)


@click.group()
def doctor() -> None:
    """Examine what is live."""


@doctor.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@tells
def buckets(folder: Path | None, form: str) -> None:
    """Test that no two experiments disturb one another.

    Hashes the same ids under every live salt (experiments, flags that split, layers, holdouts) and tests each
    pair for dependence. Of the live catalog, or of FOLDER. Exit code 1 if a pair is dependent.
    """
    catalog, source = _catalog(folder)
    found = survey(splitters(catalog))
    if form == "json":
        click.echo(json.dumps(_members(found, source), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(found, source)))
    if found.alarms:
        sys.exit(1)


def _catalog(folder: Path | None) -> tuple[Catalog, str]:
    """Return what to examine and its name: the folder asked for, what is live, or the catalog folder."""
    settings = settings_module.load()
    if folder is None and settings.has_data:
        with store_of(settings) as store:
            loaded = served_catalog(store)
            if loaded is not None:
                return loaded.catalog, f"the live catalog (revision {store.live_state().revision})"
    place = folder or settings.catalog
    return load(read_folder(place)).catalog, f"the folder {shown(place)}"


def _lines(found: Survey, source: str) -> Iterator[str]:
    n, pairs = len(found.splitters), found.n_tests // len(SHAPES)
    yield (
        f"{count(n, 'salt')} of {source}: {count(pairs, 'pair')}, {found.n_ids:,} ids each of "
        f"{len(SHAPES)} shapes ({', '.join(SHAPES)})."
    )
    if not pairs:
        yield "Fewer than two things split: nothing can depend on anything."
        return
    alarm = f"an alarm is one below {found.level:.1e}, which {FALSE_ALARMS:.1%} of healthy catalogs have"
    if not found.alarms:
        yield f"All independent. Smallest p-value {found.smallest:.1e}; {alarm}."
        return
    yield from (_told(alarm) for alarm in found.alarms)
    yield f"{count(len(found.alarms), 'pair')} of {pairs:,} dependent; {alarm}."
    yield REMEDY


def _told(alarm: Dependence) -> str:
    return (
        f"DEPENDENT   {_named(alarm.one)} and {_named(alarm.other)}: with {alarm.shape} ids one cell holds "
        f"{alarm.excess:.2f} times what chance puts there (p = {alarm.p_value:.1e})"
    )


def _named(splitter: Splitter) -> str:
    return f"{splitter.name} (salt '{splitter.salt}')"


def _members(found: Survey, source: str) -> dict[str, Any]:
    return {
        "source": source,
        "salts": [asdict(splitter) for splitter in found.splitters],
        "ids_of_each_shape": found.n_ids,
        "shapes": list(SHAPES),
        "tests": found.n_tests,
        "alarm_below": found.level,
        "smallest_p_value": found.smallest,
        "dependent": [asdict(alarm) for alarm in found.alarms],
    }


commands: tuple[click.Command, ...] = (doctor,)
