"""What is decided about a phase is in the row that workers poll, on every adapter."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from service.storage import schema
from service.storage.analysis_records import Steering
from service.storage.sql import SqlStore
from service.storage.steering import read_steering, write_steering
from tests.service.storage.facts import NOW

SHIPPED = Steering(experiment="hero", phase=2, shipped="banner")
RAMPED = Steering(experiment="hero", phase=1, ramp_steps=2)


def test_a_decision_reaches_the_row_that_workers_poll(store: SqlStore) -> None:
    store.add_revision({}, "d", by="x", now=NOW)
    before = store.live_state()

    assert store.put_steering(SHIPPED, by="anna", now=NOW)
    assert store.put_steering(RAMPED, by="worker", now=NOW)

    state = store.live_state()
    assert state.version == before.version + 2
    assert state.steering == {("hero", 2): store.steerings()[1], ("hero", 1): store.steerings()[0]}
    assert [(one.phase, one.shipped, one.ramp_steps, one.changed_by) for one in store.steerings()] == [
        (1, "", 2, "worker"),
        (2, "banner", None, "anna"),
    ]
    assert {one.changed_at for one in state.steering.values()} == {NOW}
    assert (state.revision, state.killed) == (1, frozenset())


def test_the_same_decision_again_moves_nothing_and_keeps_who_made_it(store: SqlStore) -> None:
    store.put_steering(SHIPPED, by="anna", now=NOW)
    before = store.live_state()

    assert not store.put_steering(SHIPPED, by="worker", now=NOW + timedelta(days=1))

    after = store.live_state()
    assert after == before
    assert after.steering["hero", 2].changed_by == "anna"
    assert after.steering["hero", 2].changed_at == NOW


def test_a_later_decision_replaces_the_one_before_it(store: SqlStore) -> None:
    store.put_steering(Steering(experiment="hero", phase=1, ramp_steps=1), by="worker", now=NOW)

    assert store.put_steering(RAMPED, by="worker", now=NOW + timedelta(hours=1))

    found = store.live_state().steering["hero", 1]
    assert (found.ramp_steps, found.changed_at) == (2, NOW + timedelta(hours=1))


def test_shipping_and_its_end_leave_the_ramp_as_open_as_it_is(store: SqlStore) -> None:
    store.put_steering(RAMPED, by="worker", now=NOW)

    assert store.ship("hero", 1, "banner", by="anna", now=NOW + timedelta(hours=1))
    assert not store.ship("hero", 1, "banner", by="ben", now=NOW + timedelta(hours=2))
    shipped = store.live_state().steering["hero", 1]
    assert store.ship("hero", 1, "", by="ben", now=NOW + timedelta(hours=3))

    assert (shipped.shipped, shipped.ramp_steps, shipped.changed_by) == ("banner", 2, "anna")
    ended = store.live_state().steering["hero", 1]
    assert (ended.shipped, ended.ramp_steps, ended.changed_by) == ("", 2, "ben")


def test_when_something_was_shipped_is_kept_over_a_change_of_the_variant_and_after_the_end(
    store: SqlStore,
) -> None:
    store.ship("hero", 1, "banner", by="anna", now=NOW)
    store.ship("hero", 1, "popup", by="ben", now=NOW + timedelta(hours=1))
    shipped = store.live_state().steering["hero", 1]
    store.ship("hero", 1, "", by="ben", now=NOW + timedelta(hours=2))
    ended = store.live_state().steering["hero", 1]
    store.ship("hero", 1, "banner", by="ben", now=NOW + timedelta(hours=3))
    again = store.live_state().steering["hero", 1]

    assert (shipped.shipped_since, shipped.shipped_until) == (NOW, None)
    assert (ended.shipped_since, ended.shipped_until) == (NOW, NOW + timedelta(hours=2))
    assert (again.shipped_since, again.shipped_until) == (NOW + timedelta(hours=3), None)


def test_ending_what_was_never_shipped_changes_nothing(store: SqlStore) -> None:
    before = store.live_state()

    assert not store.ship("hero", 1, "", by="anna", now=NOW)

    assert store.live_state() == before
    assert store.steerings() == []


def test_what_is_cleared_is_gone_for_workers_too(store: SqlStore) -> None:
    store.put_steering(SHIPPED, by="anna", now=NOW)
    store.put_steering(RAMPED, by="anna", now=NOW)
    before = store.live_state()

    assert store.clear_steering("hero", 2)
    assert not store.clear_steering("hero", 2)
    assert not store.clear_steering("nobody", 1)

    after = store.live_state()
    assert after.version == before.version + 1
    assert list(after.steering) == [("hero", 1)]


def test_a_decision_is_written_with_its_reason_or_not_at_all(store: SqlStore) -> None:
    before = store.live_state()

    with pytest.raises(RuntimeError, match="banner"):
        _decide_and_fail(store)

    assert store.live_state() == before
    assert store.steerings() == []


def test_a_row_of_an_earlier_release_steers_nobody(store: SqlStore) -> None:
    store.set_killed("hero", killed=True, by="x", now=NOW)
    with store.writing() as connection:
        connection.execute(update(schema.live_state).values(steering=None))

    assert store.live_state().steering == {}


def test_what_is_steered_of_another_tenant_is_left_alone(store: SqlStore) -> None:
    other = SqlStore(store.place, tenant="other")
    other.put_steering(SHIPPED, by="anna", now=NOW)

    store.put_steering(RAMPED, by="anna", now=NOW)
    store.clear_steering("hero", 2)

    assert list(other.live_state().steering) == [("hero", 2)]
    assert list(store.live_state().steering) == [("hero", 1)]
    other.close()


def _decide_and_fail(store: SqlStore) -> None:
    with store.writing() as connection:
        write_steering(connection, store.tenant, SHIPPED, by="worker", now=NOW)
        raise RuntimeError(read_steering(connection, store.tenant, "hero", 2).shipped)
