"""Facts from kept rows of units: after new events only the rows of units that they touch are made again.

Of each experiment and phase one row per unit is kept in files of this machine, with the offset of the log up
to which they tell. They are a copy: where they are missing, broken, in use elsewhere or of a lake that has
lost rows, all is computed from the lake, with the same numbers. See docs/decisions/0018-incremental.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.definitions import Experiment, Metric
from experiments.units import ANONYMOUS_ID
from service.lake.contamination import named_of
from service.lake.engine import ALWAYS
from service.lake.engines.duckdb import DuckDBEngine, open_duckdb
from service.lake.moments import LAST_EVENTS, Facts, LakeReader, facts_of
from service.lake.partials_folder import PartialsBusyError, discard, sweep
from service.lake.partials_people import People
from service.lake.partials_place import n_events, since_when
from service.lake.partials_tiers import kept_rows
from service.lake.partials_units import Units
from service.lake.places import Where
from service.lake.unit_rows import with_values
from service.log import logger

PEOPLE = "people"
# To ask for old rows, new events and both together takes half a second of asking, whatever their number.
WORTH_KEEPING = 500_000


class KeptReader(LakeReader):
    """The lake at one offset, with the facts of experiments by way of the rows that `home` keeps."""

    def __init__(self, engine: DuckDBEngine, home: Path) -> None:
        super().__init__(engine)
        self._duckdb = engine
        self._home = home
        self._knows_people = False

    def last_occurred_us(self, n: int = LAST_EVENTS, *, since_us: int = ALWAYS[0]) -> tuple[int, ...]:
        """Return when the newest `n` events occurred: of a large lake the last few files can tell."""
        known_us = since_when(self._duckdb, n)
        return super().last_occurred_us(n, since_us=max(since_us, known_us))

    def facts(self, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int) -> Facts:
        """Return what a reader without kept rows returns, faster where the lake is large."""
        if n_events(self._duckdb) < WORTH_KEEPING:
            return self.whole_facts(experiment, metrics, until_us=until_us)
        try:
            return self.kept_facts(experiment, metrics, until_us=until_us)
        except PartialsBusyError:
            logger().info("partials_busy", experiment=experiment.key)
        except Exception:  # noqa: BLE001 - what is kept is a copy: no trouble with it may stop a verdict
            logger().exception("partials_failed", experiment=experiment.key)
        return self.whole_facts(experiment, metrics, until_us=until_us)

    def whole_facts(self, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int) -> Facts:
        """Return the facts from the whole lake."""
        return super().facts(experiment, metrics, until_us=until_us)

    def kept_facts(self, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int) -> Facts:
        """Return the facts from kept rows, or fail.

        Raises
        ------
        PartialsBusyError
            If another process has the rows.
        """
        engine = self._duckdb
        if experiment.unit == ANONYMOUS_ID and not self._knows_people:
            with kept_rows(engine, self._home / PEOPLE, People()) as first:
                engine.know_people(named_of(first))
            self._knows_people = True
        path = self._home / folder_of(experiment)
        with (
            kept_rows(engine, path, Units(experiment, metrics)) as rows,
            engine.kept(with_values(rows, metrics)) as values,
        ):
            return facts_of(values, engine, experiment, metrics, until_us=until_us)


@contextmanager
def open_kept(lake: Where, home: Path) -> Iterator[KeptReader]:
    """Open the whole lake for reading, with kept rows in `home`."""
    with open_duckdb(lake) as engine:
        yield KeptReader(engine, home)


def sweep_kept(home: Path, experiments: Iterable[Experiment], *, erased: int) -> None:
    """Remove what is kept of other experiments and phases than these, or from before the newest erasure.

    `erased` is the lake's counter: an erasure on another machine shows in it.
    """
    sweep(home, {PEOPLE, *map(folder_of, experiments)}, erased=erased)


def discard_kept(home: Path, experiment: Experiment | None = None) -> None:
    """Remove everything that is kept, or that of one experiment, once nobody uses it."""
    paths = home.glob("*/") if experiment is None else (home / folder_of(experiment), home / PEOPLE)
    for path in paths:
        discard(path)


def folder_of(experiment: Experiment) -> str:
    """Return the name of the folder of one experiment and phase; a key has no dot."""
    return f"{experiment.key}.{experiment.phase}"
