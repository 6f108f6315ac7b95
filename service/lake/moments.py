"""What every variant did, as integers: the lake at one offset, asked by DuckDB in this process.

Times are whole microseconds, values whole micro-units, sums decimal(38,0): any engine gives the same digits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.duckdb import Backend

from experiments.definitions import Experiment, Metric
from experiments.evidence import Arrivals, PeriodMoments
from experiments.units import ANONYMOUS_ID
from service.lake.contamination import contaminated_of, people_of
from service.lake.manifest import EVENTS, EXPOSURES, LATE_COLUMNS, SCHEMAS, SPILL, Manifest, reading
from service.lake.numbers import SECOND_US
from service.lake.sums import absent_of, moments_of, periods_of
from service.lake.units import arrivals_of, date_of, exposures_of, unit_counts, units_of

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

    `contaminated` counts the units of people who saw another variant under another unit, `absent` by metric
    those whose window has ended and who have no part in it, as a quantile of what buyers spend.
    """

    n_events: int
    first_us: int | None
    units: Mapping[str, UnitCounts]
    contaminated: int
    arrivals: tuple[Arrivals, ...]
    periods: tuple[PeriodMoments, ...]
    absent: Mapping[str, int]


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
        clean = units.filter(~units.several)
        # No event before the longest lookback or after the last window counts: such files are not opened.
        first_us = (spans["first_us"] or 0) - max(m.lookback_s for m in metrics) * SECOND_US
        last_us = (spans["last_us"] or 0) + max(m.window_s for m in metrics) * SECOND_US
        events = self.table(EVENTS, first_us=first_us, last_us=min(last_us, until_us))
        rows = self._rows(moments_of(clean, events, unit=experiment.unit, metrics=metrics, until_us=until_us))
        return Facts(
            n_events=int(spans["n"]),
            first_us=None if spans["first_us"] is None else int(spans["first_us"]),
            units={row["variant"]: _unit_counts(row) for row in counted},
            contaminated=self._contaminated(seen) if experiment.unit == ANONYMOUS_ID else 0,
            arrivals=tuple(_arrivals(row) for row in self._rows(arrivals_of(clean))),
            periods=periods_of(rows),
            absent=absent_of(rows),
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
        late = LATE_COLUMNS.get(dataset, ())
        table = self._connection.read_parquet(paths, hive_partitioning=False, union_by_name=bool(late))
        table = table.mutate({name: ibis.null("string") for name in late if name not in table.columns})
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


def _unit_counts(row: Mapping[str, Any]) -> UnitCounts:
    return UnitCounts(exposed=int(row["exposed"]), multiple_variants=int(row["several"]))


def _arrivals(row: Mapping[str, Any]) -> Arrivals:
    return Arrivals(date_of(row["period"]), row["variant"], int(row["n"]), row["source"])
