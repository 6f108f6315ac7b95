import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from experiments.definitions import Experiment, Metric, MetricKind
from service.clock import to_micros
from service.lake import export
from service.lake.engines.duckdb import DuckDBEngine
from service.lake.moments import Facts, open_lake
from service.lake.partials import KeptFacts
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received
from tests.service.lake.test_moments import BANNER, CONTROL, DAY_S, EXPERIMENT, PURCHASE, REVENUE

ADJUSTED = Metric(
    key="adjusted",
    kind=MetricKind.MEAN,
    event="Order Completed",
    value="revenue",
    window_s=2 * DAY_S,
    lookback_s=3 * DAY_S,
)
PER_ORDER = Metric(
    key="per-order",
    kind=MetricKind.RATIO,
    event="Order Completed",
    value="revenue",
    per="Order Completed",
    window_s=2 * DAY_S,
    lookback_s=DAY_S,
)
FUNNEL = Metric(
    key="step", kind=MetricKind.FUNNEL, event="Product Viewed", then="Order Completed", window_s=2 * DAY_S
)
METRICS = (PURCHASE, REVENUE, ADJUSTED, PER_ORDER, FUNNEL)
VISITORS = tuple(f"v{i}" for i in range(8))
ENDED_US = to_micros(START + days(60))


def kept_and_whole(
    lake: Path, home: Path, experiment: Experiment = EXPERIMENT, metrics: Sequence[Metric] = METRICS
) -> tuple[Facts, Facts]:
    """Return the facts from kept rows, which must not have failed, and those of the whole lake."""
    with open_lake(lake) as reader:
        assert isinstance(reader.engine, DuckDBEngine)
        kept = KeptFacts(reader, home).kept(reader.engine, experiment, metrics, until_us=ENDED_US)
    with open_lake(lake) as reader:
        return kept, reader.facts(experiment, metrics, until_us=ENDED_US)


def an_event_of(rng: random.Random, number: int) -> Event:
    """Return an exposure or something else that a visitor did within ten days, in no order of time."""
    unit, at = rng.choice(VISITORS), START + timedelta(hours=rng.randrange(240))
    name = f"e{number}" if rng.random() < 0.95 else f"e{rng.randrange(number + 1)}"
    what = rng.random()
    user = f"u{rng.randrange(3)}" if rng.random() < 0.2 else None
    if what < 0.3:
        return an_exposure(name, unit, BANNER if rng.random() < 0.1 else CONTROL, at=at)
    if what < 0.35:
        return an_event(name, "User Aliased", at=at, anonymous_id=None, user_id="u1", previous_id=unit)
    if what < 0.6:
        return an_event(name, "Product Viewed", at=at, anonymous_id=unit, user_id=user)
    money = rng.choice([0.1, 19.99, -5, 70, 1e12])
    return an_event(name, "Order Completed", at=at, anonymous_id=unit, user_id=user, revenue=money)


@pytest.mark.parametrize("seed", range(3))
def test_after_every_batch_of_events_the_facts_are_those_of_the_whole_log(tmp_path: Path, seed: int) -> None:
    rng, log, number = random.Random(seed), ListLog(), 0
    for _ in range(6):
        size = rng.choice([0, 1, 5, 40])
        log.append(received(*(an_event_of(rng, number + i) for i in range(size))))
        number += size
        export(log, tmp_path / "lake")

        kept, whole = kept_and_whole(tmp_path / "lake", tmp_path / "partials")

        assert kept == whole
