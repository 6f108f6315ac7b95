"""Groups of units by a property of their first exposure: each unit in one, all together the whole."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from experiments.definitions import Metric, MetricKind
from experiments.evidence import PeriodMoments, cumulate
from experiments.metrics import Dimension
from service.clock import to_micros
from service.lake import export_all
from service.lake.cuts import cut_moments
from service.lake.moments import open_lake
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received
from tests.service.lake.test_moments import EXPERIMENT

METRICS = (
    Metric(key="buy", kind=MetricKind.CONVERSION, event="Order", window_s=86_400),
    Metric(
        key="spend", kind=MetricKind.MEAN, event="Order", value="total", window_s=86_400, lookback_s=3_600
    ),
    Metric(key="median", kind=MetricKind.QUANTILE, event="Order", value="total", window_s=86_400),
    Metric(key="each", kind=MetricKind.RATIO, event="Order", value="total", per="Order", window_s=86_400),
)
DEVICE = Dimension(key="device", property="device", values=("mobile", 2, True))
TOLD = ("mobile", "desktop", 2, 2.0, True, 1, None, "mobile", ["mobile"], "other")
IN_GROUP = {
    "mobile": (0, 7),
    "2": (2, 3),
    "true": (4,),
    "other": (1, 5, 9),
    "unknown": (6, 8, 10),
}


def a_history() -> list[Event]:
    """Unit i first sees its variant with TOLD[i], the last one without the property, then with another."""
    events = []
    for i in range(len(TOLD) + 1):
        device: dict[str, Any] = {"device": TOLD[i]} if i < len(TOLD) else {}
        variant = "banner" if i % 2 else "control"
        events.append(an_exposure(f"x{i}", f"v{i}", variant, **device))
        later = START + timedelta(minutes=1)
        events.append(an_exposure(f"y{i}", f"v{i}", variant, at=later, device="mobile"))
        events.append(an_event(f"o{i}", "Order", at=later, anonymous_id=f"v{i}", total=10 * i + 0.5))
    events.append(an_exposure("z", "v-both", "control", device="mobile"))
    events.append(an_exposure("z2", "v-both", "banner", at=START + timedelta(minutes=2), device="mobile"))
    return events


@pytest.mark.parametrize("step", [1, -1])
def test_each_unit_is_in_the_group_of_its_first_exposure(tmp_path: Path, step: int) -> None:
    found = cut(tmp_path, a_history()[::step])

    n = {group: sum(row.moments.n for row in rows if row.metric == "buy") for group, rows in found.items()}
    assert list(found) == ["mobile", "2", "true", "other", "unknown"]
    assert n == {group: len(units) for group, units in IN_GROUP.items()}
    spent = {
        group: sum(r.moments.total for r in rows if r.metric == "spend") for group, rows in found.items()
    }
    assert spent == {g: sum(10_000_000 * i + 500_000 for i in units) for g, units in IN_GROUP.items()}


def test_the_groups_together_are_the_whole_to_the_last_digit(tmp_path: Path) -> None:
    found = cut(tmp_path, a_history())

    with open_lake(tmp_path) as reader:
        whole = reader.facts(EXPERIMENT, METRICS, until_us=to_micros(START + days(9))).periods
    together = [row for rows in found.values() for row in rows]
    assert cumulate(together) == cumulate(whole)
    assert {(r.metric, r.variant, r.period) for r in together} == {
        (r.metric, r.variant, r.period) for r in whole
    }


def test_without_exposures_every_group_is_empty(tmp_path: Path) -> None:
    found = cut(tmp_path, [an_event("e1")])

    assert set(found.values()) == {()}


def cut(lake: Path, events: Sequence[Event]) -> dict[str, tuple[PeriodMoments, ...]]:
    log = ListLog()
    log.append(received(*events))
    export_all(log, lake)
    with open_lake(lake) as reader:
        until_us = to_micros(START + days(9))
        return dict(cut_moments(reader.engine, EXPERIMENT, METRICS, DEVICE, until_us=until_us))
