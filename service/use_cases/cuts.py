"""An experiment computed now, on any engine: what a verdict would say, groups of units, and a check."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.comparisons import estimate_of, total_of
from experiments.definitions import Experiment, Metric
from experiments.evidence import PeriodMoments
from experiments.metrics import Dimension
from experiments.moments import NOTHING
from service.catalog import LoadedCatalog
from service.clock import from_micros, to_micros
from service.lake.cuts import cut_moments
from service.lake.engine import Engine
from service.lake.moments import LakeReader
from service.lake.units import DAY_US
from service.storage.ports import Store
from service.storage.records import VerdictSnapshot
from service.use_cases.enrolment import enrolled_of
from service.use_cases.judge import judged
from service.use_cases.verdict_inputs import Recorded, recorded_of
from service.use_cases.watermark import as_of_us

MOMENTS = "moments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric of one variant in one group; `lift` is over a control above 0 in the group, else None."""

    group: str
    metric: str
    variant: str
    n: int
    value: float | None
    lift: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What an engine says of an experiment at one offset: the body of a verdict, and of groups of units."""

    body: Mapping[str, Any]
    engine: str
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The digest of the moments that a verdict has, and that of the moments which an engine finds for it."""

    verdict: str
    recorded: str
    found: str

    @property
    def same(self) -> bool:
        """Whether the engine finds the same integers."""
        return self.recorded == self.found


def analyze(
    store: Store,
    engine: Engine,
    live: tuple[int, LoadedCatalog],
    experiment: Experiment,
    *,
    by: Dimension | None = None,
) -> Analysis:
    """Compute an experiment of the live revision up to the engine's offset; nothing is kept."""
    revision, loaded = live
    reader = LakeReader(engine)
    before = store.latest_verdict(experiment.key)
    recorded = _recorded(store, reader, experiment, before, revision=revision)
    body = json.loads(judged(loaded, revision, experiment, reader, recorded))
    if by is None:
        return Analysis(body=body, engine=engine.name)
    metrics = [loaded.catalog.metrics[key] for key in experiment.metric_keys()]
    now_us = to_micros(recorded.as_of)
    groups = cut_moments(engine, experiment, metrics, by, until_us=now_us - now_us % DAY_US - 1)
    cells = tuple(
        cell
        for group, periods in groups.items()
        for metric in metrics
        for cell in _cells(experiment, metric, group, periods)
    )
    return Analysis(body=body, engine=engine.name, cells=cells)


def check(engine: Engine, loaded: LoadedCatalog, snapshot: VerdictSnapshot) -> Check:
    """Compute a verdict's moments once more: `loaded` is its revision, and the engine ends at its offset."""
    experiment = loaded.catalog.experiments[snapshot.experiment]
    reader = LakeReader(engine)
    body = json.loads(judged(loaded, snapshot.revision, experiment, reader, recorded_of(snapshot)))
    return Check(
        verdict=snapshot.id,
        recorded=json.loads(snapshot.body)["digests"][MOMENTS],
        found=body["digests"][MOMENTS],
    )


def _recorded(
    store: Store,
    reader: LakeReader,
    experiment: Experiment,
    before: VerdictSnapshot | None,
    *,
    revision: int,
) -> Recorded:
    before = before if before and before.phase == experiment.phase else None
    newest_us = reader.last_occurred_us()
    floor_us = to_micros(before.as_of) if before else 0
    as_of = from_micros(as_of_us(newest_us, floor_us=floor_us) if newest_us else floor_us)
    quarantined = store.quarantined_exposures(experiment.key, experiment.phase)
    known = recorded_of(before) if before else None
    enrolled = enrolled_of(store, experiment, known, revision=revision, as_of=as_of)
    recorded = known or Recorded(as_of=as_of, quarantined=quarantined)
    return replace(recorded, as_of=as_of, quarantined=quarantined, enrolled=enrolled)


def _cells(
    experiment: Experiment, metric: Metric, group: str, periods: Sequence[PeriodMoments]
) -> Sequence[Cell]:
    control = None
    cells = []
    for variant in experiment.variants:
        mine = (p.moments for p in periods if (p.metric, p.variant) == (metric.key, variant.key))
        moments = total_of((NOTHING, *mine))
        value = estimate_of(metric, moments)
        is_control = variant is experiment.control
        control = value if is_control else control
        lift = None if is_control else _lift(value, control)
        cells.append(
            Cell(
                group=group,
                metric=metric.key,
                variant=variant.key,
                n=moments.n,
                value=value,
                lift=None if metric.kind.in_points else lift,
            )
        )
    return cells


def _lift(value: float | None, control: float | None) -> float | None:
    # A share of what is below 0 would have the wrong sign: less of a loss is a gain.
    if value is None or control is None or control <= 0:
        return None
    return (value - control) / control
