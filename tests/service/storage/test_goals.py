"""The Goals port, on both databases."""

from dataclasses import replace

from service.storage.analysis_records import GoalValue
from service.storage.ports import Store

FIRST = GoalValue(goal="grow", day="2027-01-09", digest="d1", sums='{"n":1}')


def test_values_come_back_by_goal_and_day_from_a_day_on(store: Store) -> None:
    other = replace(FIRST, goal="calm", day="2027-01-10")
    later = replace(FIRST, day="2027-01-10")
    store.put_goal_values([later, FIRST, other, replace(FIRST, goal="unasked")])

    assert store.goal_values(["grow", "calm"], since="2027-01-01") == [other, FIRST, later]
    assert store.goal_values(["grow"], since="2027-01-10") == [later]
    assert store.goal_values([], since="2027-01-01") == []


def test_a_day_has_one_value_the_last_that_was_put(store: Store) -> None:
    store.put_goal_values([FIRST])
    changed = replace(FIRST, digest="d2", sums='{"n":2}')

    store.put_goal_values([changed, replace(FIRST, day="2027-01-10")])

    assert store.goal_values(["grow"], since="") == [changed, replace(FIRST, day="2027-01-10")]


def test_nothing_to_put_is_harmless(store: Store) -> None:
    store.put_goal_values([])

    assert store.goal_values(["grow"], since="") == []
