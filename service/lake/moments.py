"""What every variant did, as integers: one Ibis expression over the lake, run by DuckDB in this process.

Times are whole microseconds, values whole micro-units, sums decimal(38,0): any engine gives the same digits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.duckdb import Backend

from experiments.definitions import Experiment, Metric, MetricKind
from experiments.moments import SCALE, Moments
from experiments.units import ANONYMOUS_ID
from experiments.verdict import Arrivals, PeriodMoments
from service.clock import EPOCH
from service.lake.contamination import contaminated_of, people_of
from service.lake.manifest import EVENTS, EXPOSURES, SCHEMAS, SPILL, Manifest, reading
from service.lake.rows import canonical_json, to_amount
from service.lake.texts import text_fact

DAY_US = 86_400_000_000
EXACT = "decimal(38, 0)"
# One unit is never worth more than 1e9 of anything, cap or not: 1e8 such units squared still fit 38 digits.
MAX_VALUE = 10**15
OWN_COLUMNS = frozenset({"user_id", "anonymous_id"})
LAST_EVENTS = 100
MEMORY_LIMIT = "1GB"
BATCH_ROWS = 100_000
ALWAYS = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCounts:
    """Where the exposed units of one variant are, each unit under the variant it saw first."""

    exposed: int
    multiple_variants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the lake knows of one experiment and phase up to `until_us`; nothing here is rounded.

    `contaminated` counts the units of people who saw another variant under another unit.
    """

    n_events: int
    first_us: int | None
    units: Mapping[str, UnitCounts]
    contaminated: int
    arrivals: tuple[Arrivals, ...]
    periods: tuple[PeriodMoments, ...]


class LakeReader:
    """The lake at one offset, open for questions; made by `open_lake`."""

    def __init__(self, connection: Backend, lake: Path, manifest: Manifest) -> None:
        self._connection = connection
        self._lake = lake
        self.offset = manifest.offset
        self._manifest = manifest
        self._people: ir.Table | None = None

    def facts(self, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int) -> Facts:
        """Count the exposures of one experiment; sum up its metrics over windows that ended by `until_us`."""
        seen = exposures_of(self.table(EXPOSURES), experiment)
        units = units_of(seen)
        counted = self._rows(unit_counts(units))
        occurred = seen.occurred_us
        spans = self._rows(seen.aggregate(n=seen.count(), first_us=occurred.min(), last_us=occurred.max()))[0]
        clean = units.filter(units.n_variants == 1)
        # No event before the first exposure or after the last window counts: such files are not even opened.
        first_us, last_us = spans["first_us"] or 0, spans["last_us"] or 0
        last_us += max(metric.window_s for metric in metrics) * 1_000_000
        events = self.table(EVENTS, first_us=first_us, last_us=min(last_us, until_us))
        wanted = moments_of(clean, events, unit=experiment.unit, metrics=metrics, until_us=until_us)
        return Facts(
            n_events=int(spans["n"]),
            first_us=None if spans["first_us"] is None else int(spans["first_us"]),
            units={row["variant"]: _unit_counts(row) for row in counted},
            contaminated=self._contaminated(seen) if experiment.unit == ANONYMOUS_ID else 0,
            arrivals=tuple(_arrivals(row) for row in self._rows(arrivals_of(clean))),
            periods=tuple(_period(row) for row in self._rows(wanted)),
        )

    def last_occurred_us(self, n: int = LAST_EVENTS) -> tuple[int, ...]:
        """Return when the newest `n` events occurred, by their own clocks and in whatever order they came."""
        occurred = self.table(EVENTS).select("occurred_us")
        rows = self._rows(occurred.order_by(ibis.desc("occurred_us")).limit(n))
        return tuple(sorted((int(row["occurred_us"]) for row in rows), reverse=True))

    def table(self, dataset: str, *, first_us: int = ALWAYS[0], last_us: int = ALWAYS[1]) -> ir.Table:
        """Return the rows of one dataset that occurred between two moments, both included."""
        files = [f for f in self._manifest.of(dataset) if f.may_touch(first_us, last_us)]
        if not files:
            return ibis.memtable(SCHEMAS[dataset].empty_table())
        paths = [str(self._lake / f.path) for f in files]
        table = self._connection.read_parquet(paths, hive_partitioning=False)
        if (first_us, last_us) == ALWAYS:
            return table
        # Files of an older manifest, and of days that straddle a limit: their row groups know their times.
        return table.filter(table.occurred_us.between(first_us, last_us))

    def batches(self, expression: ir.Table) -> list[pa.RecordBatch]:
        """Return the rows of an answer that is too large to become Python objects all at once."""
        batches: list[pa.RecordBatch] = self._connection.to_pyarrow(expression).to_batches(BATCH_ROWS)
        return batches

    def _contaminated(self, seen: ir.Table) -> int:
        if self._people is None:
            # Every experiment asks: all events are read for it once.
            people = people_of(self.table(EVENTS))
            self._people = self._connection.create_table("people", people, temp=True)
        return int(self._connection.to_pyarrow(contaminated_of(seen, self._people)).as_py())

    def _rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._connection.to_pyarrow(expression).to_pylist()
        return rows


@contextmanager
def open_lake(lake: Path) -> Iterator[LakeReader]:
    """Open the lake for reading; no file disappears until it is closed."""
    with reading(lake) as manifest, TemporaryDirectory(prefix=SPILL, dir=lake) as spill:
        # DuckDB's own choice of a folder to spill to is the working directory.
        connection = ibis.duckdb.connect(memory_limit=MEMORY_LIMIT, threads=2, temp_directory=spill)
        try:
            yield LakeReader(connection, lake, manifest)
        finally:
            connection.disconnect()


def exposures_of(exposures: ir.Table, experiment: Experiment) -> ir.Table:
    """Keep the exposures of one experiment and phase."""
    return exposures.filter(
        exposures.experiment_key == experiment.key, exposures.phase == experiment.phase
    ).select("unit_id", "variant_key", "occurred_us")


def units_of(seen: ir.Table) -> ir.Table:
    """One row per unit: when it was first exposed, to which variant, and how many variants it saw in all."""
    per_variant = seen.group_by("unit_id", "variant_key").aggregate(first_us=seen.occurred_us.min())
    order = ibis.window(group_by="unit_id", order_by=["first_us", "variant_key"])
    ranked = per_variant.mutate(
        place=ibis.row_number().over(order),
        n_variants=per_variant.count().over(ibis.window(group_by="unit_id")),
    )
    return ranked.filter(ranked.place == 0).select("unit_id", "first_us", "n_variants", variant="variant_key")


def unit_counts(units: ir.Table) -> ir.Table:
    """Count exposed units and those that saw several variants, by the variant seen first."""
    return (
        units.group_by("variant")
        .aggregate(exposed=units.count(), several=(units.n_variants > 1).sum())
        .order_by("variant")
    )


def arrivals_of(clean: ir.Table) -> ir.Table:
    """Count first exposures per variant and UTC day."""
    dated = clean.mutate(period=clean.first_us // DAY_US)
    return dated.group_by("variant", "period").aggregate(n=dated.count()).order_by("period", "variant")


def moments_of(
    clean: ir.Table, events: ir.Table, *, unit: str, metrics: Sequence[Metric], until_us: int
) -> ir.Table:
    """Sum up n, total, total of squares per metric, variant and UTC day in which the windows end."""
    parts = [_metric_moments(clean, events, unit=unit, metric=m, until_us=until_us) for m in metrics]
    whole = ibis.union(*parts) if len(parts) > 1 else parts[0]
    return whole.order_by("metric", "period", "variant")


def _metric_moments(
    clean: ir.Table, events: ir.Table, *, unit: str, metric: Metric, until_us: int
) -> ir.Table:
    window_us = metric.window_s * 1_000_000
    mature = clean.filter(clean.first_us + window_us <= until_us)
    facts = _amounts(events, unit=unit, metric=metric)
    inside = mature.inner_join(
        facts,
        [
            mature.unit_id == facts.owner,
            facts.occurred_us >= mature.first_us,
            facts.occurred_us < mature.first_us + window_us,
        ],
    )
    summed = inside.group_by("unit_id").aggregate(n_events=inside.count(), amount=inside.amount.sum())
    valued = mature.left_join(summed, mature.unit_id == summed.unit_id)
    value = _unit_value(valued, metric)
    per_unit = valued.select(
        "variant", value=value.cast(EXACT), period=(valued.first_us + window_us) // DAY_US
    )
    return per_unit.group_by("variant", "period").aggregate(
        metric=ibis.literal(metric.key),
        n=per_unit.count(),
        total=per_unit.value.sum(),
        total_sq=(per_unit.value * per_unit.value).cast(EXACT).sum(),
    )


def _amounts(events: ir.Table, *, unit: str, metric: Metric) -> ir.Table:
    owner = events[unit] if unit in OWN_COLUMNS else text_fact(events, unit)
    keep = [events.type == metric.event, owner.notnull()]
    keep += [events.facts.get(name) == canonical_json(wanted) for name, wanted in metric.where.items()]
    if metric.kind is MetricKind.MEAN and metric.currency:
        told = events.facts.get("currency")
        # Amounts of another currency are not this metric's; an event that names none is taken at its word.
        keep.append(ibis.or_(told.isnull(), told == "null", told == canonical_json(metric.currency)))
    amount = events.amounts.get(metric.value) if metric.kind is MetricKind.MEAN else ibis.literal(SCALE)
    matching = events.filter(*keep)
    return matching.select("occurred_us", owner=owner, amount=ibis.coalesce(amount, 0).cast(EXACT))


def _unit_value(valued: ir.Table, metric: Metric) -> ir.IntegerValue:
    if metric.kind is MetricKind.CONVERSION:
        return ibis.cases((valued.n_events > 0, SCALE), else_=0)
    cap = MAX_VALUE if metric.cap is None else min(MAX_VALUE, to_amount(metric.cap) or MAX_VALUE)
    amount = ibis.coalesce(valued.amount, ibis.literal(0).cast(EXACT))
    return ibis.least(ibis.greatest(amount, ibis.literal(-cap)), ibis.literal(cap))


def _unit_counts(row: Mapping[str, Any]) -> UnitCounts:
    return UnitCounts(exposed=int(row["exposed"]), multiple_variants=int(row["several"]))


def _arrivals(row: Mapping[str, Any]) -> Arrivals:
    return Arrivals(period=_date(row["period"]), variant=row["variant"], n=int(row["n"]))


def _period(row: Mapping[str, Any]) -> PeriodMoments:
    moments = Moments(n=int(row["n"]), total=int(row["total"]), total_sq=int(row["total_sq"]))
    return PeriodMoments(
        metric=row["metric"], variant=row["variant"], period=_date(row["period"]), moments=moments
    )


def _date(days: int) -> date:
    return EPOCH.date() + timedelta(days=int(days))
