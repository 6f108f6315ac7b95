"""`opportune metric`: what a metric says of yesterday, and which there are."""

import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from experiments.definitions import Metric
from experiments.notation import duration_words
from experiments.units import ANONYMOUS_ID
from service import settings as settings_module
from service.catalog import load, read_folder
from service.catalog.fields import UNIT
from service.cli.desk import store_of, tells
from service.cli.desk_text import table
from service.cli.metric_templates import templates
from service.clock import EPOCH, from_micros, utc_now
from service.storage.ports import Store
from service.use_cases.goal_words import NONE, value_words
from service.use_cases.launch import live_catalog, suggest

if TYPE_CHECKING:
    from service.lake.engine import Engine
    from service.lake.samples import EventSample
    from service.use_cases.metric_preview import DayValue, Preview

WIDTH = 100
SHORT = 12
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
CATALOG = click.option(
    "--catalog", type=FOLDER, help="A folder that is not applied yet, instead of the live catalog."
)


@click.group()
def metric() -> None:
    """Look at metrics: what one says, and which there are."""


@metric.command()
@click.argument("key")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="UTC day. Default: yesterday.")
@click.option("--unit", default=ANONYMOUS_ID, show_default=True, help="Whose numbers: one for each of these.")
@CATALOG
@tells
def preview(key: str, day: datetime | None, unit: str, catalog: Path | None) -> None:
    """Show what the metric KEY says of a day.

    Its value, how many events it reads, a few of them, and a few units with their numbers.
    """
    from service.use_cases.metric_preview import preview as look  # noqa: PLC0415 - Ibis takes a second to load

    if not UNIT.fullmatch(unit):
        raise click.BadParameter(f"'{unit}' is no attribute, such as user_id", param_hint="--unit")
    on = _ended(day)
    with store_of(settings_module.load()) as store:
        metrics = _metrics(store, catalog)
        if key not in metrics:
            _fail(f"no metric '{key}' is {_where(catalog)}; {suggest(key, metrics) or 'it has none'}")
        with _engine(store) as engine:
            found = look(engine, store, metrics[key], on, unit=unit)
    click.echo("\n".join(_told(found)))


@metric.command("list")
@CATALOG
@tells
def list_metrics(catalog: Path | None) -> None:
    """List metrics with yesterday's value."""
    from service.use_cases.metric_preview import value_on  # noqa: PLC0415 - Ibis takes a second to load

    on = _ended(None)
    with store_of(settings_module.load()) as store:
        metrics = _metrics(store, catalog)
        if not metrics:
            _fail(
                f"no metric is {_where(catalog)}: write one under `metrics:` in a file of the catalog folder"
            )
        with _engine(store) as engine:
            values = {key: value_on(engine, one, on) for key, one in metrics.items()}
    head = ("metric", "kind", "event", "owner", f"on {on}", "units")
    rows = [
        (key, one.kind.value, one.event, one.owner or "-", value_words(one, found.value), f"{found.n:,}")
        for key, one in sorted(metrics.items())
        for found in [values[key]]
    ]
    click.echo(table([head, *rows]))


def _ended(day: datetime | None) -> date:
    yesterday = utc_now().astimezone(UTC).date() - timedelta(days=1)
    if day is not None and day.date() > yesterday:
        raise click.BadParameter(
            f"{day.date()} has not ended in UTC: the newest day is {yesterday}", param_hint="--day"
        )
    if day is not None and day.date() < EPOCH.date():
        raise click.BadParameter(
            f"{day.date()} is too long ago: the first day is {EPOCH.date()}", param_hint="--day"
        )
    return yesterday if day is None else day.date()


def _metrics(store: Store, catalog: Path | None) -> Mapping[str, Metric]:
    if catalog is not None:
        return load(read_folder(catalog)).catalog.metrics
    loaded = live_catalog(store)
    if loaded is None:
        _fail("no catalog is live yet: `opportune apply` makes one live, or name a folder with --catalog")
    return loaded.catalog.metrics


def _where(catalog: Path | None) -> str:
    return f"in {catalog}" if catalog else "in the live catalog"


@contextmanager
def _engine(store: Store) -> "Iterator[Engine]":
    from service.lake import export_all, lake_at  # noqa: PLC0415 - Ibis and DuckDB take a second to load
    from service.lake.moments import open_lake  # noqa: PLC0415

    if not store.last_seq():
        _fail("no event has arrived yet, so there is nothing to look at")
    lake = settings_module.load().lake
    export_all(store, lake_at(lake, store))
    with open_lake(lake) as reader:
        yield reader.engine


def _told(found: "Preview") -> Iterator[str]:
    metric, days = found.metric, found.days
    name = f"{metric.key} ({metric.label})" if metric.label else metric.key
    yield f"{name}: {metric.kind.value.replace('_', ' ')} of {metric.event}, better {metric.direction.value}"
    yield textwrap.fill(
        f"Value of {days.last}: over every {found.unit} with any event on {days.first}, the last day whose "
        f"windows of {duration_words(metric.window_s)} have ended by then (UTC).",
        WIDTH,
    )
    yield ""
    yield table(
        [
            (str(days.last), *_value(metric, found.day)),
            ("the day before", *_value(metric, found.before)),
            ("7 days together", *_value(metric, found.week)),
        ],
        indent="  ",
    )
    yield ""
    divides = f", {found.dividing:,} are what it is divided by or leads to" if found.dividing else ""
    yield f"Events from {days.first} to {days.last} that match: {found.counting:,}{divides}."
    for hint in found.hints:
        yield textwrap.fill(f"! {hint}", WIDTH, subsequent_indent="  ")
    if found.events:
        yield "\nThe newest of them, with the properties that it reads:"
        yield table([_event(metric, event) for event in found.events], indent="  ")
    if found.units:
        yield "\nUnits of the day with their numbers, the largest first:"
        rows = [
            (_short(unit.unit_id), _when(unit.first_us), *(_number(n) for n in unit.numbers))
            for unit in found.units
        ]
        names = ("value", "divided by")[: len(rows[0]) - 2]
        yield table([("unit", "first event", *names), *rows], indent="  ")


def _value(metric: Metric, value: "DayValue") -> tuple[str, str]:
    return value_words(metric, value.value), f"{value.n:,} units"


def _event(metric: Metric, event: "EventSample") -> tuple[str, ...]:
    amounts = {name: f"{micro / 1_000_000:g}" for name, micro in event.amounts.items()}
    told = ", ".join(f"{name} = {value}" for name, value in {**event.facts, **amounts}.items())
    role = "" if event.counts or not metric.per else "(divides)"
    return _when(event.occurred_us), event.type, _short(event.owner) or "-", told or "-", role


def _number(micro: int | None) -> str:
    return NONE if micro is None else f"{micro / 1_000_000:,g}"


def _short(identifier: str) -> str:
    """Return the beginning of an id: enough to find it, too little to be passed on."""
    return identifier if len(identifier) <= SHORT else f"{identifier[: SHORT - 3]}..."


def _when(us: int) -> str:
    return from_micros(us).strftime("%Y-%m-%d %H:%M:%S")


def _fail(why: str) -> NoReturn:
    click.echo(f"opportune: {why}", err=True)
    sys.exit(1)


metric.add_command(templates)

commands: tuple[click.Command, ...] = (metric,)
