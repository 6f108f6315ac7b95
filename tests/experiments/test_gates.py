"""What a unit must pass before it is enrolled, in order, and what each gate answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from experiments.allocation import variant_of
from experiments.assignment import Assignment, CompiledCatalog, MissingUnitError, Reason, compile_catalog
from experiments.definitions import Catalog, Experiment, Flag
from experiments.errors import InvalidDefinitionError, UnknownFlagError
from experiments.gates import Holdout, Layer, LayerSlot, Prerequisite
from experiments.hashing import bucket
from experiments.lifecycle import RampStep, Schedule, Status
from experiments.membership import Membership, build_membership, frozen_name
from experiments.targeting import behaviours, parse_condition
from tests.experiments.builders import experiment, variants

NOW = datetime(2027, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SPAIN = parse_condition({"country": "ES"})
LAYER = Layer(key="page")
UNITS = [f"u{i}" for i in range(2_000)]


def served(*definitions: Experiment | Flag, **kw: Any) -> CompiledCatalog:
    experiments = {one.key: one for one in definitions if isinstance(one, Experiment)}
    flags = {one.key: one for one in definitions if isinstance(one, Flag)}
    return compile_catalog(Catalog(experiments=experiments, flags=flags), **kw)


def ask(definition: Experiment | Flag, unit_id: str, *, now: datetime = NOW, **attributes: Any) -> Assignment:
    return served(definition).assign(definition.key, {"anonymous_id": unit_id, **attributes}, now=now)


def needs(key: str, wanted: Any = True) -> tuple[Prerequisite, ...]:
    return (Prerequisite(key, parse_condition({"value": wanted})),)


def in_buckets(salt: str, start: int, end: int) -> str:
    return next(unit for unit in UNITS if start <= bucket(salt, unit) < end)


# --- holdouts and layers


@pytest.mark.parametrize("kind", [experiment, Flag])
def test_units_in_the_holdout_see_the_default(kind: Any) -> None:
    member = kind(key="banner", holdout=Holdout(key="q1", share_bp=2_000))

    held = ask(member, in_buckets("holdout:q1", 0, 2_000))
    assert (held.decision, held.reason, held.enrolled) == ("holdout", Reason.DEFAULT, False)
    assert held.value == ("A" if kind is experiment else False)
    assert ask(member, in_buckets("holdout:q1", 2_000, 10_000)).decision in ("enrolled", "in_allocation")


def test_a_layer_gives_each_member_its_own_units() -> None:
    one = experiment(key="one", layer=LayerSlot(layer=LAYER, share_bp=3_000))
    two = experiment(key="two", layer=LayerSlot(layer=LAYER, start_bp=3_000, share_bp=7_000))

    assert ask(one, in_buckets("layer:page", 0, 3_000)).enrolled
    assert ask(two, in_buckets("layer:page", 0, 3_000)).decision == "not_in_layer"
    assert ask(one, in_buckets("layer:page", 3_000, 10_000)).decision == "not_in_layer"
    assert ask(two, in_buckets("layer:page", 3_000, 10_000)).enrolled


def test_a_member_splits_its_part_of_the_layer_as_it_would_split_everybody() -> None:
    alone = experiment()
    member = replace(alone, layer=LayerSlot(layer=LAYER, share_bp=5_000))
    theirs = [unit for unit in UNITS if variant_of(member, unit)]

    assert 900 < len(theirs) < 1_100
    assert [variant_of(member, unit) for unit in theirs] == [variant_of(alone, unit) for unit in theirs]


def test_the_gates_speak_in_their_order() -> None:
    e = experiment(
        audience=SPAIN,
        holdout=Holdout(key="q1", share_bp=10_000),
        layer=LayerSlot(layer=LAYER, share_bp=1),
        allocation_bp=1,
        overrides={"b": ("qa",)},
        prerequisites=needs("dark"),
        schedule=Schedule(end_at=NOW + DAY),
    )
    on, off = Flag(key="dark"), Flag(key="dark", value=False)

    def decision(e: Experiment, dark: Flag, **context: Any) -> str:
        return served(e, dark).assign("banner", context, now=NOW).decision

    assert served(e, on, killed=frozenset({"banner"})).assign("banner", {}, now=NOW).decision == "killed"
    assert decision(replace(e, status=Status.PAUSED), on, anonymous_id="qa") == "not_running"
    assert decision(replace(e, schedule=Schedule(end_at=NOW)), off, anonymous_id="qa") == "override"
    assert decision(replace(e, status=Status.PAUSED), off) == "not_running"
    assert decision(replace(e, schedule=Schedule(end_at=NOW)), off) == "not_running"
    assert decision(e, off) == "prerequisite"
    assert decision(e, on) == "not_in_audience"
    assert decision(replace(e, unit="user_id"), on, country="ES") == "no_unit"
    assert decision(e, on, country="ES", anonymous_id="u1") == "holdout"
    e = replace(e, holdout=None)
    assert decision(e, on, country="ES", anonymous_id="u1") == "not_in_layer"
    e = replace(e, layer=None)
    assert decision(e, on, country="ES", anonymous_id="u1") == "not_in_allocation"
    e = replace(e, allocation_bp=10_000)
    assert decision(e, on, country="ES", anonymous_id="u1") == "enrolled"


# --- ramps and schedules

RAMP = (RampStep(NOW, 100), RampStep(NOW + DAY, 5_000), RampStep(NOW + 2 * DAY, 10_000))


@pytest.mark.parametrize(
    ("hours", "share_bp"), [(-1, 0), (0, 100), (23, 100), (24, 5_000), (48, 10_000), (99, 10_000)]
)
@pytest.mark.parametrize("kind", [experiment, Flag])
def test_a_ramp_enrols_what_its_last_step_says(kind: Any, hours: int, share_bp: int) -> None:
    ramped, flat = kind(key="banner", ramp=RAMP), kind(key="banner", allocation_bp=share_bp)
    compiled, now = served(ramped), NOW + timedelta(hours=hours)

    for unit in UNITS:
        expected = variant_of(flat, unit)
        assert variant_of(ramped, unit, at=now) == expected
        answer = compiled.assign("banner", {"anonymous_id": unit}, now=now)
        assert answer.variant_key == (expected or ("default" if kind is experiment else "off"))
        assert (answer.decision == "not_in_allocation") is (expected is None)


def test_without_a_moment_a_ramp_is_over() -> None:
    assert all(variant_of(experiment(ramp=RAMP), unit) for unit in UNITS)


def test_the_next_change_is_the_next_step_start_or_end_of_what_is_served() -> None:
    later = Schedule(start_at=NOW + 3 * DAY, end_at=NOW + 4 * DAY)
    compiled = served(
        experiment(ramp=RAMP),
        experiment(key="later", schedule=later, status=Status.SCHEDULED),
        experiment(key="paused", schedule=Schedule(end_at=NOW + 9 * DAY), status=Status.PAUSED),
        Flag(key="dead", schedule=Schedule(end_at=NOW + 9 * DAY)),
        killed=frozenset({"dead"}),
    )
    moments = [NOW - DAY]
    while (at := compiled.next_change(moments[-1])) is not None:
        moments.append(at)

    assert moments == [NOW + n * DAY for n in range(-1, 5)]


def test_a_flag_is_on_inside_its_schedule() -> None:
    flag = Flag(key="dark", status=Status.SCHEDULED, schedule=Schedule(start_at=NOW, end_at=NOW + DAY))

    decisions = [served(flag).assign("dark", {}, now=NOW + n * DAY).decision for n in (-1, 0, 1)]
    assert decisions == ["not_running", "static", "not_running"]


# --- overrides and previews


def test_a_flag_may_be_overridden_both_ways() -> None:
    flag = Flag(key="dark", allocation_bp=0, overrides={"on": ("qa-1",), "off": ("qa-2", "日本")})

    assert [(ask(flag, unit).variant_key, ask(flag, unit).decision) for unit in ("qa-1", "qa-2", "日本")] == [
        ("on", "override"),
        ("off", "override"),
        ("off", "override"),
    ]
    assert ask(flag, "u1").decision == "not_in_allocation"


def test_a_preview_shows_any_variant_also_of_a_draft_and_enrols_nobody() -> None:
    draft = experiment(key="draft", status=Status.DRAFT)
    compiled = served(experiment(), draft, Flag(key="dark"))

    for key, variant, value in (("banner", "b", "B"), ("draft", "a", "A"), ("dark", "off", False)):
        answer = compiled.preview(key, variant)
        assert answer is not None
        assert (answer.variant_key, answer.value) == (variant, value)
        assert (answer.decision, answer.enrolled) == ("override", False)
    assert compiled.preview("banner", "c") is None
    assert compiled.preview("nothing", "a") is None
    with pytest.raises(UnknownFlagError):
        compiled.assign("draft", {"anonymous_id": "u"}, now=NOW)


@pytest.mark.parametrize("status", [Status.PAUSED, Status.STOPPED])
@pytest.mark.parametrize("kind", [experiment, Flag])
def test_what_is_paused_or_stopped_serves_its_default_to_overridden_units_too(
    kind: Any, status: Status
) -> None:
    forced = {"b": ("qa",)} if kind is experiment else {"on": ("qa",)}
    compiled = served(kind(key="banner", status=status, overrides=forced))

    answer = compiled.assign("banner", {"anonymous_id": "qa"}, now=NOW)
    assert (answer.decision, answer.value) == ("not_running", "A" if kind is experiment else False)
    assert compiled.preview("banner", next(iter(forced))) is not None


def test_what_is_killed_has_no_preview() -> None:
    compiled = served(experiment(), experiment(key="d", status=Status.DRAFT), killed=frozenset({"*"}))

    assert compiled.preview("banner", "b") is None
    assert compiled.preview("d", "b") is None


def test_an_experiment_may_serve_another_value_than_its_control_to_who_is_not_enrolled() -> None:
    e = experiment(otherwise="nothing", audience=SPAIN)

    assert ask(e, "u").value == "nothing"
    assert ask(e, "u", country="ES").value in ("A", "B")


# --- prerequisites


def test_a_prerequisite_asks_the_value_that_the_other_serves_to_the_same_unit() -> None:
    parent = experiment(key="parent")
    child = experiment(prerequisites=needs("parent", "B"))
    compiled = served(parent, child)

    for unit in UNITS[:200]:
        context = {"anonymous_id": unit}
        expected = "enrolled" if variant_of(parent, unit) == "b" else "prerequisite"
        assert compiled.assign("banner", context, now=NOW).decision == expected
        assert compiled.assign_all(context, now=NOW) == [
            compiled.assign(key, context, now=NOW) for key in ("banner", "parent")
        ]


def test_a_prerequisite_may_compare() -> None:
    levels = experiment(
        key="level", variants=tuple(replace(v, value=i) for i, v in enumerate(variants(), start=1))
    )
    child = Flag(key="child", prerequisites=needs("level", {"gte": 2}))
    compiled = served(levels, child)

    found = {compiled.assign("child", {"anonymous_id": u}, now=NOW).decision for u in UNITS[:100]}
    assert found == {"targeting_match", "prerequisite"}


@pytest.mark.parametrize(
    ("parent", "context", "now"),
    [
        (Flag(key="p", status=Status.DRAFT, overrides={"on": ("u",)}), {"anonymous_id": "u"}, NOW),
        (Flag(key="p", status=Status.STOPPED), {}, NOW),
        (Flag(key="p", schedule=Schedule(start_at=NOW)), {}, NOW - DAY),
        (Flag(key="p", allocation_bp=9_999), {}, NOW),
    ],
)
def test_what_is_not_served_counts_with_its_default_value(parent: Flag, context: Any, now: datetime) -> None:
    child = Flag(key="child", prerequisites=needs("p"))

    assert served(parent, child).assign("child", context, now=now).decision == "prerequisite"
    wants_off = Flag(key="child", prerequisites=needs("p", wanted=False))
    assert served(parent, wants_off).assign("child", context, now=now).decision == "targeting_match"


def test_prerequisites_that_need_each_other_or_do_not_exist_are_refused() -> None:
    one, two = Flag(key="one", prerequisites=needs("two")), Flag(key="two", prerequisites=needs("one"))

    with pytest.raises(InvalidDefinitionError, match="one -> two -> one") as cycle:
        served(one, two)
    with pytest.raises(InvalidDefinitionError, match="no flag or experiment 'two'") as unknown:
        served(one)
    assert (cycle.value.code, unknown.value.code) == ("E413", "E410")


@pytest.mark.parametrize("order", [1, -1])
def test_long_chains_and_many_ways_of_prerequisites_stay_cheap(order: int) -> None:
    def chain(n: int) -> list[Flag]:
        flags = [Flag(key="f0000")]
        for i in range(1, n):
            last = flags[-1].key
            flags.append(
                Flag(key=f"f{order * i % 10_000:04}", prerequisites=needs(last) + needs(last, {"ne": 7}))
            )
        return flags

    compiled = served(*chain(33))
    assert all(answer and answer.variant_key == "on" for answer in compiled.assign_all({}, now=NOW))
    assert compiled.assign(chain(33)[-1].key, {}, now=NOW).decision == "targeting_match"
    for too_long in (34, 60, 3_000):
        with pytest.raises(InvalidDefinitionError, match="more than 32"):
            served(*chain(too_long))


# --- bulk, behaviour, seeds


def test_a_bulk_answer_has_none_where_a_single_one_asks_for_an_id() -> None:
    compiled = served(
        experiment(key="anon"),
        experiment(key="anon-held", holdout=Holdout(key="q1", share_bp=1)),
        experiment(key="by-user", unit="user_id"),
        experiment(key="foreign", audience=SPAIN),
        Flag(key="static"),
    )
    answers = compiled.assign_all({"country": "FR"}, now=NOW)

    assert compiled.keys == ("anon", "anon-held", "by-user", "foreign", "static")
    assert [answer and answer.decision for answer in answers] == [
        None, None, "no_unit", "not_in_audience", "static",
    ]  # fmt: skip
    for key in ("anon", "anon-held"):
        with pytest.raises(MissingUnitError):
            compiled.assign(key, {}, now=NOW)


def test_an_exposed_unit_stays_in_its_audience_whatever_it_does_since() -> None:
    condition = parse_condition(
        {"country": "ES", "behaviour": {"event": "Order Completed", "count": {"lt": 1}}}
    )
    (ordered,) = behaviours(condition, {})
    names = [ordered.key, frozen_name("banner", 1)]
    membership = Membership(build_membership(names, {"a:buyer": 1, "a:exposed": 3}))
    e = experiment(audience=condition)

    def decision(e: Experiment, unit: str, country: str = "ES") -> str:
        context = {"anonymous_id": unit, "country": country}
        return served(e, membership=membership).assign("banner", context, now=NOW).decision

    assert decision(e, "newcomer") == "enrolled"
    assert decision(e, "buyer") == "not_in_audience"
    assert decision(e, "exposed") == "enrolled"
    assert decision(e, "exposed", "FR") == "not_in_audience"
    assert decision(replace(e, phase=2), "exposed") == "not_in_audience"


def test_a_seed_taken_over_holds_for_its_phase_only() -> None:
    theirs = experiment(seed="their-seed")

    assert all((variant_of(theirs, u) == "a") is (bucket("their-seed", u) < 5_000) for u in UNITS)
    assert all(
        variant_of(replace(theirs, phase=2), u) == variant_of(experiment(phase=2), u) for u in UNITS[:100]
    )


def test_a_catalog_knows_whether_it_reads_the_request() -> None:
    by_hour = parse_condition({"audience": "morning"})
    catalog = Catalog(
        experiments={"banner": experiment(audience=by_hour)},
        audiences={"morning": parse_condition({"request.hour": {"lt": 12}})},
    )

    assert compile_catalog(catalog).reads_request
    assert not compile_catalog(catalog, killed=frozenset({"*"})).reads_request
    assert not served(experiment(audience=SPAIN)).reads_request
