"""The rows of GrowthBook's cases about hashing, ranges and namespaces, through the code that definitions use.

One row of getBucketRange is not ours: see NOT_WHOLE.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.allocation import (
    bucket_ranges,
    share_out,
    variant_of,
    whole_share,
    whole_weights,
)
from experiments.definitions import Flag
from experiments.errors import InvalidDefinitionError
from experiments.gates import Layer, LayerSlot
from experiments.hashing import N_BUCKETS, bucket, bucket_v1, splitter
from tests.experiments.builders import experiment, variants

GOLDEN = json.loads(Path("tests/golden/growthbook_cases.json").read_text())
HASHERS = {1: bucket_v1, 2: bucket}
NOT_WHOLE = {
    "weights sum almost equals 1": "our weights add up to 100 %: bucket 9999, nobody's there, is the last's"
}


def whole(pairs: Any) -> list[tuple[int, ...]]:
    return [tuple(round(edge * N_BUCKETS) for edge in pair) for pair in pairs]


def test_every_section_is_complete() -> None:
    sections = ("hash", "getBucketRange", "chooseVariation", "inNamespace", "getEqualWeights")

    assert [len(GOLDEN[name]) for name in sections] == [15, 13, 13, 16, 6]


@pytest.mark.parametrize(
    ("salt", "unit_id", "version", "expected"), [case for case in GOLDEN["hash"] if case[2] in HASHERS]
)
def test_buckets_are_those_of_growthbook(salt: str, unit_id: str, version: int, expected: float) -> None:
    assert HASHERS[version](salt, unit_id) == round(expected * N_BUCKETS)


@pytest.mark.parametrize("case", [case for case in GOLDEN["hash"] if case[2] not in HASHERS])
def test_an_unknown_version_of_the_hash_has_no_buckets(case: Any) -> None:
    assert case[3] is None
    with pytest.raises(InvalidDefinitionError, match="1 or 2"):
        Layer(key=case[0], hash_version=case[2])


@pytest.mark.parametrize("case", GOLDEN["getBucketRange"], ids=lambda case: case[0])
def test_ranges_are_those_of_growthbook(case: Any) -> None:
    name, (n, coverage, weights), expected = case
    e = experiment(variants=variants(*whole_weights(n, weights)), allocation_bp=whole_share(coverage))

    found = [(start, end) for start, end, _ in bucket_ranges(e)]
    if name in NOT_WHOLE:
        assert found == [(0, 4_000), (4_000, 10_000)]
        assert whole(expected) == [(0, 4_000), (4_000, 9_999)]
    else:
        assert found == whole(expected)


@pytest.mark.parametrize("case", GOLDEN["chooseVariation"], ids=lambda case: case[0])
def test_a_bucket_belongs_to_the_variant_of_growthbook(case: Any) -> None:
    _name, position, pairs, expected = case
    ranges = tuple((start, end, str(i)) for i, (start, end) in enumerate(whole(pairs)))
    number = round(position * N_BUCKETS)
    unit_id = next(f"u{i}" for i in range(1_000_000) if bucket("x#1", f"u{i}") == number)

    edges, answers = share_out(ranges, {key: int(key) for _start, _end, key in ranges}, -1)
    assert splitter("x#1", edges, answers)(unit_id.encode()) == expected


@pytest.mark.parametrize("case", GOLDEN["inNamespace"], ids=lambda case: case[0])
def test_a_layer_of_version_1_holds_whom_the_namespace_holds(case: Any) -> None:
    _name, unit_id, (name, start, end), expected = case
    slot = LayerSlot(
        layer=Layer(key=name, hash_version=1),
        start_bp=whole_share(start),
        share_bp=whole_share(end) - whole_share(start),
    )

    assert (variant_of(Flag(key="member", layer=slot), unit_id) == "on") is expected


@pytest.mark.parametrize(("n", "expected"), GOLDEN["getEqualWeights"])
def test_equal_weights_are_those_of_growthbook_in_whole_buckets(n: int, expected: list[float]) -> None:
    assert whole_weights(n) == pytest.approx([weight * N_BUCKETS for weight in expected], abs=1)
    assert sum(whole_weights(n)) == (N_BUCKETS if expected else 0)


@pytest.mark.parametrize("n", range(1, 40))
def test_nobody_of_an_equal_split_moves_when_it_is_taken_over(n: int) -> None:
    ends = [0.0]
    for _ in range(n):
        ends.append(ends[-1] + 1 / n)
    theirs = [sum(bucket / N_BUCKETS >= end for end in ends[1:-1]) for bucket in range(N_BUCKETS)]

    ours = [i for i, weight in enumerate(whole_weights(n)) for _ in range(weight)]
    assert ours == theirs
