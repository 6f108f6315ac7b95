from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.definitions import Catalog, Experiment
from experiments.launch import MovedUnits, moved_units, review
from experiments.lifecycle import RampStep, Schedule, Status
from experiments.targeting import parse_condition
from tests.experiments.builders import experiment, variants

NOW = datetime(2027, 5, 1, tzinfo=UTC)
LATER = datetime(2027, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def blocked(old: Experiment, new: Experiment | None, **kw: Any) -> tuple[str, ...]:
    return review(
        Catalog(experiments={"banner": old}), Catalog(experiments={"banner": new} if new else {}), **kw
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variants": variants(7_000, 3_000)}, "variants changed; that needs a new phase: set 'phase: 3'"),
        ({"unit": "user_id"}, "unit changed"),
        ({"phase": 1}, "phase 2 cannot go back to 1"),
        ({"allocation_bp": 1_000}, "may only grow (from 50% to 10%)"),
        ({"status": Status.DRAFT}, "cannot become a draft again"),
    ],
)
@pytest.mark.parametrize("status", [Status.RUNNING, Status.PAUSED])
def test_what_would_move_units_of_a_begun_experiment_is_refused(
    status: Status, changes: dict[str, Any], words: str
) -> None:
    old = experiment(status=status, phase=2, allocation_bp=5_000)

    assert [words in message for message in blocked(old, replace(old, **changes))] == [True]


def test_a_new_phase_allows_everything() -> None:
    old = experiment(allocation_bp=5_000)
    new = replace(old, phase=2, unit="user_id", variants=variants(7_000, 3_000), allocation_bp=100)

    assert blocked(old, new) == ()


def test_a_ramp_up_and_a_change_of_audience_are_allowed() -> None:
    old = experiment(allocation_bp=5_000)
    new = replace(old, allocation_bp=10_000, audience=parse_condition({"country": "ES"}))

    assert blocked(old, new) == ()


def test_a_draft_may_change_in_any_way() -> None:
    old = experiment(status=Status.DRAFT)

    assert blocked(old, experiment(unit="user_id")) == ()
    assert blocked(old, None) == ()


def test_a_stopped_key_is_never_used_again_but_its_file_may_go() -> None:
    old = experiment(status=Status.STOPPED)

    assert "never used again" in blocked(old, replace(old, status=Status.RUNNING, phase=2))[0]
    assert blocked(old, None) == ()


def test_a_running_experiment_is_stopped_before_it_is_removed() -> None:
    assert "stop it before" in blocked(experiment(), None)[0]


def test_a_scheduled_experiment_is_free_until_it_begins() -> None:
    old = experiment(status=Status.SCHEDULED, schedule=Schedule(start_at=LATER))
    new = replace(old, unit="user_id")

    assert blocked(old, new, now=datetime(2027, 5, 1, tzinfo=UTC)) == ()
    assert blocked(old, new, now=LATER)
    assert blocked(old, new)


@pytest.mark.parametrize("status", [Status.RUNNING, Status.SCHEDULED, Status.PAUSED])
def test_what_has_begun_does_not_begin_again_later_in_the_same_phase(status: Status) -> None:
    later = replace(experiment(), status=status, schedule=Schedule(start_at=LATER))

    found = blocked(experiment(), later, now=NOW)
    assert [
        "its start may not move into the future: pause it instead, or set 'phase: 2'" in f for f in found
    ] == [True]
    assert blocked(experiment(), replace(later, phase=2), now=NOW) == ()


def test_what_waits_for_its_second_phase_is_not_as_if_it_had_never_been() -> None:
    waits = experiment(phase=2, schedule=Schedule(start_at=LATER))

    assert "phase 2 cannot go back to 1" in blocked(waits, replace(waits, phase=1), now=NOW)[0]
    assert "cannot become a draft" in blocked(waits, replace(waits, status=Status.DRAFT), now=NOW)[0]
    assert "stop it before it is removed" in blocked(waits, None, now=NOW)[0]
    assert blocked(waits, replace(waits, variants=variants(7_000, 3_000), unit="user_id"), now=NOW) == ()
    assert blocked(waits, replace(waits, status=Status.STOPPED), now=NOW) == ()


def test_what_was_paused_before_its_start_may_still_wait_for_it() -> None:
    waits = experiment(status=Status.PAUSED, schedule=Schedule(start_at=LATER))

    assert blocked(waits, replace(waits, status=Status.RUNNING), now=NOW) == ()


def test_a_ramp_begins_with_its_first_step_that_enrols_somebody() -> None:
    steps = (RampStep(NOW - DAY, 0), RampStep(NOW, 1_000), RampStep(LATER, 10_000))
    old = experiment(ramp=steps)

    assert blocked(old, replace(old, unit="user_id"), now=NOW - DAY) == ()
    assert blocked(old, replace(old, unit="user_id"), now=NOW)


def test_the_first_catalog_may_be_anything() -> None:
    assert review(None, Catalog(experiments={"banner": experiment()})) == ()


@given(share=st.integers(0, 10_000), unit_ids=st.sets(st.text(min_size=1), max_size=50))
def test_moved_units_add_up(share: int, unit_ids: set[str]) -> None:
    old = experiment(allocation_bp=share)
    new = experiment(variants=variants(8_000, 2_000), allocation_bp=10_000 - share)

    moved = moved_units(old, new, unit_ids)
    assert moved.enrolled == moved.stay + moved.move + moved.leave
    assert moved.enrolled + moved.join <= len(unit_ids)
    assert moved_units(old, old, unit_ids) == MovedUnits(enrolled=moved.enrolled, stay=moved.enrolled)


def test_a_change_of_weights_moves_the_share_that_changed_hands() -> None:
    units = [f"u{i}" for i in range(20_000)]

    moved = moved_units(experiment(), experiment(variants=variants(7_000, 3_000)), units)
    assert abs(moved.move / 20_000 - 0.2) < 0.01
    assert moved.leave == moved.join == 0
