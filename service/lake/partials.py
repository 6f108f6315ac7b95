"""Facts from kept rows of units: after new events only the rows of units that they touch are made again.

Of each experiment and phase one row per unit is kept in files of this machine, with the offset of the log up
to which they tell. They are a copy: where they are missing, broken, in use elsewhere or of a lake that has
lost rows, all is computed from the lake, with the same numbers. See docs/decisions/0018-incremental.md.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.definitions import Experiment, Metric
from experiments.units import ANONYMOUS_ID
from service.lake.contamination import first_of
from service.lake.engines.duckdb import DuckDBEngine
from service.lake.moments import Facts, LakeReader, facts_of
from service.lake.partials_folder import PartialsBusyError, sweep
from service.lake.partials_people import Pairs
from service.lake.partials_tiers import kept_rows
from service.lake.partials_units import Units
from service.lake.unit_rows import with_values
from service.log import logger

PEOPLE = "people"


class KeptFacts:
    """The facts of experiments at one offset, by way of the rows that `home` keeps."""

    def __init__(self, reader: LakeReader, home: Path) -> None:
        self._reader = reader
        self._home = home
        self._knows_people = False

    def facts(self, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int) -> Facts:
        """Return what `LakeReader.facts` does, faster where rows are kept."""
        engine = self._reader.engine
        if isinstance(engine, DuckDBEngine) and engine.offset == engine.manifest.offset:
            try:
                return self.kept(engine, experiment, metrics, until_us=until_us)
            except PartialsBusyError:
                logger().info("partials_busy", experiment=experiment.key)
            except Exception:  # noqa: BLE001 - what is kept is a copy: no trouble with it may stop a verdict
                logger().exception("partials_failed", experiment=experiment.key)
        return self._reader.facts(experiment, metrics, until_us=until_us)

    def kept(
        self, engine: DuckDBEngine, experiment: Experiment, metrics: Sequence[Metric], *, until_us: int
    ) -> Facts:
        """Return the facts from kept rows, or fail.

        Raises
        ------
        PartialsBusyError
            If another process has the rows.
        """
        if experiment.unit == ANONYMOUS_ID and not self._knows_people:
            with kept_rows(engine, self._home / PEOPLE, Pairs()) as pairs:
                engine.know_people(first_of(pairs))
            self._knows_people = True
        path = self._home / folder_of(experiment)
        with (
            kept_rows(engine, path, Units(experiment, metrics)) as rows,
            engine.kept(with_values(rows, metrics)) as values,
        ):
            return facts_of(values, engine, experiment, metrics, until_us=until_us)

    def sweep(self, experiments: Iterable[Experiment]) -> None:
        """Remove what is kept of other experiments and phases than these."""
        if self._home.exists():
            sweep(self._home, {PEOPLE, *map(folder_of, experiments)})


def folder_of(experiment: Experiment) -> str:
    """Return the name of the folder of one experiment and phase; a key has no dot."""
    return f"{experiment.key}.{experiment.phase}"
