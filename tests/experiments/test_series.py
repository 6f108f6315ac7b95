"""The confidence sequence over time: each point is what the verdict of that day said."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from random import Random

import pytest

from experiments.definitions import Metric, MetricKind
from experiments.evidence import PeriodMoments
from experiments.moments import NOTHING, SCALE, Moments
from experiments.series import SeriesPoint, series
from experiments.verdict import judge
from tests.experiments.builders import START, conversions, evidence, experiment, metric, variants
from tests.experiments.verdict_scenes import amounts_with_past, seconds

FIRST = date(2027, 1, 5)


def purchases(rng: Random) -> Moments:
    return conversions(300, rng.randint(10, 40))


def calls(rng: Random) -> Moments:
    return Moments.of([SCALE * rng.choice([0, 0, 0, 1, 2]) for _ in range(300)])


def money(rng: Random) -> Moments:
    return amounts_with_past(300, rng.uniform(0.1, 0.2), 30)


def orders(rng: Random) -> Moments:
    below = [SCALE * rng.randint(1, 3) for _ in range(300)]
    return Moments.of([b * rng.randint(20, 30) for b in below], below)


def waits(rng: Random) -> Moments:
    return seconds(60, rng.uniform(1, 2))


DRAWS: Mapping[MetricKind, Callable[[Random], Moments]] = {
    MetricKind.CONVERSION: purchases,
    MetricKind.COUNT: calls,
    MetricKind.MEAN: money,
    MetricKind.RATIO: orders,
    MetricKind.QUANTILE: waits,
}


def of_kind(kind: MetricKind) -> Metric:
    return metric(kind=kind, value="amount" if kind is not MetricKind.CONVERSION else "")


def days(kind: MetricKind, keys: str, n_days: int, seed: int = 1) -> list[PeriodMoments]:
    rng = Random(seed)
    return [
        PeriodMoments("buy", key, FIRST + timedelta(days=day), DRAWS[kind](rng))
        for day in range(n_days)
        for key in keys
    ]


def verdicts(kind: MetricKind, rows: Sequence[PeriodMoments], keys: str) -> dict[str, list[SeriesPoint]]:
    """Return the points one by one, from a verdict after each day."""
    e = experiment(variants=variants(*WEIGHTS[len(keys)]))
    found: dict[str, list[SeriesPoint]] = {key: [] for key in keys[1:]}
    for day in sorted({row.period for row in rows}):
        known = replace(evidence({}), periods=[r for r in rows if r.period <= day], first_exposure_at=START)
        readings = {r.variant: r for r in judge(e, {"buy": of_kind(kind)}, known).readings}
        for key in keys[1:]:
            lift = readings[key].lift
            assert lift is not None
            n = readings[key].n + readings["a"].n
            found[key].append(SeriesPoint(day, lift.estimate, lift.lower, lift.upper, n))
    return found


WEIGHTS = {2: (5_000, 5_000), 3: (4_000, 3_000, 3_000)}


@pytest.mark.parametrize("keys", ["ab", "abc"])
@pytest.mark.parametrize("kind", DRAWS)
def test_each_point_is_what_the_verdict_of_that_day_said(kind: MetricKind, keys: str) -> None:
    rows = days(kind, keys, 6)
    e = experiment(variants=variants(*WEIGHTS[len(keys)]))

    points = series(e, of_kind(kind), rows)

    for key, one_by_one in verdicts(kind, rows, keys).items():
        for point, expected in zip(points[key], one_by_one, strict=True):
            assert (point.period, point.n) == (expected.period, expected.n)
            shown, said = (
                [math.nan if end is None else end for end in (p.estimate, p.lower, p.upper)]
                for p in (point, expected)
            )
            assert shown == pytest.approx(said, rel=1e-6, abs=1e-9, nan_ok=True)


def test_the_last_points_have_intervals() -> None:
    for kind in DRAWS:
        last = series(experiment(), of_kind(kind), days(kind, "ab", 6))["b"][-1]

        assert last.lower is not None
        assert last.upper is not None
        assert last.lower < last.upper


def test_a_day_without_units_of_a_pair_has_no_point_and_moves_none() -> None:
    rows = days(MetricKind.CONVERSION, "ab", 4)
    e = experiment(variants=variants(4_000, 3_000, 3_000))
    alone = PeriodMoments("buy", "c", FIRST + timedelta(days=9), conversions(10, 1))
    other = replace(alone, metric="other")
    empty = replace(alone, variant="b", period=FIRST + timedelta(days=5), moments=NOTHING)

    points = series(e, metric(), [*rows, alone, other, empty])

    assert [p.period for p in points["b"]] == [FIRST + timedelta(days=d) for d in range(4)]
    assert [p.period for p in points["c"]] == [FIRST + timedelta(days=d) for d in (0, 1, 2, 3, 9)]
    assert points["b"] == series(e, metric(), [*rows, alone])["b"]


def test_the_order_of_the_rows_changes_no_point() -> None:
    rows = days(MetricKind.CONVERSION, "abc", 5)
    e = experiment(variants=variants(4_000, 3_000, 3_000))

    assert series(e, metric(), rows) == series(e, metric(), rows[::-1])


def test_without_days_there_are_no_points() -> None:
    assert series(experiment(), metric(), ()) == {"b": ()}
