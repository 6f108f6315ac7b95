import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from experiments.hashing import (
    N_BUCKETS,
    bucket,
    bucket_v1,
    buckets,
    buckets_v1,
    hasher,
    hasher_v1,
    splitter,
    unit_raw,
)

NEVER_MOVE = json.loads(Path("tests/golden/buckets.json").read_text())


@pytest.mark.parametrize("case", NEVER_MOVE, ids=lambda case: case["why"])
def test_buckets_never_move(case: dict[str, Any]) -> None:
    assert bucket(case["salt"], case["unit_id"]) == case["bucket"]


@given(salt=st.text(), unit_id=st.text(min_size=1))
def test_any_text_has_a_bucket(salt: str, unit_id: str) -> None:
    assert 0 <= bucket(salt, unit_id) < N_BUCKETS
    assert bucket(salt, unit_id) == bucket(salt, unit_id)


@given(salt=st.text(), unit_id=st.text(min_size=1), middle=st.integers(0, N_BUCKETS))
def test_a_prepared_salt_gives_the_same_buckets(salt: str, unit_id: str, middle: int) -> None:
    raw, number = unit_raw(unit_id), bucket(salt, unit_id)
    side = "low" if number < middle else "high"

    assert hasher(salt)(raw) == number
    assert hasher_v1(salt)(raw) == bucket_v1(salt, unit_id)
    assert splitter(salt, [0, middle, N_BUCKETS], ["", "low", "high", ""])(raw) == side
    assert splitter(salt, [middle], ["low", "high"])(raw) == side


@given(unit_id=st.text(st.characters(max_codepoint=127), min_size=1))
def test_the_fast_way_and_the_exact_way_agree_on_ascii(unit_id: str) -> None:
    exact = bucket("é", unit_id)
    value = 0x811C9DC5
    for char in "é" + unit_id:
        value = ((value ^ ord(char)) * 0x01000193) & 0xFFFFFFFF
    second = 0x811C9DC5
    for char in str(value):
        second = ((second ^ ord(char)) * 0x01000193) & 0xFFFFFFFF

    assert exact == second % N_BUCKETS


def test_units_spread_evenly_over_all_buckets() -> None:
    counts = Counter(bucket("free-shipping#1", f"user-{i}") // 100 for i in range(100_000))

    statistic = sum((counts[i] - 1000) ** 2 / 1000 for i in range(100))
    assert chi2.sf(statistic, 99) > 0.001


@pytest.mark.parametrize("other", ["exp-1#1", "exp-0#2", "checkout#1"])
def test_experiments_with_like_names_split_independently(other: str) -> None:
    table = np.zeros((10, 10))
    for i in range(20_000):
        table[bucket("exp-0#1", str(i)) // 1000, bucket(other, str(i)) // 1000] += 1

    assert chi2_contingency(table).pvalue > 0.001


@given(salt=st.text(), unit_ids=st.lists(st.text(min_size=1), max_size=20))
def test_many_ids_at_once_have_the_buckets_they_have_one_by_one(salt: str, unit_ids: list[str]) -> None:
    assert buckets(salt, unit_ids).tolist() == [bucket(salt, unit_id) for unit_id in unit_ids]
    assert buckets_v1(salt, unit_ids).tolist() == [bucket_v1(salt, unit_id) for unit_id in unit_ids]
