"""Members of a layer exclude one another; who would not is told which place is free."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.definitions import Flag
from experiments.gates import Layer, LayerSlot
from service.catalog import CatalogError, load
from service.catalog.places import Claim, Member, Taken


def flags(*members: str) -> dict[str, str]:
    lines = "".join(f"  f{i}: {{{member}}}\n" for i, member in enumerate(members))
    return {"a.yaml": f"layers: {{page: {{}}}}\nholdouts: {{q: {{share: 5%}}}}\nflags:\n{lines}"}


def place(start: float, share: float, more: str = "") -> str:
    return f"layer: {{name: page, from: {start}%, share: {share}%}}{more}"


def told(*members: str) -> list[tuple[str, int, str]]:
    try:
        load(flags(*members))
    except CatalogError as error:
        return [(f.code, f.line - 4, f.hint) for f in error.findings]
    return []


@pytest.mark.parametrize(
    ("taken", "wanted", "hint"),
    [
        ([(0, 40)], (20, 30), "free: 40% to 100%: write from: 40%"),
        ([(60, 40)], (50, 30), "free: 0% to 60%: write from: 0%"),
        ([(10, 20), (50, 40)], (45, 20), "free: 0% to 10%, 30% to 50%, 90% to 100%: write from: 30%"),
        ([(10, 80)], (20, 20), "free: 0% to 10%, 90% to 100%: write from: 0%, share: 10%"),
        ([(0, 33.33), (40, 60)], (30, 5.55), "free: 33.33% to 40%: write from: 33.33%"),
        ([(0, 50), (50, 50)], (0, 10), "the layer is full: stop one of its members, or use another layer"),
    ],
)
def test_the_hint_names_a_place_that_is_free(
    taken: list[tuple[float, float]], wanted: tuple[float, float], hint: str
) -> None:
    found = told(*(place(*one) for one in taken), place(*wanted))

    assert found == [("E411", len(taken), hint)]


@pytest.mark.parametrize(
    "more",
    [
        ", status: draft",
        ", status: stopped",
        ", schedule: {end: 2027-01-01T00:00Z}",
        ", schedule: {start: 2027-03-01T00:00Z}",
    ],
)
def test_who_never_serves_at_the_same_time_may_share_a_place(more: str) -> None:
    other = ", schedule: {start: 2027-01-01T00:00Z, end: 2027-03-01T00:00Z}"

    assert told(place(0, 50, more), place(0, 50, other)) == []


def test_a_paused_member_keeps_its_place() -> None:
    assert [code for code, _line, _hint in told(place(0, 50, ", status: paused"), place(0, 50))] == ["E411"]


def test_each_member_without_room_is_told_once() -> None:
    found = told(place(0, 50), place(0, 50), place(25, 50), place(75, 25))

    assert [(code, line) for code, line, _hint in found] == [("E411", 1), ("E411", 2)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 10)), min_size=2, max_size=8))
def test_a_layer_is_accepted_exactly_when_no_two_members_share_a_bucket(spots: list[tuple[int, int]]) -> None:
    share_one = any(a < d + e and d < a + b for (a, b), (d, e) in combinations(spots, 2))

    assert bool(told(*(place(*spot) for spot in spots))) == share_one


def test_many_members_are_compared_without_comparing_all_pairs() -> None:
    members = [place(i / 100, 0.01) for i in range(3_000)]

    assert told(*members) == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=12))
def test_the_first_to_claim_a_bucket_keeps_it(spots: list[tuple[int, int]]) -> None:
    slots = [LayerSlot(layer=Layer(key="page"), start_bp=start, share_bp=share) for start, share in spots]
    owners: dict[int, LayerSlot] = {}
    taken = Taken()
    for slot in slots:
        buckets = range(slot.start_bp, slot.end_bp)
        first = next((owners[bucket] for bucket in buckets if bucket in owners), None)
        owner = taken.owner(slot)
        assert (owner.slot if owner else None) is first
        taken.take(Claim(Member(None, Flag(key="f", layer=slot)), slot))
        owners = dict.fromkeys(buckets, slot) | owners


def test_a_range_is_kept_as_one_however_wide_it_is() -> None:
    slot = LayerSlot(layer=Layer(key="page"))
    taken = Taken()
    taken.take(Claim(Member(None, Flag(key="f", layer=slot)), slot))

    assert len(taken.spans) == 1


def test_a_seed_that_copies_another_salt_is_told() -> None:
    assert told("seed: x", "seed: x", "seed: y") == [("E414", 1, "remove this seed, or stop one of the two")]
    assert [line for _code, line, _hint in told("seed: f1#1", "")] == [0]
    assert [line for _code, line, _hint in told("", "seed: 'holdout:q'")] == [1]
    assert told("seed: x, status: draft", "seed: x") == []


def test_a_layer_of_another_hash_does_not_count_as_the_same_salt() -> None:
    text = "layers: {old: {seed: x, hash_version: 1}, new: {seed: x}}\n"

    assert load({"a.yaml": text}).catalog.layers["old"].salt == "x"
