"""Rows of other tools as events: what a column is, which id a row gets, what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from experiments.definitions import Experiment
from service.catalog.loader import load
from service.use_cases.import_mapping import As, Mapper, MappingError, Plan, make_plan
from service.use_cases.import_times import Times
from tests.server import CATALOG

EXPERIMENTS = load(CATALOG).catalog.experiments
MADRID = Times(zone=ZoneInfo("Europe/Madrid"), of_day=time(18))
CALLS = ("Customer no.=user_id", "Result=type", "Called=occurred_at", "Amount=revenue:number", "Agent=agent")
CALL = {"Customer no.": "007", "Result": "Sale", "Called": "2026-11-03", "Amount": "34.50", "Agent": "7"}


def live(key: str, _: datetime) -> Experiment | None:
    return EXPERIMENTS.get(key)


def outcomes(*maps: str, constants: tuple[str, ...] = ()) -> Plan:
    return make_plan(As.OUTCOMES, maps, constants, MADRID)


def exposures(*maps: str, constants: tuple[str, ...] = ()) -> Plan:
    return make_plan(As.EXPOSURES, maps, constants, MADRID)


def event_of(plan: Plan, row: dict[str, Any]) -> dict[str, Any]:
    event = Mapper(plan, live).event(row)
    assert event is not None
    return event


def test_a_row_of_a_call_centre_is_an_outcome() -> None:
    event = event_of(outcomes(*CALLS), {**CALL, "Name": "Maria"})

    assert event.pop("event_id").startswith("imp-")
    assert event == {
        "type": "Sale",
        "user_id": "007",
        "occurred_at": "2026-11-03T17:00:00.000000+00:00",
        "properties": {"revenue": 34.5, "agent": "7"},
    }


def test_columns_that_nobody_named_are_not_taken_and_are_told() -> None:
    mapper = Mapper(outcomes(*CALLS), live)

    event = mapper.event({**CALL, "E-mail": "maria@shop.example"})

    assert "maria@shop.example" not in str(event)
    assert mapper.columns_left == {"E-mail"}


def test_members_need_no_mapping_and_constants_are_in_every_row() -> None:
    plan = outcomes("total=revenue:number", constants=("type=Order Completed", "currency=EUR"))

    event = event_of(
        plan, {"event_id": "o-1", "user_id": 7, "occurred_at": "2026-11-03T09:00:00Z", "total": 12}
    )

    assert event == {
        "event_id": "o-1",
        "type": "Order Completed",
        "user_id": "7",
        "occurred_at": "2026-11-03T09:00:00.000000+00:00",
        "properties": {"currency": "EUR", "revenue": 12},
    }


def test_what_opportune_assign_wrote_is_a_file_of_exposures() -> None:
    row = {
        "unit": "v-1",
        "experiment": "button",
        "variant": "loud",
        "value": "BUY NOW",
        "decision": "enrolled",
        "phase": "1",
        "revision": "3",
    }

    event = event_of(exposures(constants=("occurred_at=2026-11-03T09:00:00Z",)), row)

    assert (event["type"], event["anonymous_id"]) == ("Experiment Viewed", "v-1")
    assert event["properties"] == {
        "experiment_key": "button",
        "variant_key": "loud",
        "unit_type": "anonymous_id",
        "unit_id": "v-1",
        "phase": 1,
        "revision": 3,
    }


def test_a_unit_that_was_not_enrolled_is_left_out() -> None:
    row = {"unit": "v-1", "experiment": "price", "variant": "default", "decision": "not_in_allocation"}

    assert Mapper(exposures(), live).event(row) is None


def test_an_e_mail_tool_names_the_variant_and_the_campaign_is_the_same_for_all() -> None:
    plan = exposures(
        "Subscriber=user_id", "Version=variant", "Sent=occurred_at", constants=("experiment=members",)
    )

    event = event_of(plan, {"Subscriber": "u-1", "Version": "gold", "Sent": "2026-11-03 09:15"})

    assert event["user_id"] == "u-1"
    assert event["properties"] == {
        "experiment_key": "members",
        "variant_key": "gold",
        "unit_type": "user_id",
        "unit_id": "u-1",
        "phase": 1,
    }


# --- ids


def test_the_same_rows_have_the_same_ids_and_equal_rows_are_two() -> None:
    rows = [CALL, CALL, {**CALL, "Amount": "1"}]

    first, second = ([Mapper(outcomes(*CALLS), live).event(row) for row in rows[:1]] for _ in range(2))
    mapper = Mapper(outcomes(*CALLS), live)
    ids = [event["event_id"] for row in rows if (event := mapper.event(row))]

    assert first == second
    assert len(set(ids)) == 3
    assert ids[1] == f"{ids[0]}-2"


def test_an_id_follows_from_the_moment_and_not_from_how_it_is_written() -> None:
    in_madrid = event_of(outcomes(*CALLS), {**CALL, "Called": "2026-11-03 18:00"})
    in_utc = event_of(outcomes(*CALLS), {**CALL, "Called": "2026-11-03T17:00:00Z"})

    assert in_madrid == in_utc


# --- what cannot be read


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("34,50", "column Amount: '34,50' has a comma; write 1234.50"),
        ("1,234.50", "has a comma"),
        ("34.50 EUR", "column Amount: '34.50 EUR' is no number such as 34.50"),
        ("1.2.3", "cannot be read"),
        ("NaN", "is no number"),
        ("true", "is no number"),
        (True, "is no number"),
    ],
)
def test_a_number_that_could_be_read_in_two_ways_or_in_none_is_refused(cell: object, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace(".", r"\.")):
        event_of(outcomes(*CALLS), {**CALL, "Amount": cell})


def test_a_time_that_cannot_be_read_names_its_column() -> None:
    with pytest.raises(ValueError, match="column Called: '03/11/2026' is no time"):
        event_of(outcomes(*CALLS), {**CALL, "Called": "03/11/2026"})


@pytest.mark.parametrize(
    ("rows_are", "maps", "constants", "why"),
    [
        (As.OUTCOMES, ["Amount"], [], "'Amount': expected --map COLUMN=MEMBER"),
        (As.OUTCOMES, ["Amount="], [], "expected --map"),
        (As.OUTCOMES, ["Amount=revenue:decimal"], [], "expected --map"),
        (As.OUTCOMES, [], ["type"], "expected --set MEMBER=VALUE"),
        (As.OUTCOMES, ["a=user_id", "b=user_id"], [], "'user_id' is said twice"),
        (As.OUTCOMES, ["a=type"], ["type=Sale"], "'type' is said twice"),
        (As.EXPOSURES, ["Version=variant"], ["variant_key=loud"], "'variant_key' is said twice"),
        (As.OUTCOMES, [], ["occurred_at=today"], "--set: 'today' is no time"),
        (As.EXPOSURES, ["Amount=revenue"], [], "an exposure has no 'revenue'; it has"),
    ],
)
def test_a_plan_that_is_said_wrongly_is_refused(
    rows_are: As, maps: list[str], constants: list[str], why: str
) -> None:
    with pytest.raises(MappingError, match=why):
        make_plan(rows_are, maps, constants, Times())


def test_the_name_of_a_column_may_hold_an_equals_sign() -> None:
    assert event_of(outcomes("a=b=user_id"), {"a=b": "u"})["user_id"] == "u"


def test_an_exposure_has_the_phase_of_its_time_and_an_id_that_no_later_phase_changes() -> None:
    def later(key: str, at: datetime) -> Experiment | None:
        found = EXPERIMENTS.get(key)
        return replace(found, phase=2) if found and at >= datetime(2026, 11, 10, tzinfo=UTC) else found

    plan = exposures(constants=("experiment=button",))
    row = {"unit": "x1", "variant": "control", "occurred_at": "2026-11-09T10:00:00Z"}
    before, after = (Mapper(plan, find).event(row) for find in (live, later))
    second = Mapper(plan, later).event({**row, "occurred_at": "2026-11-10T10:00:00Z"})
    relaunched = Mapper(plan, lambda key, _: later(key, datetime.max.replace(tzinfo=UTC))).event(row)

    assert before == after
    assert before is not None
    assert second is not None
    assert relaunched is not None
    assert (before["properties"]["phase"], second["properties"]["phase"]) == (1, 2)
    assert relaunched["event_id"] == before["event_id"]
