"""Who holds which bit: what goes in comes out, strangers have nothing, damage is refused."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import ExperimentError
from experiments.membership import (
    NOBODY,
    Membership,
    MembershipError,
    build_membership,
    fingerprints,
    frozen_name,
    person_of,
    tables,
)
from experiments.targeting import compile_condition
from experiments.targeting.conditions import All, Behaviour, Condition, Not
from experiments.targeting.explain import explain

NAMES = st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=40)


@st.composite
def tables_of_people(draw: st.DrawFn) -> tuple[Sequence[str], Mapping[str, int]]:
    names = draw(NAMES)
    bits = st.integers(0, (1 << len(names)) - 1)
    return names, draw(st.dictionaries(st.text(max_size=20), bits, max_size=60))


@given(tables_of_people(), st.lists(st.text(max_size=20), max_size=10))
def test_what_was_built_in_is_found_and_nobody_else(
    made: tuple[Sequence[str], Mapping[str, int]], strangers: list[str]
) -> None:
    names, members = made

    known = Membership(build_membership(names, members, as_of="2026-01-01", offset=7))

    assert list(known.names) == list(names)
    assert [known.names[name] for name in names] == [1 << i for i in range(len(names))]
    assert {person: known.bits(person) for person in members} == members
    assert all(known.bits(person) == members.get(person, 0) for person in strangers)
    assert known.count == sum(bits > 0 for bits in members.values())
    assert sum(known.mask_counts().values()) == known.count
    assert (known.as_of, known.offset) == ("2026-01-01", 7)


def test_of_a_million_strangers_none_is_a_member_and_a_person_takes_fifteen_bytes() -> None:
    members = {f"a:{i:016x}": 1 << i % 8 for i in range(200_000)}

    file = build_membership([f"fact-{i}" for i in range(8)], members)
    known = Membership(file)

    assert sum(known.bits(f"u:{i}") for i in range(1_000_000)) == 0
    assert all(known.bits(person) == bits for person, bits in members.items())
    assert len(file) / len(members) == pytest.approx(15, rel=0.01)
    assert known.mask_counts() == {1 << i: 25_000 for i in range(8)}


def test_nobody_is_known_to_nobody() -> None:
    assert dict(NOBODY.names) == {}
    assert NOBODY.bits("a:v-1") == 0
    assert NOBODY.mask_counts() == {}


@pytest.mark.parametrize("person", ["", "a:", "a:\ud800", "a:🍵", "a:" + "x" * 100_000])
def test_a_look_up_takes_any_text(person: str) -> None:
    assert NOBODY.bits(person) == 0
    assert Membership(build_membership(["tea"], {person: 1})).bits(person) == 1


@pytest.mark.parametrize("print_", [1, 2**63, 2**64 - 1])
def test_people_who_want_the_same_slot_get_the_next_ones_even_at_the_end(
    print_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = {f"a:{i}": max(1, min(2**64 - 1, print_ - 25 + i)) for i in range(50)}
    near = {person: value for person, value in near.items() if list(near.values()).count(value) == 1}
    monkeypatch.setattr("experiments.membership._fingerprint", lambda person: near.get(person, 2**62))

    known = Membership(build_membership(["tea", "lapsed"], dict.fromkeys(near, 2)))

    assert {known.bits(person) for person in near} == {2}
    assert known.bits("a:stranger") == 0


def test_one_fingerprint_twice_adds_up_its_bits() -> None:
    prints = fingerprints(["a:1", "a:2", "a:1"])
    masks = np.array([[1], [1], [4]], np.uint8)

    known = Membership(b"".join(tables(["x", "y", "z"], prints, masks)))

    assert (known.bits("a:1"), known.bits("a:2"), known.count) == (5, 1, 2)


def test_the_digest_tells_what_holds_for_whom_and_not_when() -> None:
    def digest(names: Sequence[str], members: Mapping[str, int], offset: int) -> str:
        return Membership(build_membership(names, members, offset=offset)).digest

    assert digest(["tea"], {"a:1": 1, "a:2": 1}, 1) == digest(["tea"], {"a:2": 1, "a:1": 1, "a:3": 0}, 2)
    others = [digest(["mud"], {"a:1": 1}, 1), digest(["tea"], {"a:2": 1}, 1), digest(["tea"], {}, 1)]
    assert len({digest(["tea"], {"a:1": 1}, 1), *others}) == 4


@given(st.data())
def test_damage_anywhere_is_refused(data: st.DataObject) -> None:
    file = build_membership(["tea", "lapsed"], {f"a:{i}": 3 for i in range(20)})
    place = data.draw(st.integers(0, len(file) - 1))
    flipped = bytearray(file)
    flipped[place] ^= data.draw(st.integers(1, 255))

    for damaged in (bytes(flipped), file[:place], file + b"\0"):
        with pytest.raises(MembershipError):
            Membership(damaged)


@pytest.mark.parametrize("other", [b"", b"PAR1", b"\0" * 64, json.dumps({"names": []}).encode() * 9])
def test_something_else_is_refused_as_an_error_of_the_room(other: bytes) -> None:
    with pytest.raises(ExperimentError):
        Membership(other)


def test_no_id_is_in_the_file() -> None:
    file = build_membership(["tea"], {person_of("user_id", "maria@shop.example"): 1})

    assert b"maria" not in file


def test_a_name_for_every_kind_of_unit_and_every_phase() -> None:
    assert person_of("store_id", "a:1") == "store_id:a:1"
    assert frozen_name("tea", 1) != frozen_name("tea", 2)


BOUGHT = Behaviour(event="Order Completed")


@pytest.mark.parametrize("condition", [BOUGHT, Not(BOUGHT), All((BOUGHT, Not(BOUGHT)))])
def test_a_fact_that_is_not_counted_yet_lets_nobody_in(condition: Condition) -> None:
    eligible = compile_condition(condition, {}, membership=NOBODY)

    assert not eligible({"anonymous_id": "v-1"})
    assert not explain(condition, {"anonymous_id": "v-1"}, {}, membership=NOBODY).holds


def test_of_a_fact_that_nobody_has_the_lack_lets_everybody_in() -> None:
    known = Membership(build_membership([BOUGHT.key], {}))

    assert compile_condition(Not(BOUGHT), {}, membership=known)({"anonymous_id": "v-1"})
