"""What every variant did, as integers: the log at one offset, asked through an engine.

Times are whole microseconds, values whole micro-units, sums decimal(38,0): any engine gives the same digits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from experiments.definitions import Experiment, Metric
from experiments.evidence import Arrivals, PeriodMoments
from experiments.units import ANONYMOUS_ID
from service.lake.columns import Wanted
from service.lake.contamination import contaminated_of
from service.lake.engine import ALWAYS, Engine
from service.lake.engines.duckdb import open_duckdb
from service.lake.places import Where
from service.lake.sums import absent_of, moments_of, periods_of
from service.lake.unit_rows import unit_rows
from service.lake.units import arrivals_of, clean_of, date_of, unit_counts

LAST_EVENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCounts:
    """Where the exposed units of one variant are, each unit under the variant it saw first."""

    exposed: int
    multiple_variants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the log knows of one experiment and phase up to `until_us`; nothing here is rounded.

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
    """The log at one offset, open for questions; made by `open_lake`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.offset = engine.offset

    def facts(self, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int) -> Facts:
        """Count the exposures of one experiment; sum up its metrics over windows that ended by `until_us`."""
        with self.engine.kept(unit_rows(self.engine, experiment, metrics)) as rows:
            return facts_of(rows, self.engine, experiment, metrics, until_us=until_us)

    def last_occurred_us(self, n: int = LAST_EVENTS, *, since_us: int = ALWAYS[0]) -> tuple[int, ...]:
        """Return when the newest `n` events occurred, by their own clocks and in whatever order they came.

        Who knows a moment since when so many have occurred may say so: less is read then.
        """
        occurred = self.engine.events(Wanted(), first_us=since_us).select("occurred_us")
        rows = self.engine.rows(occurred.order_by(ibis.desc("occurred_us")).limit(n))
        return tuple(sorted((int(row["occurred_us"]) for row in rows), reverse=True))


def facts_of(
    rows: ir.Table, engine: Engine, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int
) -> Facts:
    """Sum up the unit rows of one experiment (`unit_rows`, for the same metrics in the same order).

    `rows` is asked several times: it should be a table that `engine` keeps.
    """
    (whole,) = engine.rows(rows.aggregate(n=rows.n_seen.sum(), first_us=rows.first_us.min()))
    clean = clean_of(rows)
    summed = engine.rows(moments_of(clean, metrics, until_us=until_us))
    return Facts(
        n_events=int(whole["n"] or 0),
        first_us=None if whole["first_us"] is None else int(whole["first_us"]),
        units={row["variant"]: _unit_counts(row) for row in engine.rows(unit_counts(rows))},
        contaminated=_contaminated(rows, engine) if experiment.unit == ANONYMOUS_ID else 0,
        arrivals=tuple(_arrivals(row) for row in engine.rows(arrivals_of(clean))),
        periods=periods_of(summed),
        absent=absent_of(summed),
    )


@contextmanager
def open_lake(lake: Where, *, upto: int | None = None) -> Iterator[LakeReader]:
    """Open the lake for reading, of it only what is not newer than `upto`; no file disappears meanwhile."""
    with open_duckdb(lake, upto=upto) as engine:
        yield LakeReader(engine)


def _contaminated(rows: ir.Table, engine: Engine) -> int:
    (found,) = engine.rows(contaminated_of(rows, engine.people()))
    return int(found["n"] or 0)


def _unit_counts(row: Mapping[str, Any]) -> UnitCounts:
    return UnitCounts(exposed=int(row["exposed"]), multiple_variants=int(row["several"]))


def _arrivals(row: Mapping[str, Any]) -> Arrivals:
    return Arrivals(date_of(row["period"]), row["variant"], int(row["n"]), row["source"])
