"""`opportune analyze`: an experiment computed now, on any engine, and cut by a dimension."""

import csv
import io
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn

import click

from experiments.definitions import Experiment
from experiments.metrics import Dimension
from service import settings as settings_module
from service.catalog import LoadedCatalog, load
from service.cli.desk import store_of, tells
from service.cli.desk_text import table
from service.engine_names import ENGINES
from service.settings import Settings
from service.storage.ports import Store
from service.use_cases import verdict_words as words
from service.use_cases.launch import live_catalog, suggest

if TYPE_CHECKING:
    from service.lake.engine import Engine
    from service.use_cases.cuts import Analysis, Cell, Check

WIDTH = 100
COLUMNS = (
    *("dimension", "group", "metric", "role", "variant", "n", "value"),
    *("lift", "lift_lower", "lift_upper", "exploratory"),
)
WARNING = (
    "Exploratory: groups were looked at after the fact, one by one, without intervals and without correction "
    "for their number. What stands out here is a question for the next experiment, not an answer of this one."
)


@click.command()
@click.argument("key")
@click.option("--by", "dimension", default="", help="Also by groups of units: a dimension of the catalog.")
@click.option("--engine", type=click.Choice(ENGINES), help="What computes it. Default: OPPORTUNE_ENGINE.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option("--check", "checking", is_flag=True, help="Only compare with the moments of the last verdict.")
@tells
def analyze(key: str, dimension: str, engine: str | None, form: str, *, checking: bool) -> None:
    """Compute the experiment KEY now.

    Prints what a verdict would say of each metric and variant, and keeps nothing.
    """
    settings = settings_module.load()
    with store_of(settings) as store:
        loaded = live_catalog(store)
        if loaded is None:
            _fail("no catalog is live yet: `opportune apply` makes one live")
        experiment, by = _asked(loaded, key, dimension)
        if not store.last_seq():
            _fail("no event has arrived yet, so there is nothing to analyze")
        if checking:
            _tell_check(_checked(settings, store, key, engine))
            return
        found = _computed(settings, store, (loaded, experiment), by, engine)
    if form == "json":
        click.echo(json.dumps(_members(found, by), ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(_told(found, by)) if form == "table" else _csv(found, by), nl=form == "table")


def _asked(loaded: LoadedCatalog, key: str, dimension: str) -> tuple[Experiment, Dimension | None]:
    experiments, dimensions = loaded.catalog.experiments, loaded.catalog.dimensions
    if key not in experiments:
        hint = suggest(key, experiments) or "it has none"
        _fail(f"no experiment '{key}' is in the live catalog; {hint}")
    if not dimension:
        return experiments[key], None
    if dimension not in dimensions:
        hint = suggest(dimension, dimensions) or "define it under `dimensions:`"
        _fail(f"no dimension '{dimension}' is in the live catalog; {hint}")
    return experiments[key], dimensions[dimension]


def _computed(
    settings: Settings,
    store: Store,
    what: tuple[LoadedCatalog, Experiment],
    by: Dimension | None,
    engine: str | None,
) -> "Analysis":
    from service.use_cases.cuts import analyze as compute  # noqa: PLC0415 - Ibis takes a second to load

    loaded, experiment = what
    with _opened(settings, store, engine) as found:
        return compute(store, found, (store.live_state().revision, loaded), experiment, by=by)


def _checked(settings: Settings, store: Store, key: str, engine: str | None) -> "Check":
    from service.use_cases.cuts import check  # noqa: PLC0415 - Ibis takes a second to load

    snapshot = store.latest_verdict(key)
    stored = store.revision(snapshot.revision) if snapshot else None
    if snapshot is None or stored is None:
        _fail(f"no verdict of {key} is kept yet: `opportune verdict {key}` makes one")
    with _opened(settings, store, engine, upto=snapshot.log_offset) as found:
        return check(found, load(stored.files), snapshot)


@contextmanager
def _opened(
    settings: Settings, store: Store, name: str | None, *, upto: int | None = None
) -> "Iterator[Engine]":
    from service.lake import export_all, lake_at  # noqa: PLC0415 - Ibis and DuckDB take a second to load
    from service.lake.engine import EngineError  # noqa: PLC0415
    from service.lake.engines import open_engine  # noqa: PLC0415

    export_all(store, lake_at(settings.lake, store))
    try:
        with open_engine(settings, name=name or "", upto=upto) as engine:
            yield engine
    except EngineError as error:
        _fail(str(error))


def _tell_check(found: "Check") -> None:
    if found.same:
        click.echo(f"{found.verdict}: the same integers, digest {found.found[:12]}.")
        return
    click.echo(
        f"{found.verdict}: OTHER integers, digest {found.recorded[:12]} then, {found.found[:12]} now. "
        f"`opportune verdict replay {found.verdict}` tells what differs."
    )
    sys.exit(1)


def _members(found: "Analysis", by: Dimension | None) -> dict[str, object]:
    body = found.body
    members: dict[str, object] = {
        name: body[name] for name in ("experiment", "phase", "revision", "as_of", "log_offset", "metrics")
    }
    members |= {"engine": found.engine, "digests": body["digests"]}
    if by is not None:
        members["cut"] = {
            "dimension": by.key,
            "property": by.property,
            "exploratory": True,
            "corrected": False,
            "groups": [asdict(cell) for cell in found.cells],
        }
    return members


def _csv(found: "Analysis", by: Dimension | None) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in found.body["metrics"]:
        lift = row["lift"] or {}
        ends = (lift.get("estimate"), lift.get("lower"), lift.get("upper"))
        writer.writerow(
            ("", "", row["metric"], row["role"], row["variant"], row["n"], row["estimate"], *ends, "no")
        )
    for cell in found.cells:
        name = by.key if by else ""
        writer.writerow(
            (name, cell.group, cell.metric, "", cell.variant, cell.n, cell.value, cell.lift, "", "", "yes")
        )
    return out.getvalue()


def _told(found: "Analysis", by: Dimension | None) -> Iterator[str]:
    body = found.body
    yield (
        f"{body['experiment']}, phase {body['phase']}, revision {body['revision']}: computed by "
        f"{found.engine} up to log offset {body['log_offset']:,}, as of {body['as_of']}"
    )
    yield ""
    record = body["record"]
    rows = []
    for row in body["metrics"]:
        said = words.difference(record, row)
        control = row["state"] == "control"
        value = words.estimate(record["metrics"][row["metric"]], row["estimate"])
        change = ("", "") if control else (said.estimate, said.interval)
        rows.append((row["metric"], row["role"], row["variant"], f"{row['n']:,}", value, *change))
    yield table([("metric", "role", "variant", "units", "value", "difference", "interval"), *rows])
    if note := words.day_by_day(body):
        yield textwrap.fill(note, WIDTH)
    if by is not None:
        yield f"\nBy {by.label or by.key} ({by.property} of the first exposure)"
        yield textwrap.fill(WARNING, WIDTH)
        yield ""
        yield table(
            [
                (by.key, "metric", "variant", "units", "value", "lift, exploratory"),
                *_cells(found.cells, record),
            ]
        )


def _cells(
    cells: Sequence["Cell"], record: dict[str, dict[str, dict[str, object]]]
) -> Iterator[tuple[str, ...]]:
    for cell in cells:
        value = words.estimate(record["metrics"][cell.metric], cell.value)
        lift = "" if cell.lift is None else words.share(cell.lift)
        yield cell.group, cell.metric, cell.variant, f"{cell.n:,}", value, lift


def _fail(why: str) -> NoReturn:
    click.echo(f"opportune: {why}", err=True)
    sys.exit(1)


commands: tuple[click.Command, ...] = (analyze,)
