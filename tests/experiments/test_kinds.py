from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.definitions import Metric, MetricKind, Test
from experiments.kinds import MAX_AMOUNT, MAX_VALUE, SECOND_US, SeenEvent, before_of, micro_of, numbers_of
from experiments.metrics import Aggregate
from experiments.moments import SCALE

WINDOW_S = 100
OF_SHARES = (
    MetricKind.CSAT,
    MetricKind.REPEAT_PURCHASE,
    MetricKind.CART_ABANDONMENT,
    MetricKind.FUNNEL,
)


def metric(kind: MetricKind, **changes: Any) -> Metric:
    settings: dict[str, Any] = {
        "key": "m",
        "kind": kind,
        "event": "a",
        "value": "v",
        "per": "b",
        "then": "b",
        "after_s": 40,
        "window_s": WINDOW_S,
    }
    return Metric(**{**settings, **changes})


def a(at_s: float, **properties: Any) -> SeenEvent:
    return SeenEvent("a", round(at_s * SECOND_US), properties)


def b(at_s: float, **properties: Any) -> SeenEvent:
    return SeenEvent("b", round(at_s * SECOND_US), properties)


amounts = st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-20, 20) | st.text(max_size=1)
seen = st.lists(
    st.builds(
        SeenEvent,
        st.sampled_from(["a", "b", "c"]),
        # Few moments, so that many events share one, and some lie on the ends of windows.
        st.sampled_from([-100, -50, -1, 0, 39, 40, 41, 99, 100, 101]).map(lambda s: s * SECOND_US),
        st.fixed_dictionaries({}, optional={"v": amounts, "currency": st.sampled_from([None, "EUR", "USD"])}),
    ),
    max_size=12,
)
metrics = st.builds(
    metric,
    st.sampled_from(MetricKind),
    lookback_s=st.sampled_from([0, 60]),
    cap=st.sampled_from([None, 2.5]),
    currency=st.sampled_from(["", "EUR"]),
    scale=st.sampled_from([None, (1, 10)]),
    factor=st.sampled_from([1.0, 0.35]),
    aggregate=st.sampled_from(Aggregate),
    minus=st.sampled_from(["", "m"]),
    where=st.sampled_from([{}, {"v": {"gt": 1}}, {"currency": {"ne": "USD"}}]),
)


@given(m=metrics, events=seen, data=st.data())
def test_the_order_in_which_events_arrive_changes_nothing(
    m: Metric, events: list[SeenEvent], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(events))

    assert numbers_of(m, shuffled) == numbers_of(m, events)
    assert before_of(m, shuffled) == before_of(m, events)


@given(m=metrics, events=seen)
def test_only_the_window_and_the_lookback_count(m: Metric, events: list[SeenEvent]) -> None:
    window = [e for e in events if 0 <= e.at_us < WINDOW_S * SECOND_US]
    lookback = [e for e in events if -m.lookback_s * SECOND_US <= e.at_us < 0]

    assert numbers_of(m, events) == numbers_of(m, window)
    assert before_of(m, events) == before_of(m, lookback)


@given(m=metrics, events=seen)
def test_a_kind_gives_as_many_numbers_as_its_test_takes(m: Metric, events: list[SeenEvent]) -> None:
    found = numbers_of(m, events)

    assert (found is None) <= (m.kind is MetricKind.QUANTILE)
    assert found is None or len(found) == (2 if m.kind.test is Test.RATIO else 1)
    no_covariate = not m.lookback_s or m.kind.test in (Test.CONVERSION, Test.QUANTILE)
    assert len(before_of(m, events)) == (0 if no_covariate else 1)


@given(events=seen, kind=st.sampled_from(OF_SHARES))
def test_a_share_lies_between_nothing_and_all(events: list[SeenEvent], kind: MetricKind) -> None:
    found = numbers_of(metric(kind), events)

    assert found is not None
    assert 0 <= found[0] <= found[1]


@given(events=seen)
def test_who_does_not_go_on_gives_up(events: list[SeenEvent]) -> None:
    went_on = numbers_of(metric(MetricKind.FUNNEL), events)
    gave_up = numbers_of(metric(MetricKind.CART_ABANDONMENT), events)

    assert went_on is not None
    assert gave_up is not None
    assert went_on[1] == gave_up[1] == went_on[0] + gave_up[0]


@given(events=seen)
def test_who_is_not_retained_has_churned(events: list[SeenEvent]) -> None:
    retained, churned = (numbers_of(metric(k), events) for k in (MetricKind.RETENTION, MetricKind.CHURN))

    assert retained is not None
    assert churned is not None
    assert retained[0] + churned[0] == SCALE


@given(m=metrics, events=seen)
def test_the_past_is_counted_like_a_window(m: Metric, events: list[SeenEvent]) -> None:
    m = replace(m, lookback_s=60, after_s=80)
    shifted = [replace(e, at_us=e.at_us + 60 * SECOND_US) for e in events]

    now = numbers_of(replace(m, window_s=60, after_s=0), shifted)
    assert before_of(m, events) in ((), (now or ())[:1])


@pytest.mark.parametrize(
    ("kind", "events", "expected"),
    [
        (MetricKind.RETENTION, [a(39.999999)], (0,)),
        (MetricKind.RETENTION, [a(40)], (SCALE,)),
        (MetricKind.RETENTION, [a(100)], (0,)),
        (MetricKind.CHURN, [a(10), a(99.999999)], (0,)),
        (MetricKind.CONVERSION, [a(0)], (SCALE,)),
        (MetricKind.CONVERSION, [a(-0.000001), a(100)], (0,)),
        (MetricKind.FUNNEL, [a(5), b(5)], (SCALE, SCALE)),
        (MetricKind.FUNNEL, [b(4), a(5)], (0, SCALE)),
        (MetricKind.FUNNEL, [a(3), b(4), a(5)], (SCALE, SCALE)),
        (MetricKind.FUNNEL, [b(4)], (0, 0)),
        (MetricKind.CART_ABANDONMENT, [a(5), b(100)], (SCALE, SCALE)),
        (
            MetricKind.NPS,
            [a(1, v=9), a(2, v=8.5), a(3, v=6), a(4, v=0), a(5, v=-1)],
            (-100 * SCALE, 4 * SCALE),
        ),
        (MetricKind.CSAT, [a(1, v=4), a(2, v=3.5), a(3, v=6), a(4)], (SCALE, 2 * SCALE)),
        (MetricKind.CES, [a(1, v=7), a(2, v=0.5), a(3, v="7")], (7 * SCALE, SCALE)),
        (MetricKind.RATIO, [a(1, v=3), b(1), b(2)], (3 * SCALE, 2 * SCALE)),
        (MetricKind.QUANTILE, [a(1)], (0,)),
        (MetricKind.QUANTILE, [b(1, v=3)], None),
    ],
)
def test_a_kind_counts_what_it_says(
    kind: MetricKind, events: Sequence[SeenEvent], expected: tuple[int, ...] | None
) -> None:
    assert numbers_of(metric(kind), events) == expected


@pytest.mark.parametrize(
    ("wanted", "told", "counts"),
    [
        (5, 5.0, True),
        (1, True, False),
        (True, True, True),
        ("1", 1, False),
        (None, None, True),
        ("x", "x", True),
        (1, [1], False),
        ("x", {"x": 1}, False),
        ({"gte": 2}, 2, True),
        ({"gt": 2}, "3", False),
    ],
)
def test_where_compares_as_json_and_never_nested_values(wanted: Any, told: Any, counts: bool) -> None:
    found = numbers_of(metric(MetricKind.COUNT, where={"p": wanted}), [a(1, p=told), a(2)])

    assert found == (SCALE * counts,)


def test_each_side_of_a_ratio_has_its_own_filter() -> None:
    m = metric(MetricKind.RATIO, value="", per="a", where={"ok": True}, per_where={"n": {"exists": True}})

    assert numbers_of(m, [a(1, ok=True), a(2, ok=True, n=1), a(3, n=2), b(4, ok=True, n=3)]) == (
        2 * SCALE,
        2 * SCALE,
    )


@pytest.mark.parametrize(
    ("aggregate", "values", "expected"),
    [
        (Aggregate.SUM, [3, 0.1, -1, None, "7", True], 2_100_000),
        (Aggregate.MAX, [3, 0.1, -1, None, "7", True], 3_000_000),
        (Aggregate.MIN, [3, 0.1, -1, None, "7", True], -1_000_000),
        (Aggregate.MAX, [-5, -2], -2_000_000),
        (Aggregate.MIN, [5, 2], 2_000_000),
        (Aggregate.MAX, [None, "7"], 0),
        (Aggregate.MIN, [], 0),
        (Aggregate.MIN, [1e300], MAX_VALUE),
    ],
)
@pytest.mark.parametrize("kind", [MetricKind.MEAN, MetricKind.LIFETIME_VALUE, MetricKind.RATIO])
def test_an_aggregate_looks_at_numbers_only(
    kind: MetricKind, aggregate: Aggregate, values: list[Any], expected: int
) -> None:
    events = [a(i, v=value) for i, value in enumerate(values)]

    found = numbers_of(metric(kind, aggregate=aggregate), [*events, a(8), a(99.5, w=50), a(100, v=999)])

    assert found is not None
    assert found[0] == expected


def test_the_aggregate_of_the_past_is_that_of_the_window() -> None:
    m = metric(MetricKind.MEAN, aggregate=Aggregate.MAX, lookback_s=60)

    assert before_of(m, [a(-61, v=9), a(-60, v=2), a(-1, v=1), a(0, v=7)]) == (2 * SCALE,)


@pytest.mark.parametrize(
    ("changes", "events", "expected"),
    [
        ({}, [a(1, v=100, m=12), a(2, v=10)], 21_000_000),
        ({}, [a(1, v=10, m=12)], -9_000_000),
        ({}, [a(1, v=-10)], -3_000_000),
        ({}, [], 0),
        ({"minus": ""}, [a(1, v=100, m=12)], 30_000_000),
        ({"factor": 0.333333}, [a(1, v=0.00001, m=0.000001)], 2),
        ({"factor": 0.333333}, [a(1, v=-0.00001, m=0.000001)], -4),
        ({"cap": 5.0}, [a(1, v=100, m=12)], 5_000_000),
        ({"cap": 5.0}, [a(1, m=12)], -5_000_000),
        ({"currency": "EUR"}, [a(1, v=100, m=1, currency="USD"), a(2, v=10, m=1, currency="EUR")], 2_000_000),
        ({"where": {"v": {"lt": 50}}}, [a(1, v=100, m=1), a(2, v=10, m=1)], 2_000_000),
        ({}, [a(1, v=1e15, m=1e15)], 300_000_000_000_000 - MAX_VALUE),
        ({"factor": 100.0}, [a(1, v=1e15)], MAX_VALUE),
    ],
)
def test_a_margin_is_a_part_of_the_sales_less_what_was_given(
    changes: dict[str, Any], events: Sequence[SeenEvent], expected: int
) -> None:
    assert numbers_of(metric(MetricKind.MARGIN, **{"factor": 0.3, "minus": "m"} | changes), events) == (
        expected,
    )


def test_where_filters_neither_per_nor_then() -> None:
    where = {"p": 1}

    assert numbers_of(metric(MetricKind.RATIO, where=where), [a(1, v=2), a(1, v=3, p=1), b(1)]) == (
        3 * SCALE,
        SCALE,
    )
    assert numbers_of(metric(MetricKind.FUNNEL, where=where), [a(1, p=1), b(2)]) == (SCALE, SCALE)
    assert numbers_of(metric(MetricKind.FUNNEL, where=where), [a(1), b(2), a(3, p=1)]) == (0, SCALE)


@pytest.mark.parametrize(
    ("told", "counts"), [("EUR", True), ("USD", False), (None, True), ({"is": "USD"}, True), (978, False)]
)
def test_an_event_of_another_currency_counts_on_neither_side_of_a_ratio(told: Any, counts: bool) -> None:
    m = metric(MetricKind.RATIO, currency="EUR")

    found = numbers_of(m, [a(1, v=3, currency=told), b(1, currency=told)])
    assert found == (3 * SCALE * counts, SCALE * counts)


def test_a_unit_is_winsorized_and_its_denominator_is_not() -> None:
    events = [a(1, v=-30), b(1), b(1), b(1)]

    assert numbers_of(metric(MetricKind.RATIO, cap=2.0), events) == (-2 * SCALE, 3 * SCALE)
    assert numbers_of(metric(MetricKind.COUNT, cap=2.0), [a(1)] * 3) == (2 * SCALE,)
    assert numbers_of(metric(MetricKind.MEAN), [a(1, v=1e15)]) == (MAX_VALUE,)
    assert numbers_of(metric(MetricKind.LIFETIME_VALUE, factor=-0.5, cap=3.0), [a(1, v=100)]) == (-3 * SCALE,)


def test_a_lifetime_value_drops_what_is_less_than_a_micro_unit() -> None:
    m = metric(MetricKind.LIFETIME_VALUE, factor=0.5)

    assert numbers_of(m, [a(1, v=0.000003)]) == (1,)
    assert numbers_of(m, [a(1, v=-0.000003)]) == (-1,)


@pytest.mark.parametrize(
    ("value", "micro"),
    [
        (3, 3 * SCALE),
        (0.1, 100_000),
        (0.0000005, 0),
        (0.0000015, 2),
        (10**400, MAX_AMOUNT),
        (-1e300, -MAX_AMOUNT),
        (float("inf"), None),
        (True, None),
        ("3", None),
        (None, None),
        ([3], None),
    ],
)
def test_an_amount_is_rounded_half_to_even(value: Any, micro: int | None) -> None:
    assert micro_of(value) == micro
