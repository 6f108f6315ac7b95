"""Every kind of metric in the lake: the same whole numbers as `experiments.kinds` gives unit by unit."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest

from experiments.definitions import Experiment, Metric, MetricKind, MetricPlan, Variant
from experiments.histogram import EDGES, bin_of
from experiments.kinds import MAX_VALUE, SeenEvent, before_of, numbers_of
from experiments.metrics import Aggregate
from experiments.moments import Moments
from service.clock import to_micros
from service.lake import export, read_manifest
from service.lake.bins import binned
from service.lake.manifest import EVENTS
from service.lake.moments import Facts, open_lake
from service.lake.sums import moments_of
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received
from tests.service.lake.test_moments import unit_expression

DAY_S = 86_400
WHOLE = pa.schema([("value", pa.decimal128(38, 0))])
VARIANTS = {"control": 5_000, "banner": 2_500, "blue": 2_500}
ORDERED, VISITED, ANSWERED = "Order Completed", "Visit", "Survey Answered"
EXPERIMENT = Experiment(
    key="free-shipping",
    variants=tuple(Variant(key=key, value=key, weight_bp=bp) for key, bp in VARIANTS.items()),
    metrics=MetricPlan(primary="conversion"),
)


def metric(key: str, kind: str, **given: object) -> Metric:
    return Metric(key=key, kind=MetricKind(kind), **{"event": ORDERED, "window_s": 2 * DAY_S} | given)  # type: ignore[arg-type]


METRICS = (
    metric("conversion", "conversion", where={"kind": "tea"}),
    metric("count", "count", cap=2.0),
    metric("count_before", "count", lookback_s=DAY_S),
    metric("mean", "mean", value="revenue", currency="EUR", cap=20.000001),
    metric("mean_before", "mean", value="revenue", cap=20.0, lookback_s=3 * DAY_S, where={"n": 5}),
    metric("ratio", "ratio", value="revenue", currency="EUR", per=ORDERED, cap=30.0),
    metric("ratio_of_counts", "ratio", per=VISITED, where={"kind": "tea"}, lookback_s=2 * DAY_S),
    metric(
        "ratio_of_sums",
        "ratio",
        value="revenue",
        per=VISITED,
        per_value="n",
        currency="GBP",
        lookback_s=DAY_S,
    ),
    metric("ratio_per_sum", "ratio", per=ORDERED, per_value="revenue"),
    metric("quantile", "quantile", value="revenue", currency="EUR", quantile=0.9),
    metric("quantile_of_some", "quantile", value="n", where={"kind": "cup"}),
    metric("nps", "nps", event=ANSWERED, value="score"),
    metric("csat", "csat", event=ANSWERED, value="score", scale=(1, 5)),
    metric("csat_usual", "csat", event=ANSWERED, value="score"),
    metric("ces", "ces", event=ANSWERED, value="score", scale=(0, 7)),
    metric("retention", "retention", event=VISITED, after_s=DAY_S),
    metric("churn", "churn", event=VISITED, after_s=DAY_S),
    metric("repeat", "repeat_purchase"),
    metric("abandoned", "cart_abandonment", event=VISITED, then=ORDERED, where={"n": 5}),
    metric("funnel", "funnel", event=VISITED, then=ORDERED),
    metric("funnel_to_itself", "funnel", event=ORDERED, then=ORDERED, window_s=DAY_S),
    metric("ltv", "lifetime_value", value="revenue", factor=0.333333, cap=20.0, lookback_s=DAY_S),
    metric("ltv_above_one", "lifetime_value", value="revenue", factor=12.7, currency="EUR"),
    metric("margin", "margin", value="revenue", factor=0.35, minus="n", currency="EUR", lookback_s=DAY_S),
    metric("margin_of_little", "margin", value="n", factor=0.000001, cap=0.000003),
    metric("dearest", "mean", value="revenue", aggregate=Aggregate.MAX, currency="EUR", lookback_s=DAY_S),
    metric("cheapest", "quantile", value="revenue", aggregate=Aggregate.MIN),
    metric("ratio_of_largest", "ratio", value="revenue", aggregate=Aggregate.MAX, per=VISITED),
    metric("ltv_of_smallest", "lifetime_value", value="revenue", aggregate=Aggregate.MIN, factor=0.3),
    metric(
        "dear_orders_per_visit",
        "ratio",
        per=VISITED,
        where={"revenue": {"gte": 0.1, "lt": 333.3}, "kind": {"ne": "tea"}},
        per_where={"any": [{"score": {"exists": False}}, {"kind": {"in": ["cup", 5]}}]},
    ),
    metric("not_five", "count", where={"n": {"not_in": [5, None]}}),
    metric("told", "conversion", where={"currency": {"exists": True}, "n": {"not": {"gt": 5}}}),
    metric(
        "never_null", "count", where={"n": {"ne": None}, "none": [{"kind": "tea"}, {"score": {"lte": 4}}]}
    ),
    metric("ltv_absurd", "lifetime_value", value="revenue", factor=999_999.999999, cap=1e9),
)
AMOUNTS = (1, 5, -7, 0, 19.99, 0.1, 0.2, 1e-7, 0.0000015, 1e308, -1e308, 10**30, "5", None, True, 333.333333)
SCORES = (0, 1, 3, 4, 5, 6, 6.5, 7, 8.999999, 9, 10, 11, -1, "9", None, True, 1e300)
UNITS = (*(f"u{i}" for i in range(26)), 'a"b', r"a\b", r'a\\"b', "\\n\n\x01")


def history(rng: random.Random) -> list[Event]:
    """Return events on a grid of quarters of an hour, so that many happen at the very same moment."""
    found = []
    for i in range(700):
        at = START + timedelta(minutes=15 * rng.randrange(6 * 96))
        unit = rng.choice(UNITS)
        if rng.random() < 0.12:
            usual = list(VARIANTS)[UNITS.index(unit) % 3]
            seen = rng.choice(list(VARIANTS)) if rng.random() < 0.03 else usual
            found.append(an_exposure(f"e{i}", unit, seen, at=at))
            continue
        told: dict[str, Any] = {
            "revenue": rng.choice(AMOUNTS),
            "score": rng.choice(SCORES),
            "currency": rng.choice(("EUR", "EUR", "GBP", None, ["EUR"])),
            "kind": rng.choice(("tea", "cup")),
            "n": rng.choice((5, 5.0, 6, "5", None)),
        }
        kept = {name: value for name, value in told.items() if rng.random() < 0.8}
        kind = rng.choice((ORDERED, VISITED, ANSWERED))
        found.append(an_event(f"e{i}", kind, anonymous_id=unit, at=at, **kept))
    return found


def facts_of(lake: Path, events: Sequence[Event], metrics: Sequence[Metric], *, until: datetime) -> Facts:
    log = ListLog()
    # Days of receipt are out of order: what is late by its own clock counts all the same.
    for i in range(0, len(events), 100):
        log.append(received(*events[i : i + 100], at=START + days(i % 3)))
    while export(log, lake, limit=180) < log.last_seq():
        pass
    with open_lake(lake) as reader:
        return reader.facts(EXPERIMENT, metrics, until_us=to_micros(until))


def by_hand(
    events: Sequence[Event], wanted: Metric, *, until: datetime
) -> tuple[dict[tuple[str, date], Moments], int]:
    """Return the moments by variant and day, and how many units took no part."""
    rows: dict[tuple[str, date], list[tuple[int, ...]]] = defaultdict(list)
    absent = 0
    for unit in UNITS:
        seen = [e for e in events if e.type == "Experiment Viewed" and e.anonymous_id == unit]
        variants = {e.properties["variant_key"] for e in seen}
        first = min((e.occurred_at for e in seen), default=until)
        end = first + timedelta(seconds=wanted.window_s)
        if len(variants) != 1 or end > until:
            continue
        mine = [
            SeenEvent(e.type, to_micros(e.occurred_at) - to_micros(first), e.properties)
            for e in events
            if e.anonymous_id == unit
        ]
        numbers = numbers_of(wanted, mine)
        if numbers is None:
            absent += 1
        else:
            rows[variants.pop(), end.astimezone(UTC).date()].append((*numbers, *before_of(wanted, mine)))
    return {key: moments_by_hand(wanted, units) for key, units in rows.items()}, absent


def moments_by_hand(wanted: Metric, units: Sequence[tuple[int, ...]]) -> Moments:
    columns = list(zip(*units, strict=True))
    whole = Moments.of(*columns)
    if wanted.kind is not MetricKind.QUANTILE:
        return whole
    counts: dict[int, int] = defaultdict(int)
    for value in columns[0]:
        counts[bin_of(value)] += 1
    return Moments(whole.n, whole.total, whole.total_sq, bins=tuple(sorted(counts.items())))


@pytest.mark.parametrize("seed", range(4))
def test_the_lake_gives_the_moments_that_the_definitions_give_unit_by_unit(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    events = history(rng)
    sent = [*events, *rng.sample(events, 50)]
    rng.shuffle(sent)
    until = START + days(6)

    facts = facts_of(tmp_path, sent, METRICS, until=until)

    for wanted in METRICS:
        expected, absent = by_hand(events, wanted, until=until)
        found = {(p.variant, p.period): p.moments for p in facts.periods if p.metric == wanted.key}
        assert found == expected, wanted.key
        assert facts.absent.get(wanted.key, 0) == absent, wanted.key
    assert facts.absent["quantile_of_some"] > 0


def test_every_edge_of_the_bins_is_met_to_the_last_micro_unit() -> None:
    near = {edge + step for edge in EDGES for step in (-1, 0, 1)}
    values = sorted(near | {-MAX_VALUE, MAX_VALUE, EDGES[-1] * 2})
    table = ibis.memtable(pa.table({"value": [*map(Decimal, values), None]}, schema=WHOLE))

    found = ibis.duckdb.connect().to_pyarrow(binned(table)).to_pylist()

    assert len(found) == len(values) + 1
    assert all(row["bin"] == (None if row["value"] is None else bin_of(int(row["value"]))) for row in found)


def test_the_moments_of_every_kind_are_one_expression_that_other_engines_can_run() -> None:
    expression = moments_of(unit_expression(METRICS), METRICS, until_us=0)

    assert "UNION" in ibis.to_sql(expression, dialect="pyspark")
    exact = {name: str(kind) for name, kind in expression.schema().items() if kind.is_decimal()}
    assert {"total", "total_sq", "other_1", "value_other_2"} < set(exact)
    assert set(exact.values()) == {"decimal(38, 0)"}


def test_what_happened_before_the_first_exposure_is_read_as_far_back_as_the_lookback(tmp_path: Path) -> None:
    log = ListLog()
    spend = [(days(-3), 5), (days(-2), 7), (days(-1), 11), (days(1), 13)]
    for i, (age, revenue) in enumerate(spend):
        bought = an_event(f"o{i}", ORDERED, anonymous_id=None, user_id="a", at=START + age, revenue=revenue)
        log.append(received(bought, at=START + age))
    log.append(received(an_exposure("x1", "a", "banner", unit_type="user_id"), at=START + days(1)))
    export(log, tmp_path)
    # The file of three days before holds nothing that counts, and is not opened.
    oldest = min(read_manifest(tmp_path).of(EVENTS), key=lambda f: f.day)
    (tmp_path / oldest.path).write_bytes(b"not to be read")
    by_user = replace(EXPERIMENT, unit="user_id")
    before = metric("m", "mean", value="revenue", lookback_s=2 * DAY_S)

    with open_lake(tmp_path) as reader:
        facts = reader.facts(by_user, [before], until_us=to_micros(START + days(9)))

    (period,) = facts.periods
    assert period.moments == Moments.of([13_000_000], [18_000_000])
