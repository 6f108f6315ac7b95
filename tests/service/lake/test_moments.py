import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import ibis.expr.types as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.definitions import Experiment, Metric, MetricKind, MetricPlan, Variant
from service.clock import to_micros
from service.lake import export, read_manifest
from service.lake.columns import Wanted
from service.lake.engines.duckdb import open_duckdb
from service.lake.manifest import EVENTS, EXPOSURES, SCHEMAS
from service.lake.moments import Facts, open_lake
from service.lake.numbers import events_of
from service.lake.sums import moments_of
from service.lake.unit_rows import with_sums, with_values
from service.lake.units import units_of
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received

CONTROL, BANNER = "control", "banner"
DAY_S = 86_400
PURCHASE = Metric(key="purchase", kind=MetricKind.CONVERSION, event="Order Completed", window_s=2 * DAY_S)
ORDERS = Metric(key="orders", kind=MetricKind.COUNT, event="Order Completed", window_s=DAY_S)
REVENUE = Metric(
    key="revenue",
    kind=MetricKind.MEAN,
    event="Order Completed",
    value="revenue",
    currency="EUR",
    window_s=2 * DAY_S,
    cap=50.0,
)
TEA = Metric(
    key="tea",
    kind=MetricKind.COUNT,
    event="Order Completed",
    where={"kind": "tea", "n": 5},
    window_s=3 * DAY_S,
)
METRICS = (PURCHASE, ORDERS, REVENUE, TEA)
EXPERIMENT = Experiment(
    key="free-shipping",
    variants=(
        Variant(key=CONTROL, value="", weight_bp=5_000),
        Variant(key=BANNER, value="x", weight_bp=5_000),
    ),
    metrics=MetricPlan(primary="purchase"),
)


def facts_of(lake: Path, events: Sequence[Event], *, until: datetime, step: int = 1_000) -> Facts:
    log = ListLog()
    log.append(received(*events))
    while export(log, lake, limit=step) < log.last_seq():
        pass
    with open_lake(lake) as reader:
        return reader.facts(EXPERIMENT, METRICS, until_us=to_micros(until))


def moments(facts: Facts, metric: str) -> dict[tuple[str, date], tuple[int, int, int]]:
    return {
        (p.variant, p.period): (p.moments.n, p.moments.total, p.moments.total_sq)
        for p in facts.periods
        if p.metric == metric
    }


def test_a_unit_enters_the_day_its_window_ends_with_what_it_did_inside(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "a", BANNER, at=START),
        an_exposure("x2", "a", BANNER, at=START + days(1)),
        an_exposure("x3", "b", CONTROL, at=START),
        an_event("o1", "Order Completed", anonymous_id="a", at=START, revenue=19.99),
        an_event("o2", "Order Completed", anonymous_id="a", at=START + days(1), revenue=0.01, currency="EUR"),
        an_event("o3", "Order Completed", anonymous_id="a", at=START + days(2), revenue=100),
        an_event("o4", "Order Completed", anonymous_id="a", at=START - timedelta(microseconds=1), revenue=9),
        an_event("o5", "Order Completed", anonymous_id="b", at=START, revenue=80),
        an_event("o6", "Order Completed", anonymous_id="a", at=START, revenue=7, currency="GBP"),
    ]

    facts = facts_of(tmp_path, events, until=START + days(2))

    ends = date(2026, 3, 4)
    assert moments(facts, "purchase") == {
        (BANNER, ends): (1, 1_000_000, 10**12),
        (CONTROL, ends): (1, 1_000_000, 10**12),
    }
    assert moments(facts, "revenue") == {
        (BANNER, ends): (1, 20_000_000, 4 * 10**14),
        (CONTROL, ends): (1, 50_000_000, 25 * 10**14),
    }
    assert moments(facts, "orders")[BANNER, date(2026, 3, 3)] == (1, 2_000_000, 4 * 10**12)
    assert facts.n_events == 3
    assert facts.first_us == to_micros(START)
    assert {v: (u.exposed, u.multiple_variants) for v, u in facts.units.items()} == {
        BANNER: (1, 0),
        CONTROL: (1, 0),
    }


def test_a_window_that_is_still_open_counts_nothing(tmp_path: Path) -> None:
    events = [an_exposure("x1", "a", BANNER), an_event("o1", "Order Completed", anonymous_id="a")]

    facts = facts_of(tmp_path, events, until=START + days(2) - timedelta(microseconds=1))

    assert moments(facts, "purchase") == {}
    assert sum(m[0] for m in moments(facts, "orders").values()) == 1


def test_units_that_saw_several_variants_are_counted_and_left_out(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "a", BANNER, at=START),
        an_exposure("x2", "a", CONTROL, at=START - days(1)),
        an_exposure("x3", "b", CONTROL),
    ]

    facts = facts_of(tmp_path, events, until=START + days(9))

    assert {v: (u.exposed, u.multiple_variants) for v, u in facts.units.items()} == {CONTROL: (2, 1)}
    assert [(a.variant, a.n) for a in facts.arrivals] == [(CONTROL, 1)]


def test_another_phase_and_another_experiment_do_not_mix_in(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "a", BANNER, phase=2),
        an_exposure("x2", "a", BANNER, experiment_key="other"),
    ]

    facts = facts_of(tmp_path, events, until=START + days(9))

    assert (facts.n_events, facts.first_us, facts.units, facts.periods) == (0, None, {}, ())


def test_an_empty_lake_has_no_facts(tmp_path: Path) -> None:
    with open_lake(tmp_path) as reader:
        facts = reader.facts(EXPERIMENT, METRICS, until_us=0)

        assert (facts.n_events, facts.arrivals, facts.periods) == (0, (), ())
        assert reader.last_occurred_us() == ()


def test_properties_match_by_json_type_and_value(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "a", BANNER),
        an_event("o1", "Order Completed", anonymous_id="a", kind="tea", n=5),
        an_event("o2", "Order Completed", anonymous_id="a", kind="tea", n=5.0),
        an_event("o3", "Order Completed", anonymous_id="a", kind="tea", n="5"),
        an_event("o4", "Order Completed", anonymous_id="a", kind="tea", n=True),
        an_event("o5", "Order Completed", anonymous_id="a", kind="tea"),
    ]

    facts = facts_of(tmp_path, events, until=START + days(3))

    assert moments(facts, "tea") == {(BANNER, date(2026, 3, 5)): (1, 2_000_000, 4 * 10**12)}


def test_sums_of_squares_do_not_overflow_at_absurd_values(tmp_path: Path) -> None:
    uncapped = Metric(key="sum", kind=MetricKind.MEAN, event="Order Completed", value="v", window_s=DAY_S)
    log = ListLog()
    units = [f"u{i}" for i in range(300)]
    log.append(received(*(an_exposure(f"x{u}", u, BANNER) for u in units)))
    orders = (an_event(f"o{u}", "Order Completed", anonymous_id=u, v=1e308) for u in units)
    log.append(received(*orders))
    export(log, tmp_path)

    with open_lake(tmp_path) as reader:
        facts = reader.facts(EXPERIMENT, [uncapped], until_us=to_micros(START + days(1)))

    assert moments(facts, "sum") == {(BANNER, date(2026, 3, 3)): (300, 300 * 10**15, 300 * 10**30)}


@pytest.mark.parametrize("unit", ["user_id", "account_id"])
def test_the_unit_may_be_a_user_or_a_property(tmp_path: Path, unit: str) -> None:
    log = ListLog()
    log.append(
        received(
            an_exposure("x1", "acme", BANNER, unit_type=unit),
            an_event("o1", "Order Completed", user_id="acme", account_id="acme"),
            an_event("o2", "Order Completed", user_id="else", account_id=7),
        )
    )
    export(log, tmp_path)
    experiment = Experiment(
        key="free-shipping", variants=EXPERIMENT.variants, metrics=EXPERIMENT.metrics, unit=unit
    )

    with open_lake(tmp_path) as reader:
        facts = reader.facts(experiment, [ORDERS], until_us=to_micros(START + days(1)))

    assert moments(facts, "orders") == {(BANNER, date(2026, 3, 3)): (1, 1_000_000, 10**12)}


def test_files_that_hold_nothing_of_an_experiments_time_are_not_opened(tmp_path: Path) -> None:
    # Of visitors it is asked besides who they are, whenever they said so: that takes all files.
    experiment = replace(EXPERIMENT, unit="user_id")
    log = ListLog()
    spans = (
        (START - days(900), START - days(300)),
        (START, START + days(1)),
        (START + days(8), START + days(9)),
    )
    for number, (first, last) in enumerate(spans):
        orders = [
            an_event(f"o{number}-{i}", "Order Completed", user_id="v1", at=at)
            for i, at in enumerate((first, last))
        ]
        # Received in turn, whenever they occurred: a day of receipt says nothing of a day of occurrence.
        seen = [an_exposure("x1", "v1", BANNER)] if number == 1 else []
        log.append(received(*orders, *seen, at=START + days(number)))
    export(log, tmp_path)
    with open_lake(tmp_path) as reader:
        whole = reader.facts(experiment, METRICS, until_us=to_micros(START + days(30)))
    for file in read_manifest(tmp_path).of(EVENTS)[::2]:
        (tmp_path / file.path).write_bytes(b"not to be read")

    with open_lake(tmp_path) as reader:
        again = reader.facts(experiment, METRICS, until_us=to_micros(START + days(30)))

    assert again == whole
    assert moments(whole, "orders") == {(BANNER, date(2026, 3, 3)): (1, 1_000_000, 1_000_000 * 1_000_000)}


def test_a_manifest_that_does_not_know_when_its_rows_occurred_leaves_no_file_out(tmp_path: Path) -> None:
    visits = [an_exposure("x1", "v1", BANNER), an_event("o1", "Order Completed", at=START + days(0.5))]
    new = facts_of(tmp_path, visits, until=START + days(30))
    told = json.loads((tmp_path / "manifest.json").read_text())
    for entry in told["files"]:
        del entry["first_us"], entry["last_us"]
    (tmp_path / "manifest.json").write_text(json.dumps(told))

    with open_lake(tmp_path) as reader:
        assert reader.facts(EXPERIMENT, METRICS, until_us=to_micros(START + days(30))) == new


def test_what_does_not_fit_in_memory_is_spilled_below_the_lake_and_cleared(tmp_path: Path) -> None:
    with open_duckdb(tmp_path) as engine:
        ((told,),) = engine.connection.con.sql("select current_setting('temp_directory')").fetchall()
        left = tmp_path / ".spill-of-a-killed-process"
        left.mkdir()

    assert Path(told).parent == tmp_path
    assert not Path(told).exists()
    log = ListLog()
    log.append(received(an_event("e1")))
    export(log, tmp_path)
    assert not left.exists()


def test_the_newest_events_tell_the_time_whenever_they_came(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(*(an_event(f"e{i}", at=START - timedelta(seconds=i)) for i in range(5))))
    export(log, tmp_path)

    with open_lake(tmp_path) as reader:
        newest = reader.last_occurred_us(2)

    assert newest == (to_micros(START), to_micros(START - timedelta(seconds=1)))


def test_the_moments_are_one_expression_that_other_engines_can_run() -> None:
    expression = moments_of(unit_expression(METRICS), METRICS, until_us=0)

    assert "UNION" in ibis.to_sql(expression, dialect="pyspark")
    assert expression.schema()["total_sq"].is_decimal()


def unit_expression(metrics: Sequence[Metric]) -> ir.Table:
    """Return the unit rows over tables that no engine has."""
    wanted = Wanted.of(metrics, "anonymous_id")
    exposures = ibis.table(ibis.Schema.from_pyarrow(SCHEMAS[EXPOSURES]), name="exposures")
    own = {"seq": "int64", "type": "string", "user_id": "string", "anonymous_id": "string"}
    facts = {wanted.fact(name): "string" for name in wanted.facts}
    amounts = {wanted.amount(name): "int64" for name in wanted.amounts}
    events = ibis.table(own | {"occurred_us": "int64"} | facts | amounts, name="events")
    read, reads = events_of(events, wanted, unit="anonymous_id", metrics=metrics)
    return with_values(with_sums(units_of(exposures), read, reads, metrics=metrics), metrics)


# --- the same in plain Python ---------------------------------------------------------------------


def micro(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int((Decimal(repr(value)) * 1_000_000).to_integral_value(ROUND_HALF_EVEN))


def unit_value(metric: Metric, events: Sequence[Event]) -> int:
    if metric.kind is MetricKind.CONVERSION:
        return 1_000_000 if events else 0
    if metric.kind is MetricKind.COUNT:
        return len(events) * 1_000_000
    in_currency = [e for e in events if e.properties.get("currency") in (None, metric.currency)]
    total = sum(micro(e.properties.get(metric.value)) for e in in_currency)
    cap = micro(metric.cap)
    return max(-cap, min(cap, total))


def matches(metric: Metric, event: Event) -> bool:
    return event.type == metric.event and all(
        type(event.properties.get(name)) is type(wanted) and event.properties[name] == wanted
        for name, wanted in metric.where.items()
    )


def by_hand(
    events: Sequence[Event], metric: Metric, *, until: datetime
) -> dict[object, tuple[int, int, int]]:
    unique = list({e.event_id: e for e in reversed(events)}.values())
    shown = [e for e in unique if e.type == "Experiment Viewed"]
    sums: dict[object, tuple[int, int, int]] = {}
    for unit in {e.properties["unit_id"] for e in shown}:
        mine = [e for e in shown if e.properties["unit_id"] == unit]
        variants = {e.properties["variant_key"] for e in mine}
        first = min(e.occurred_at for e in mine)
        end = first + timedelta(seconds=metric.window_s)
        if len(variants) > 1 or end > until:
            continue
        inside = [
            e
            for e in unique
            if e.anonymous_id == unit and first <= e.occurred_at < end and matches(metric, e)
        ]
        value = unit_value(metric, inside)
        key = (variants.pop(), end.astimezone(UTC).date())
        n, total, total_sq = sums.get(key, (0, 0, 0))
        sums[key] = (n + 1, total + value, total_sq + value * value)
    return sums


units_ = st.sampled_from(["a", "b", "c", "d"])
hours = st.integers(0, 5 * 24 * 4).map(lambda quarter: START + timedelta(minutes=15 * quarter))
event_ids = st.integers(0, 60).map(lambda i: f"e{i}")
amounts = st.one_of(
    st.integers(-100, 100),
    st.floats(-100, 100, allow_nan=False),
    st.sampled_from([0.1, 0.2, 0.0000005, 0.0000015, "5", None, True]),
)
orders = st.builds(
    lambda event_id, unit, at, told: an_event(event_id, "Order Completed", anonymous_id=unit, at=at, **told),
    event_ids,
    units_,
    hours,
    st.fixed_dictionaries(
        {},
        optional={
            "revenue": amounts,
            "currency": st.sampled_from(["EUR", "GBP", None]),
            "kind": st.sampled_from(["tea", "cup"]),
            "n": st.sampled_from([5, 6]),
        },
    ),
)
exposures_ = st.builds(
    lambda event_id, unit, at, other: an_exposure(
        event_id, unit, BANNER if (unit in "ab") != other else CONTROL, at=at
    ),
    event_ids,
    units_,
    hours,
    st.sampled_from([False] * 9 + [True]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=st.lists(st.one_of(orders, exposures_), max_size=40),
    until=hours,
    step=st.integers(1, 50),
    data=st.data(),
)
def test_moments_equal_those_by_hand_in_any_order_with_any_repeats(
    events: list[Event], until: datetime, step: int, data: st.DataObject
) -> None:
    once = list({e.event_id: e for e in events}.values())
    shuffled = data.draw(st.permutations(once + once[:3]))

    with TemporaryDirectory() as folder:
        facts = facts_of(Path(folder), shuffled, until=until, step=step)

    for metric in METRICS:
        assert moments(facts, metric.key) == by_hand(once, metric, until=until)
    shown = [e for e in once if e.type == "Experiment Viewed"]
    assert facts.n_events == len(shown)
    assert sum(u.exposed for u in facts.units.values()) == len({e.properties["unit_id"] for e in shown})
