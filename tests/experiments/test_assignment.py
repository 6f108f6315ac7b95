from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.allocation import bucket_ranges, unit_id_of, unit_text
from experiments.assignment import (
    Assignment,
    MissingUnitError,
    Reason,
    compile_catalog,
    variant_of,
)
from experiments.definitions import Catalog, Experiment, Flag
from experiments.errors import UnknownFlagError
from experiments.identifiers import is_identifier
from experiments.lifecycle import Schedule, Status
from experiments.targeting import parse_condition
from tests.experiments.builders import experiment, variants

NOW = datetime(2027, 3, 1, tzinfo=UTC)
SPAIN = parse_condition({"country": "ES"})


def assign(
    definition: Experiment | Flag, context: dict[str, Any], *, now: datetime = NOW, **kw: Any
) -> Assignment:
    experiments = {definition.key: definition} if isinstance(definition, Experiment) else {}
    flags = {definition.key: definition} if isinstance(definition, Flag) else {}
    return compile_catalog(Catalog(experiments=experiments, flags=flags), **kw).assign(
        definition.key, context, now=now
    )


def summary(answer: Assignment) -> tuple[str, Reason, str, bool]:
    return answer.variant_key, answer.reason, answer.decision, answer.enrolled


def test_a_running_experiment_enrols_its_units() -> None:
    answer = assign(experiment(phase=3), {"targetingKey": "user-1"})

    assert answer.variant_key in ("a", "b")
    assert answer.value == answer.variant_key.upper()
    assert (answer.reason, answer.decision, answer.enrolled, answer.phase) == (
        Reason.SPLIT,
        "enrolled",
        True,
        3,
    )


@pytest.mark.parametrize(
    ("changes", "context", "reason", "decision"),
    [
        ({"audience": SPAIN}, {}, Reason.DEFAULT, "not_in_audience"),
        ({"allocation_bp": 0}, {}, Reason.DEFAULT, "not_in_allocation"),
        ({"unit": "user_id"}, {"anonymous_id": "x"}, Reason.DEFAULT, "no_unit"),
        ({"status": Status.PAUSED}, {}, Reason.DISABLED, "not_running"),
        ({"status": Status.STOPPED}, {}, Reason.DISABLED, "not_running"),
    ],
)
def test_units_outside_get_the_value_of_control_under_no_variant(
    changes: dict[str, Any], context: dict[str, Any], reason: Reason, decision: str
) -> None:
    answer = assign(experiment(**changes), context)

    assert summary(answer) == ("default", reason, decision, False)
    assert answer.value == "A"


@pytest.mark.parametrize("key", ["banner", "*"])
def test_the_kill_switch_serves_control_whatever_the_catalog_says(key: str) -> None:
    killed = frozenset({key})

    answer = assign(experiment(overrides={"b": ("u",)}), {"anonymous_id": "u"}, killed=killed)
    assert summary(answer) == ("default", Reason.DISABLED, "killed", False)
    assert summary(assign(Flag(key="banner"), {}, killed=killed)) == ("off", Reason.DISABLED, "killed", False)


def test_drafts_and_unknown_keys_are_not_served() -> None:
    drafts = Catalog(
        experiments={"banner": experiment(status=Status.DRAFT)},
        flags={"dark": Flag(key="dark", status=Status.DRAFT), "new": Flag(key="new")},
    )
    served = compile_catalog(drafts)

    assert served.keys == ("new",)
    for key in ("banner", "dark", "nothing"):
        with pytest.raises(UnknownFlagError, match=key):
            served.assign(key, {}, now=NOW)


def test_a_flag_that_must_split_needs_somebody_to_split() -> None:
    with pytest.raises(MissingUnitError, match="targetingKey"):
        assign(experiment(), {"user_id": "u"})
    with pytest.raises(MissingUnitError, match="targetingKey"):
        assign(Flag(key="dark", allocation_bp=5_000), {"targetingKey": ""})


def test_somebody_outside_the_audience_needs_no_id() -> None:
    assert assign(experiment(audience=SPAIN), {"country": "FR"}).decision == "not_in_audience"
    assert assign(experiment(audience=SPAIN), {"country": "ES", "anonymous_id": "u"}).enrolled


@pytest.mark.parametrize(
    ("hour", "decision"), [(8, "not_running"), (9, "enrolled"), (16, "enrolled"), (17, "not_running")]
)
def test_a_schedule_is_open_from_its_start_to_just_before_its_end(hour: int, decision: str) -> None:
    day = datetime(2027, 1, 7, tzinfo=UTC)
    e = experiment(
        status=Status.SCHEDULED,
        schedule=Schedule(start_at=day.replace(hour=9), end_at=day.replace(hour=17)),
    )

    assert assign(e, {"anonymous_id": "u"}, now=day.replace(hour=hour)).decision == decision


def test_a_schedule_may_be_open_on_one_side() -> None:
    ending = experiment(schedule=Schedule(end_at=NOW))
    starting = experiment(schedule=Schedule(start_at=NOW))

    assert assign(ending, {"anonymous_id": "u"}).decision == "not_running"
    assert assign(starting, {"anonymous_id": "u"}).decision == "enrolled"


def test_overrides_are_seen_before_the_start_and_are_never_enrolled() -> None:
    e = experiment(
        schedule=Schedule(start_at=datetime(2028, 1, 1, tzinfo=UTC)),
        overrides={"b": ("qa-maria",)},
        audience=SPAIN,
    )

    answer = assign(e, {"anonymous_id": "qa-maria"})
    assert summary(answer) == ("b", Reason.TARGETING_MATCH, "override", False)
    assert assign(e, {"anonymous_id": "somebody"}).decision == "not_running"
    assert assign(e, {}).decision == "not_running"


@pytest.mark.parametrize(
    ("changes", "context", "variant", "reason", "decision"),
    [
        ({}, {}, "on", Reason.STATIC, "static"),
        ({"audience": SPAIN}, {"country": "ES"}, "on", Reason.TARGETING_MATCH, "targeting_match"),
        ({"audience": SPAIN}, {"country": "FR"}, "off", Reason.DEFAULT, "not_in_audience"),
        ({"allocation_bp": 0}, {}, "off", Reason.DEFAULT, "not_in_allocation"),
        ({"allocation_bp": 9_999}, {"anonymous_id": "u"}, "on", Reason.SPLIT, "in_allocation"),
        ({"allocation_bp": 1}, {"anonymous_id": "u"}, "off", Reason.DEFAULT, "not_in_allocation"),
        ({"allocation_bp": 1, "unit": "user_id"}, {}, "off", Reason.DEFAULT, "no_unit"),
        ({"status": Status.STOPPED}, {}, "off", Reason.DISABLED, "not_running"),
    ],
)
def test_a_flag_is_on_or_off_for_a_reason(
    changes: dict[str, Any], context: dict[str, Any], variant: str, reason: Reason, decision: str
) -> None:
    answer = assign(Flag(key="dark", **changes), context)

    assert summary(answer) == (variant, reason, decision, False)
    assert answer.value is (variant == "on")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("u", "u"),
        ("", None),
        (None, None),
        (7, "7"),
        (7.0, "7"),
        (7.5, None),
        (0, None),
        (True, None),
        ([1], None),
    ],
)
def test_ids_are_read_as_the_growthbook_sdks_read_them(value: Any, text: str | None) -> None:
    assert unit_text(value) == text


def test_the_targeting_key_stands_for_the_anonymous_id_only() -> None:
    context = {"targetingKey": "t", "anonymous_id": "a"}

    assert unit_id_of("anonymous_id", context) == "a"
    assert unit_id_of("anonymous_id", {"targetingKey": "t"}) == "t"
    assert unit_id_of("user_id", context) is None


weights = st.lists(st.integers(0, 10_000), min_size=1, max_size=5).map(
    lambda cuts: [b - a for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 10_000], strict=True)]
)


@given(
    weights=weights, small=st.integers(0, 10_000), large=st.integers(0, 10_000), unit_id=st.text(min_size=1)
)
def test_a_ramp_never_moves_anybody(weights: list[int], small: int, large: int, unit_id: str) -> None:
    narrow = experiment(variants=variants(*weights), allocation_bp=min(small, large))
    before = variant_of(narrow, unit_id)
    after = variant_of(replace(narrow, allocation_bp=max(small, large)), unit_id)

    assert before in (None, after)


@given(weights=weights, allocation_bp=st.integers(0, 10_000))
def test_ranges_lie_side_by_side_inside_all_buckets(weights: list[int], allocation_bp: int) -> None:
    ranges = bucket_ranges(experiment(variants=variants(*weights), allocation_bp=allocation_bp))

    edges = [edge for start, end, _ in ranges for edge in (start, end)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= 10_000
    assert all(
        end - start == w * allocation_bp // 10_000 for (start, end, _), w in zip(ranges, weights, strict=True)
    )


@given(unit_id=st.text(min_size=1).filter(is_identifier))
def test_a_served_variant_is_the_one_that_ingest_recomputes(unit_id: str) -> None:
    e = experiment(variants=variants(3_000, 3_000, 4_000), allocation_bp=6_000)

    answer = assign(e, {"anonymous_id": unit_id})
    assert variant_of(e, unit_id) == (answer.variant_key if answer.enrolled else None)


def test_a_new_phase_randomizes_again() -> None:
    e = experiment()
    units = [f"u{i}" for i in range(4_000)]
    moves = Counter(variant_of(e, u) == variant_of(replace(e, phase=2), u) for u in units)

    assert abs(moves[True] - 2_000) < 3 * 1_000**0.5


@pytest.mark.parametrize("unusable", ["x" * 129, "a\nb", "\u202eabc", "\ud800", 1e300])
def test_an_id_that_no_event_could_carry_is_not_enrolled(unusable: Any) -> None:
    by_user = assign(experiment(unit="user_id"), {"user_id": unusable, "targetingKey": "t"})

    assert summary(by_user) == ("default", Reason.DEFAULT, "no_unit", False)
    assert unit_id_of("anonymous_id", {"anonymous_id": unusable, "targetingKey": "t"}) == "t"
    with pytest.raises(MissingUnitError):
        assign(experiment(), {"anonymous_id": unusable})
