"""Visitors who are one person, and which of them spoil a comparison."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.definitions import Experiment
from service.lake import export_all
from service.lake.contamination import contaminated_of, people_of
from service.lake.moments import open_lake
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received
from tests.service.lake.test_moments import BANNER, CONTROL, EXPERIMENT, PURCHASE, unit_expression


def contaminated(lake: Path, events: Sequence[Event], *, experiment: Experiment = EXPERIMENT) -> int:
    log = ListLog()
    log.append(received(*events))
    export_all(log, lake)
    with open_lake(lake) as reader:
        return reader.facts(experiment, [PURCHASE], until_us=0).contaminated


def a_link(visitor: str, user: str, minute: int = 0) -> Event:
    at = START + timedelta(minutes=minute)
    return an_event(f"{visitor}-{user}-{minute}", anonymous_id=visitor, user_id=user, at=at)


def test_both_units_of_a_person_who_saw_two_variants_are_counted(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "phone", BANNER),
        an_exposure("x2", "laptop", CONTROL),
        an_exposure("x3", "somebody", CONTROL),
        a_link("phone", "maria"),
        a_link("laptop", "maria"),
        a_link("somebody", "jo"),
    ]

    assert contaminated(tmp_path, events) == 2


def test_a_person_who_saw_one_variant_everywhere_is_none(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "phone", BANNER),
        an_exposure("x2", "laptop", BANNER),
        a_link("phone", "maria"),
        a_link("laptop", "maria"),
    ]

    assert contaminated(tmp_path, events) == 0


def test_a_unit_that_is_left_out_anyway_is_not_counted_but_spoils_the_other(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "phone", BANNER),
        an_exposure("x2", "phone", CONTROL, at=START + days(1)),
        an_exposure("x3", "laptop", BANNER),
        a_link("phone", "maria"),
        a_link("laptop", "maria"),
    ]

    assert contaminated(tmp_path, events) == 1


def test_a_shared_device_belongs_to_who_was_there_first_and_joins_nobody(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "kiosk", BANNER),
        an_exposure("x2", "phone", CONTROL),
        a_link("kiosk", "maria", 1),
        a_link("kiosk", "jo", 2),
        a_link("phone", "jo", 0),
    ]

    assert contaminated(tmp_path, events) == 0


def test_an_alias_is_a_link_too(tmp_path: Path) -> None:
    events = [
        an_exposure("x1", "phone", BANNER),
        an_exposure("x2", "laptop", CONTROL),
        an_event("a1", "User Aliased", anonymous_id=None, user_id="maria", previous_id="phone"),
        an_event("a2", "User Aliased", anonymous_id=None, user_id="maria", previous_id=7),
        a_link("laptop", "maria"),
    ]

    assert contaminated(tmp_path, events) == 2


@pytest.mark.parametrize("changes", [{"phase": 2}, {"experiment_key": "other"}])
def test_another_phase_and_another_experiment_spoil_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    events = [
        an_exposure("x1", "phone", BANNER),
        an_exposure("x2", "laptop", CONTROL, **changes),
        a_link("phone", "maria"),
        a_link("laptop", "maria"),
    ]

    assert contaminated(tmp_path, events) == 0


def test_units_that_are_no_visitors_are_who_they_are(tmp_path: Path) -> None:
    told = [
        an_exposure("x1", "maria", BANNER, unit_type="user_id"),
        an_exposure("x2", "jo", CONTROL, unit_type="user_id"),
        a_link("maria", "one"),
        a_link("jo", "one"),
    ]

    assert contaminated(tmp_path, told, experiment=replace(EXPERIMENT, unit="user_id")) == 0


def test_other_engines_can_run_it() -> None:
    links = {"user_id": "string", "anonymous_id": "string", "previous": "string", "occurred_us": "int64"}

    expression = contaminated_of(unit_expression([PURCHASE]), people_of(ibis.table(links, name="links")))

    assert "ROW_NUMBER()" in ibis.to_sql(expression, dialect="pyspark")


# --- the same in plain Python ---------------------------------------------------------------------


def by_hand(events: Sequence[Event]) -> int:
    links = [(e.anonymous_id, e.occurred_at, e.user_id) for e in events if e.anonymous_id and e.user_id]
    people = {visitor: min((at, user) for v, at, user in links if v == visitor)[1] for visitor, _, _ in links}
    of_unit, of_person = defaultdict(set), defaultdict(set)
    for event in events:
        if event.type == "Experiment Viewed" and event.anonymous_id in people:
            of_unit[event.anonymous_id].add(event.properties["variant_key"])
            of_person[people[event.anonymous_id]].add(event.properties["variant_key"])
    return sum(1 for unit, seen in of_unit.items() if len(seen) == 1 and len(of_person[people[unit]]) > 1)


visitors = st.sampled_from(["a", "b", "c", "d", "e"])
links_ = st.builds(a_link, visitors, st.sampled_from(["u", "v"]), st.integers(0, 3))
shown_ = st.builds(
    lambda visitor, variant: an_exposure(f"{visitor}-{variant}", visitor, variant),
    visitors,
    st.sampled_from([BANNER, CONTROL]),
)


@settings(max_examples=40)
@given(
    events=st.lists(st.one_of(links_, shown_), max_size=16, unique_by=lambda e: e.event_id), data=st.data()
)
def test_the_count_equals_that_by_hand_in_any_order(events: list[Event], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(events))

    with TemporaryDirectory() as folder:
        assert contaminated(Path(folder), shuffled) == by_hand(events)
