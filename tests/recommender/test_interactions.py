"""The table of interactions: one row per person, basket and item; baskets aged from the newest."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.baskets import BASKET_GAP_US, basket_ages
from recommender.errors import InvalidInteractionsError
from recommender.evaluation import Split, ndcg_at_k, split_next_basket, standard_error
from recommender.features import feature_matrix, tokens_of
from recommender.interactions import COLUMNS, Interactions, build
from recommender.popularity import HALF_LIFE_US, popularity
from tests.recommender.shops import a_shop

WEIGHTS = {"Order Completed": 1.0, "Product Viewed": 0.2}


def table(*rows: tuple[str, str, str, int, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def an_order(person: str, item: str, at: int, event_id: str = "") -> tuple[str, str, str, int, str]:
    return (person, item, "Order Completed", at, event_id or f"{person}{item}{at}")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInteractionsError, match="occurred_us"):
        build(table().drop(columns="occurred_us"), WEIGHTS)


def test_an_absent_value_is_refused() -> None:
    rows = table(an_order("u:1", "tea", 0))
    rows.loc[0, "item_id"] = None

    with pytest.raises(InvalidInteractionsError):
        build(rows, WEIGHTS)


def test_an_empty_table_is_fine() -> None:
    found = build(table(), WEIGHTS, more_items=["tea"])

    assert len(found) == 0
    assert found.n_pairs() == 0
    assert found.item_ids.tolist() == ["tea"]
    assert popularity(found).tolist() == [0.0]


def test_an_event_of_a_user_and_a_browser_counts_once_for_the_user() -> None:
    found = build(table(an_order("a:x", "tea", 0, "e1"), an_order("u:1", "tea", 0, "e1")), WEIGHTS)

    assert found.user_ids.tolist() == ["u:1"]
    assert len(found) == 1


def test_events_without_a_weight_are_left_out() -> None:
    found = build(table(("u:1", "tea", "Order Refunded", 0, "e1")), WEIGHTS)

    assert len(found) == 0


def test_a_repeat_inside_a_basket_is_one_row_with_the_strongest_weight() -> None:
    found = build(table(("u:1", "tea", "Product Viewed", 0, "e1"), an_order("u:1", "tea", 60)), WEIGHTS)

    assert found.weight.tolist() == [1.0]


@given(times=st.lists(st.integers(0, 20 * BASKET_GAP_US), min_size=1, max_size=20, unique=True))
def test_training_and_serving_cut_baskets_alike(times: list[int]) -> None:
    newest_first = sorted(times, reverse=True)
    found = build(table(*(an_order("u:1", f"i{t}", t) for t in times)), WEIGHTS)

    serving = dict(zip(newest_first, basket_ages(np.array(newest_first)).tolist(), strict=True))

    assert dict(zip(found.occurred_us.tolist(), found.age.tolist(), strict=True)) == serving


def test_a_person_counts_once_in_popularity_and_age_halves() -> None:
    found = build(
        table(
            an_order("u:1", "tea", 0),
            an_order("u:1", "tea", HALF_LIFE_US),
            an_order("u:2", "cup", 0),
        ),
        WEIGHTS,
    )

    assert dict(zip(found.item_ids.tolist(), popularity(found).tolist(), strict=True)) == {
        "cup": 0.5,
        "tea": 1.0,
    }


def split() -> tuple[Interactions, Split]:
    everything = build(a_shop(), WEIGHTS)
    return everything, split_next_basket(everything, min_cases=10_000)


def test_training_sees_neither_the_held_out_basket_nor_the_live_one() -> None:
    everything, (train, cases, _) = split()

    assert cases
    assert train.age.min() == 2
    assert len(train) == int((everything.age >= 2).sum())


def test_the_target_is_new_and_the_live_items_come_from_before_it() -> None:
    everything, (_, cases, _) = split()

    for case in cases:
        user = int(np.searchsorted(everything.user_ids, case.user_id))
        mine = everything.user_index == user
        newest = set(everything.item_index[mine & (everything.age == 0)].tolist())
        assert set(case.target.tolist()) == newest - set(case.had.tolist())
        assert set(case.basket.tolist()) == newest
        assert case.ages.min() == 0


def test_people_with_two_baskets_are_learned_from_and_not_tested() -> None:
    found = build(table(an_order("u:1", "tea", 0), an_order("u:1", "cup", 10 * BASKET_GAP_US)), WEIGHTS)

    train, cases, _ = split_next_basket(found, min_cases=1)

    assert cases == []
    assert len(train) == 2


def test_ndcg_equals_the_textbook() -> None:
    gain = (1 / np.log2(2) + 1 / np.log2(4)) / (1 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4))

    assert ndcg_at_k(np.array([5, 9, 6]), np.array([5, 6, 7])) == pytest.approx(gain)
    assert ndcg_at_k(np.array([1]), np.array([], dtype=np.int64)) == 0


def test_one_value_has_no_standard_error() -> None:
    assert standard_error(np.array([0.5])) == float("inf")
    assert standard_error(np.array([0.0, 1.0])) == pytest.approx(0.5)


def test_words_and_categories_become_columns_when_enough_items_share_them() -> None:
    tokens = [tokens_of("Red tea cup", ["kitchen"])] * 5 + [tokens_of("Lamp", [])]

    matrix = feature_matrix(tokens)

    assert matrix.shape == (6, 4)
    assert matrix[5].nnz == 0
    assert set(matrix.data.tolist()) == {1.0}
