"""One row per exposed unit with its numbers for every metric: what the log says now of the whole window.

Nothing here knows until when to look: a row is the same for a verdict of today and one of tomorrow, until an
event arrives that is the unit's own. So rows may be kept, and only those of touched units computed again.
"""

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from experiments.definitions import Experiment, Metric
from service.lake.columns import Wanted
from service.lake.engine import Engine
from service.lake.numbers import (
    EXACT,
    SECOND_US,
    Read,
    Span,
    divisor_of,
    events_of,
    past_of,
    sums_of,
    value_of,
    window_of,
)
from service.lake.units import exposures_of, units_of

NUMBERS = ("value", "other_1", "other_2")
"""The numbers of a unit for one metric: its value, then its denominator and its covariate if any."""


UNIT_COLUMNS = ("unit_id", "first_us", "source", "least", "greatest", "n_seen", "variant")
"""The columns of `units_of`."""


def unit_rows(engine: Engine, experiment: Experiment, metrics: Sequence[Metric]) -> ir.Table:
    """Return the unit table of one experiment and phase, as an expression.

    Columns: UNIT_COLUMNS, and for the metric at place i the three of `number_column(i, ...)`: micro-units as
    decimal(38,0), null where there is none.
    """
    return with_values(unit_sums(engine, experiment, metrics), metrics)


def unit_sums(engine: Engine, experiment: Experiment, metrics: Sequence[Metric]) -> ir.Table:
    """Return the unit table with what `with_sums` adds up instead of the values that follow from it."""
    seen = exposures_of(engine.exposures(), experiment)
    occurred = seen.occurred_us
    (told,) = engine.rows(seen.aggregate(first_us=occurred.min(), last_us=occurred.max()))
    exposed = (told["first_us"] or 0, told["last_us"] or 0)
    return with_sums(units_of(seen), *reading(engine, experiment, metrics, exposed=exposed), metrics=metrics)


def reading(
    engine: Engine, experiment: Experiment, metrics: Sequence[Metric], *, exposed: tuple[int, int]
) -> tuple[ir.Table, tuple[Read, ...]]:
    """Return what the metrics read (`events_of`) of units first exposed between two moments."""
    wanted = Wanted.of(metrics, experiment.unit)
    # No event before the longest lookback or after the last window counts: such files are not opened.
    events = engine.events(
        wanted,
        first_us=exposed[0] - max(m.lookback_s for m in metrics) * SECOND_US,
        last_us=exposed[1] + max(m.window_s for m in metrics) * SECOND_US,
    )
    return events_of(events, wanted, unit=experiment.unit, metrics=metrics)


def number_column(place: int, number: str) -> str:
    """Return the column of one of NUMBERS for the metric at a place."""
    return f"m{place}_{number}"


def with_sums(
    units: ir.Table, read: ir.Table, reads: Sequence[Read], *, metrics: Sequence[Metric]
) -> ir.Table:
    """Add to the rows of `units` the sums of their events, reading the events once for all metrics.

    A sum of the metric at place i is called m<i>_now_<name> or, of its past, m<i>_past_<name>.
    """
    spans = [(window_of(metric), past_of(metric)) for metric in metrics]
    whole = Span(
        min((past or window).first for window, past in spans), max(window.end for window, _ in spans)
    )
    exposed = units.select("unit_id", "first_us")
    around = exposed.inner_join(
        read,
        [
            exposed.unit_id == read.owner,
            read.occurred_us >= exposed.first_us + whole.first,
            read.occurred_us < exposed.first_us + whole.end,
        ],
    )
    sums: dict[str, ir.Value] = {}
    for i, metric in enumerate(metrics):
        for name, span in zip(("now", "past"), spans[i], strict=True):
            found = sums_of(around, reads[i], metric=metric, span=span) if span else {}
            sums |= {f"m{i}_{name}_{key}": number for key, number in found.items()}
    summed = around.group_by("unit_id").aggregate(**sums)
    return units.left_join(summed, units.unit_id == summed.unit_id).select(*UNIT_COLUMNS, *sums)


def with_values(rows: ir.Table, metrics: Sequence[Metric]) -> ir.Table:
    """Replace the sums of `with_sums` by the numbers of `unit_rows`."""
    numbers: dict[str, ir.Value] = {}
    for i, metric in enumerate(metrics):
        numbers |= _numbers(rows, i, metric)
    return rows.select(*UNIT_COLUMNS, **numbers)


def _numbers(valued: ir.Table, place: int, metric: Metric) -> dict[str, ir.Value]:
    now, past = (_prefixed(valued, f"m{place}_{name}_") for name in ("now", "past"))
    value, divisor = value_of(now, metric), divisor_of(now, metric)
    covariate = value_of(past, metric) if past else None
    found = [value, *(number for number in (divisor, covariate) if number is not None)]
    found += [ibis.null(EXACT)] * (len(NUMBERS) - len(found))
    return {number_column(place, name): number for name, number in zip(NUMBERS, found, strict=True)}


def _prefixed(table: ir.Table, prefix: str) -> dict[str, ir.Value]:
    return {name.removeprefix(prefix): table[name] for name in table.columns if name.startswith(prefix)}
