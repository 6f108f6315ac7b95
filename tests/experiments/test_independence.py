"""A hash can bias two experiments without a trace in either: ours is measured not to, another is seen to."""

from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from experiments.definitions import Catalog, Flag
from experiments.gates import Holdout, Layer, LayerSlot
from experiments.hashing import UnitIds, bucket, buckets, buckets_v1
from experiments.independence import (
    FALSE_ALARMS,
    SHAPES,
    Splitter,
    dependence,
    dependent_pairs,
    splitters,
    survey,
    units_of,
)
from experiments.lifecycle import Status
from service.catalog import load, read_folder
from tests.experiments.builders import experiment

FIFTY = [Splitter(f"experiment exp-{i}", f"exp-{i}#1") for i in range(50)]
NEAR = [
    Splitter(salt, salt)
    for salt in ("banner#1", "banner#2", "banner#12", "banners#1", "layer:banner", "holdout:banner")
]

EIGHTH = {
    "sequential": "8",
    "uuid": "9e287f59-0d2d-4bbf-b87b-fb70928e621d",
    "e-mail": "ivan.ana7@mail.shop.example",
    "emoji": "😞😨万7",
}


def one_fnv(splitter: Splitter, ids: UnitIds) -> npt.NDArray[np.uint16]:
    """The hash of several other products: FNV-1a once, over id and salt."""
    return buckets_v1(splitter.salt, ids)


def texts(ids: UnitIds) -> list[str]:
    table = ids.units.T.astype("<u2")
    return [row[:n].tobytes().decode("utf-16-le") for row, n in zip(table, ids.lengths.tolist(), strict=True)]


def test_fifty_definitions_with_like_names_raise_no_alarm() -> None:
    found = survey(FIFTY)

    assert found.n_tests == 50 * 49 // 2 * len(SHAPES)
    assert found.alarms == ()


def test_phases_layers_and_holdouts_of_one_name_are_independent() -> None:
    assert survey(NEAR).alarms == ()


def test_the_demo_catalog_is_independent() -> None:
    live = splitters(load(read_folder(Path("examples/shop"))).catalog)

    assert len(live) >= 2
    assert survey(live).alarms == ()


def test_the_test_can_fail_as_one_fnv_does_with_like_names() -> None:
    pairs = 50 * 49 // 2

    assert len(survey(FIFTY, n_ids=10_000, hash_with=one_fnv).alarms) > pairs // 3
    assert dependent_pairs(FIFTY, n_ids=10_000) == ()


def test_a_namespace_of_growthbook_leans_on_its_neighbour_and_not_on_our_salts() -> None:
    spaces = [Splitter(f"layer {name}", f"__{name}", hash_version=1) for name in ("space-1", "space-2")]

    alarms = survey([*spaces, *FIFTY[:5]]).alarms

    assert [(alarm.one.name, alarm.other.name) for alarm in alarms] == [("layer space-1", "layer space-2")]
    assert alarms[0].p_value < 1e-100


def test_equal_salts_are_found_by_the_quick_look_too() -> None:
    twins = [Splitter("experiment a", "seed"), Splitter("experiment b", "b#1"), Splitter("flag c", "seed")]

    (alarm,) = dependent_pairs(twins)

    assert (alarm.one, alarm.other) == (twins[0], twins[2])
    assert alarm.excess == pytest.approx(10, rel=0.05)


def test_a_lean_of_a_few_percent_is_seen() -> None:
    ids = units_of("uuid", 100_000)
    one, other = buckets("a#1", ids), buckets("b#1", ids)
    leaning = np.where(np.arange(len(one)) % 20 == 0, one, other)

    assert dependence(one, other)[0] > 0.001
    assert dependence(one, leaning)[0] < 1e-20


@pytest.mark.statistical
def test_p_values_of_independent_salts_are_as_even_as_chance() -> None:
    """Then the share of healthy catalogs that raise an alarm is at most FALSE_ALARMS, by Bonferroni."""
    salts = [f"price-{i}#{1 + i % 3}" for i in range(40)]
    found = []
    for shape in SHAPES:
        columns = [buckets(salt, units_of(shape, 100_000)) for salt in salts]
        found += [dependence(one, other)[0] for one, other in combinations(columns, 2)]

    p_values = np.array(found)
    assert len(p_values) == 40 * 39 // 2 * len(SHAPES)
    for level in (0.5, 0.1, 0.01, 0.001):
        expected = level * len(p_values)
        assert abs((p_values < level).sum() - expected) < 4 * np.sqrt(expected) + 1
    assert p_values.min() > FALSE_ALARMS / len(p_values)


@pytest.mark.parametrize("shape", SHAPES)
def test_ids_of_each_shape_are_many_different_and_always_the_same(shape: str) -> None:
    ids = texts(units_of(shape, 1_000))

    assert len(set(ids)) == 1_000
    assert buckets("salt", ids).tolist() == [bucket("salt", unit_id) for unit_id in ids]
    assert ids[7] == EIGHTH[shape]


def test_only_what_hashes_and_may_serve_is_tested() -> None:
    layer, holdout = Layer(key="page", seed="old", hash_version=1), Holdout(key="q1", share_bp=500)
    catalog = Catalog(
        experiments={
            "banner": experiment(layer=LayerSlot(layer=layer), holdout=holdout),
            "over": experiment(key="over", status=Status.STOPPED),
            "unborn": experiment(key="unborn", status=Status.DRAFT),
        },
        flags={
            "plain": Flag(key="plain"),
            "half": Flag(key="half", allocation_bp=5_000, layer=LayerSlot(layer=layer)),
        },
    )

    assert [(s.name, s.salt, s.hash_version) for s in splitters(catalog)] == [
        ("experiment banner", "banner#1", 2),
        ("flag half", "half#1", 2),
        ("holdout q1", "holdout:q1", 2),
        ("layer page", "__old", 1),
    ]
