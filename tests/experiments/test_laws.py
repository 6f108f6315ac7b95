"""Laws of assignment that hold for any catalog: nobody moves, nobody shares, every order says the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from experiments.allocation import bucket_ranges, variant_of
from experiments.assignment import MissingUnitError, compile_catalog
from experiments.definitions import Catalog, Experiment, Flag
from experiments.gates import Holdout, Layer, LayerSlot, Prerequisite
from experiments.hashing import buckets, laid_out
from experiments.lifecycle import RampStep, Schedule, Status
from experiments.targeting import parse_condition
from tests.experiments.builders import experiment, variants

NOW = datetime(2027, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def owners(e: Experiment, numbers: Any, share_bp: int) -> Any:
    """Return for each bucket which variant owns it, -1 for none."""
    owner = np.full(10_000, -1)
    for i, (start, end, _key) in enumerate(bucket_ranges(e, share_bp=share_bp)):
        owner[start:end] = i
    return owner[numbers]


# --- over many ids


@pytest.mark.statistical
@pytest.mark.parametrize("weights", [(5_000, 5_000), (3_334, 3_333, 3_333), (9_000, 700, 300)])
def test_a_ramp_in_ten_steps_moves_none_of_a_million(weights: tuple[int, ...]) -> None:
    shares = [100, 1_200, 2_300, 3_400, 4_500, 5_600, 6_700, 7_800, 8_900, 10_000]
    ramp = tuple(RampStep(NOW + n * DAY, share) for n, share in enumerate(shares))
    e = experiment(variants=variants(*weights), ramp=ramp)
    numbers = buckets(e.salt, [f"visitor-{i}" for i in range(1_000_000)])

    seen = [owners(e, numbers, e.share_at(step.at)) for step in ramp]
    for before, after in pairwise(seen):
        assert np.count_nonzero((before >= 0) & (before != after)) == 0
    enrolled = [np.mean(owner >= 0) for owner in seen]
    assert enrolled == pytest.approx([share / 10_000 for share in shares], abs=0.002)
    # The vectorised count is the one that serves.
    keys = [v.key for v in e.variants]
    for i in range(0, 1_000_000, 5_003):
        for step, owner in zip(ramp, seen, strict=True):
            served = variant_of(e, f"visitor-{i}", at=step.at)
            assert served == (keys[owner[i]] if owner[i] >= 0 else None)


@pytest.mark.statistical
def test_a_fair_split_alarms_no_more_often_than_it_should() -> None:
    ids = laid_out([f"visitor-{i}" for i in range(20_000)])
    weights = np.array([5_000, 3_000, 2_000])
    expected = 20_000 * weights / 10_000
    rng = np.random.default_rng(2027)

    p_values = []
    for number in rng.integers(0, 2**63, 1_000):
        counts = np.histogram(buckets(f"exp-{number:x}#1", ids), [0, 5_000, 8_000, 10_000])[0]
        p_values.append(chi2.sf(((counts - expected) ** 2 / expected).sum(), 2))

    assert np.mean(np.array(p_values) > 0.001) >= 0.995
    assert 0.45 < np.mean(p_values) < 0.55


@given(
    cuts=st.lists(st.integers(0, 10_000), min_size=2, max_size=6, unique=True).map(sorted),
    version=st.sampled_from([1, 2]),
    unit_id=st.text(min_size=1),
)
def test_members_of_a_layer_never_share_a_unit(cuts: list[int], version: int, unit_id: str) -> None:
    layer = Layer(key="page", hash_version=version)
    members = [
        experiment(key=f"e{i}", layer=LayerSlot(layer=layer, start_bp=start, share_bp=end - start))
        for i, (start, end) in enumerate(pairwise(cuts))
    ]

    assert sum(variant_of(e, unit_id) is not None for e in members) <= 1
    if (cuts[0], cuts[-1]) == (0, 10_000):
        assert sum(variant_of(e, unit_id) is not None for e in members) == 1


def test_a_full_layer_gives_every_unit_to_exactly_one_member() -> None:
    layer = Layer(key="page")
    places = [(0, 3_000), (3_000, 7_000), (7_000, 10_000)]
    members = {
        f"e{i}": experiment(key=f"e{i}", layer=LayerSlot(layer=layer, start_bp=a, share_bp=b - a))
        for i, (a, b) in enumerate(places)
    }
    compiled = compile_catalog(Catalog(experiments=members))

    for i in range(5_000):
        answers = compiled.assign_all({"anonymous_id": f"u{i}"}, now=NOW)
        assert sum(answer is not None and answer.enrolled for answer in answers) == 1


# --- over any catalog and context

SHARES = st.sampled_from([0, 1, 2_500, 5_000, 9_999, 10_000])
CONDITIONS = st.sampled_from(
    [
        None,
        parse_condition({"country": "ES"}),
        parse_condition({"country": {"in": ["ES", "FR"]}, "age": {"gte": 18}}),
        parse_condition({"not": {"tags": {"contains": "vip"}}}),
        parse_condition({"app.version": {"semver_gt": "1.2.0"}}),
        parse_condition({"name": {"regex": "^a"}}),
    ]
)
GATES: dict[str, Any] = {
    "audience": CONDITIONS,
    "status": st.sampled_from(list(Status)),
    "unit": st.sampled_from(["anonymous_id", "user_id"]),
    "layer": st.sampled_from([None, LayerSlot(layer=Layer(key="l"), start_bp=2_000, share_bp=6_000)]),
    "holdout": st.sampled_from([None, Holdout(key="h", share_bp=3_000)]),
    "schedule": st.sampled_from([Schedule(), Schedule(start_at=NOW), Schedule(end_at=NOW)]),
    "prerequisites": st.sampled_from([(), (Prerequisite("p", parse_condition({"value": True})),)]),
}


@st.composite
def catalogs(draw: Any) -> Catalog:
    experiments, flags = {}, {}
    for i in range(draw(st.integers(1, 4))):
        gates = {name: draw(strategy) for name, strategy in GATES.items()}
        share = draw(SHARES)
        ramp = draw(st.sampled_from([(), (RampStep(NOW, share // 2), RampStep(NOW + DAY, share))]))
        gates |= {"allocation_bp": share, "ramp": ramp, "key": f"d{i}"}
        if draw(st.booleans()):
            experiments[f"d{i}"] = experiment(overrides={"b": ("qa", "ü")}, **gates)
        else:
            flags[f"d{i}"] = Flag(overrides={"off": ("qa", "ü")}, **gates)
    flags["p"] = Flag(key="p", allocation_bp=draw(SHARES))
    return Catalog(experiments=experiments, flags=flags)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(10**200),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
IDS = st.sampled_from(["qa", "ü", "u-1", "", "日本語", "👩‍👩‍👧", "e\u0301", "\ud800", "x" * 129, 7, 7.0])
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "anonymous_id": IDS | ANYTHING,
        "targetingKey": IDS | ANYTHING,
        "user_id": IDS | ANYTHING,
        "country": st.sampled_from(["ES", "FR", "DE"]) | ANYTHING,
        **dict.fromkeys(("age", "tags", "app", "name", "request", ""), ANYTHING),
    },
)
MOMENTS = st.sampled_from([NOW - DAY, NOW, NOW + DAY, NOW + 3 * DAY])


@settings(max_examples=400, deadline=None)
@given(catalog=catalogs(), context=CONTEXTS, now=MOMENTS)
def test_whatever_the_context_holds_single_and_bulk_agree(catalog: Catalog, context: Any, now: Any) -> None:
    compiled = compile_catalog(catalog)

    for key, answer in zip(compiled.keys, compiled.assign_all(context, now=now), strict=True):
        try:
            assert compiled.assign(key, context, now=now) is answer
        except MissingUnitError:
            assert answer is None


@settings(max_examples=400, deadline=None)
@given(catalog=catalogs(), context=CONTEXTS, now=MOMENTS)
def test_a_unit_is_enrolled_if_and_only_if_every_gate_lets_it_pass(
    catalog: Catalog, context: Any, now: Any
) -> None:
    """Each gate taken away alone: who passes all of the others and it, is who is enrolled."""
    together = compile_catalog(catalog)
    open_gates: dict[str, Any] = {
        "audience": None,
        "layer": None,
        "holdout": None,
        "schedule": Schedule(),
        "prerequisites": (),
        "ramp": (),
        "allocation_bp": 10_000,
        "overrides": {},
    }

    for key, e in catalog.experiments.items():
        if e.status is Status.DRAFT:
            continue
        answer = together.assign_all(context, now=now)[together.keys.index(key)]
        passes = []
        for gate in ("audience", "layer", "holdout", "schedule", "prerequisites", "ramp"):
            kept = {gate, "allocation_bp"} if gate == "ramp" else {gate}
            alone = replace(e, **{name: v for name, v in open_gates.items() if name not in kept})
            others = compile_catalog(replace(catalog, experiments={key: alone}))
            found = others.assign_all(context, now=now)[others.keys.index(key)]
            passes.append(found is not None and found.enrolled)
        overridden = answer is not None and answer.decision == "override"
        assert (answer is not None and answer.enrolled) is (all(passes) and not overridden)


def test_numbers_too_large_to_print_identify_nobody() -> None:
    compiled = compile_catalog(Catalog(experiments={"banner": experiment(unit="user_id")}))

    for number in (10**5_000, -(10**5_000), float("inf"), float("nan"), 10**128):
        assert compiled.assign("banner", {"user_id": number}, now=NOW).decision == "no_unit"


def test_every_decision_can_be_reached() -> None:
    closed = Schedule(start_at=NOW + DAY)
    unmet = (Prerequisite("dark", parse_condition({"value": "never"})),)
    nobody = Holdout(key="h", share_bp=10_000)
    nowhere = LayerSlot(layer=Layer(key="l", seed="s"), share_bp=1)
    strangers = parse_condition({"country": "XX"})
    ways: list[dict[str, Any]] = [
        {},
        {"overrides": {"a": ("u",), "on": ("u",)}},
        {"schedule": closed},
        {"prerequisites": unmet},
        {"audience": strangers},
        {"unit": "user_id", "allocation_bp": 5_000},
        {"holdout": nobody},
        {"layer": nowhere},
        {"allocation_bp": 1},
        {"audience": parse_condition({"country": "ES"})},
        {"allocation_bp": 9_999},
        {"key": "killed"},
    ]
    found = set()
    for way in ways:
        overrides = way.get("overrides", {})
        e = experiment(**{"key": "x", **way, "overrides": {k: v for k, v in overrides.items() if k == "a"}})
        f = Flag(**{"key": "x", **way, "overrides": {k: v for k, v in overrides.items() if k == "on"}})
        for catalog in (Catalog(experiments={e.key: e}), Catalog(flags={f.key: f})):
            whole = replace(catalog, flags={**catalog.flags, "dark": Flag(key="dark")})
            compiled = compile_catalog(whole, killed=frozenset({"killed"}))
            context = {"anonymous_id": "u", "country": "ES"}
            found.add(compiled.assign(e.key, context, now=NOW).decision)

    assert found == {
        *("enrolled", "override", "killed", "not_running", "prerequisite", "not_in_audience", "no_unit"),
        *("holdout", "not_in_layer", "not_in_allocation", "static", "targeting_match", "in_allocation"),
    }
