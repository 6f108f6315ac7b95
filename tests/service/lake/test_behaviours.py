"""Who has done what, counted in the lake, against a count by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.definitions import Experiment, MetricPlan, Variant
from experiments.kinds import micro_of
from experiments.membership import Membership, frozen_name, person_of, tables
from experiments.targeting.conditions import Behaviour
from service.clock import to_micros
from service.lake import export_all
from service.lake.behaviours import UNIT_NAMES, holders
from service.lake.engines.duckdb import open_duckdb
from service.lake.rows import canonical_json
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received

VIEWED, ORDERED = "Product Viewed", "Order Completed"
TEA = Behaviour(event=VIEWED, where=(("category", "tea"),), at_least=3)
NOW = START + days(40)
EXPERIMENT = Experiment(
    key="free-shipping",
    variants=(
        Variant(key="control", value="", weight_bp=5_000),
        Variant(key="banner", value="x", weight_bp=5_000),
    ),
    metrics=MetricPlan(primary="purchase"),
)


def known(
    events: Sequence[Event],
    facts: Sequence[Behaviour],
    frozen: Sequence[Experiment] = (),
    *,
    now: datetime = NOW,
) -> Membership:
    log = ListLog()
    log.append(received(*events))
    with TemporaryDirectory() as lake:
        export_all(log, Path(lake))
        with open_duckdb(Path(lake)) as engine:
            found = holders(engine, facts, frozen, now_us=to_micros(now))
    return Membership(b"".join(tables(found.names, found.prints, found.masks)))


def holds(membership: Membership, fact: Behaviour, person: str) -> bool:
    return bool(membership.bits(person) & membership.names[fact.key])


def views(n: int, *, at: datetime = START, **told: Any) -> list[Event]:
    return [an_event(f"{at}-{told}-{i}", VIEWED, at=at, **told) for i in range(n)]


def test_three_views_of_tea_make_a_tea_fan_and_two_do_not() -> None:
    events = [
        *views(3, anonymous_id="fan", category="tea"),
        *views(2, anonymous_id="curious", category="tea"),
        *views(9, anonymous_id="curious", category="mud"),
        *views(9, anonymous_id="plain"),
    ]

    membership = known(events, [TEA])

    assert holds(membership, TEA, "a:fan")
    assert membership.count == 1


def test_an_event_with_both_ids_counts_for_both() -> None:
    events = [
        *views(2, anonymous_id="phone", user_id="maria", category="tea"),
        *views(1, anonymous_id="laptop", user_id="maria", category="tea"),
        *views(1, anonymous_id="phone", user_id=None, category="tea"),
    ]

    membership = known(events, [TEA])

    assert [holds(membership, TEA, who) for who in ("u:maria", "a:phone", "a:laptop")] == [True, True, False]
    by_unit = [membership.names[name] for name in UNIT_NAMES]
    assert [membership.bits(who) & (by_unit[0] | by_unit[1]) for who in ("a:phone", "u:maria")] == by_unit


@pytest.mark.parametrize(("ago", "inside"), [(0, True), (1, True), (7 * 86_400, False), (-300, True)])
def test_a_window_ends_now_and_a_clock_that_runs_ahead_is_no_way_out_of_it(ago: int, inside: bool) -> None:
    lately = Behaviour(event=VIEWED, within_s=7 * 86_400)

    membership = known(views(1, at=NOW - timedelta(seconds=ago)), [lately])

    assert holds(membership, lately, "a:v1") is inside


def test_money_is_added_up_exactly() -> None:
    spent = Behaviour(event=ORDERED, measure="sum", property="revenue", at_least=0.3)
    more = replace(spent, at_least=0.300001)
    events = [an_event(f"o{i}", ORDERED, revenue=0.1) for i in range(3)]

    membership = known(events, [spent, more])

    assert (holds(membership, spent, "a:v1"), holds(membership, more, "a:v1")) == (True, False)


def test_an_amount_beyond_any_number_is_met_by_nobody_and_stops_nothing() -> None:
    absurd = Behaviour(event=ORDERED, measure="sum", property="revenue", at_least=1e300)

    membership = known([an_event("o", ORDERED, revenue=1e12)], [absurd, Behaviour(event=ORDERED)])

    assert not holds(membership, absurd, "a:v1")
    assert membership.count == 1


def test_exposed_units_are_frozen_for_their_experiment_phase_and_kind_of_unit() -> None:
    by_store = replace(EXPERIMENT, key="counter", unit="store_id")
    events = [
        an_exposure("x1", "fan", "banner"),
        an_exposure("x2", "old", "banner", phase=0),
        an_exposure("x3", "maria", "banner", unit_type="user_id"),
        an_exposure("x4", "7", "control", experiment_key="counter", unit_type="store_id"),
    ]

    membership = known(events, [TEA], [EXPERIMENT, by_store])

    bit = membership.names[frozen_name("free-shipping", 1)]
    frozen = {who for who in ("a:fan", "a:old", "u:maria", "store_id:7") if membership.bits(who) & bit}
    assert frozen == {"a:fan"}
    assert membership.bits("store_id:7") == membership.names[frozen_name("counter", 1)]


def test_of_an_empty_lake_nobody_is_known_but_every_fact_is() -> None:
    membership = known([], [TEA], [EXPERIMENT])

    assert membership.count == 0
    assert {TEA.key, frozen_name("free-shipping", 1)} < set(membership.names)


# --- against a count by hand

IDS = st.one_of(st.none(), st.sampled_from(["1", "2", "é🍵"]))
VALUES = st.sampled_from(["tea", "mud", 5, 5.0, True, None, 0.1, -3, 2.5, 1e9])
EVENTS = st.builds(
    lambda i, kind, user, visitor, back, told: an_event(
        f"e{i}", kind, at=NOW - timedelta(hours=back), user_id=user, anonymous_id=visitor, **told
    ),
    st.integers(0, 10**9),
    st.sampled_from([VIEWED, ORDERED]),
    IDS,
    IDS,
    st.integers(0, 24 * 60),
    st.dictionaries(st.sampled_from(["category", "revenue"]), VALUES, max_size=2),
)
FACTS = st.builds(
    Behaviour,
    event=st.sampled_from([VIEWED, ORDERED]),
    where=st.one_of(st.just(()), VALUES.map(lambda value: (("category", value),))),
    measure=st.sampled_from(["count", "sum"]),
    property=st.just("revenue"),
    at_least=st.sampled_from([1, 2, 4, 0.1, 2.5, 10**9]),
    within_s=st.sampled_from([None, 86_400, 20 * 86_400]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(EVENTS, max_size=25, unique_by=lambda e: e.event_id), st.lists(FACTS, min_size=1, max_size=12)
)
def test_every_fact_holds_for_whom_a_count_by_hand_says(events: list[Event], facts: list[Behaviour]) -> None:
    facts = list({fact.key: fact for fact in facts}.values())

    membership = known(events, facts)

    for unit in ("anonymous_id", "user_id"):
        for unit_id in ("1", "2", "é🍵", "stranger"):
            mine = [event for event in events if getattr(event, unit) == unit_id]
            told = {fact.key for fact in facts if holds(membership, fact, person_of(unit, unit_id))}
            assert told == {fact.key for fact in facts if by_hand(fact, mine)}


def by_hand(fact: Behaviour, events: Sequence[Event]) -> bool:
    counted = [event.properties for event in events if event.type == fact.event and recent(fact, event)]
    counted = [told for told in counted if all(equal(told, name, value) for name, value in fact.where)]
    if fact.measure == "count":
        return len(counted) >= fact.at_least
    amounts = [micro_of(told.get("revenue")) or 0 for told in counted]
    return sum(amounts) >= fact.at_least * 1_000_000


def recent(fact: Behaviour, event: Event) -> bool:
    return fact.within_s is None or event.occurred_at > NOW - timedelta(seconds=fact.within_s)


def equal(told: Mapping[str, Any], name: str, value: object) -> bool:
    return name in told and canonical_json(told[name]) == canonical_json(value)
