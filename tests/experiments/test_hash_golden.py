"""The rows of GrowthBook's cases about hashing, ranges and namespaces, through the code that definitions use.

One row of getBucketRange is not ours, see NEVER_SEEN; another is, but is not taken over: ONE_BUCKET_MORE.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.allocation import (
    bucket_ranges,
    share_out,
    variant_of,
    whole_weights,
)
from experiments.definitions import Flag
from experiments.errors import InvalidDefinitionError
from experiments.gates import Layer, LayerSlot
from experiments.growthbook.ranges import split_of
from experiments.hashing import N_BUCKETS, bucket, bucket_v1, splitter
from tests.experiments.builders import experiment, variants

GOLDEN = json.loads(Path("tests/golden/growthbook_cases.json").read_text())
HASHERS = {1: bucket_v1, 2: bucket}
NEVER_SEEN = "weights sum almost equals 1"
"""Our weights add up to 100 %: an allocation that leaves out bucket 9999 leaves out bucket 3999 too."""
ONE_BUCKET_MORE = "uneven weights, reduced coverage, 3 variations"
"""In the floats of the SDKs .2 x .2 is more than .04: bucket 400 is in. The case itself rounds that away."""


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
    rule = {"coverage": coverage, "weights": weights}
    imported = split_of(rule, n)
    weights_bp, allocation_bp = imported.weights, imported.allocation
    if name in (NEVER_SEEN, ONE_BUCKET_MORE):
        assert imported.n_joined > 0
        weights_bp, allocation_bp = whole_weights(n, weights), round(coverage * N_BUCKETS)

    e = experiment(variants=variants(*weights_bp), allocation_bp=allocation_bp)
    found = [(start, end) for start, end, _ in bucket_ranges(e)]
    if name == NEVER_SEEN:
        assert found == [(0, 4_000), (4_000, 10_000)]
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
        start_bp=round(start * N_BUCKETS),
        share_bp=round((end - start) * N_BUCKETS),
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
