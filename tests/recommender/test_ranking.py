"""Exact top-k, ties by item id, and what a person's recent items do to the scores."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender.baskets import BASKET_GAP_US
from recommender.model import Blend, Model, encode_ids
from recommender.ranking import Recent, Taste, because, personal_scores, standardized, taste_of, top_k

ORDER = {"Order Completed": 1.0, "Product Viewed": 0.2}
BASKET = 10 * BASKET_GAP_US

few_scores = hnp.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0]))


def a_model(blend: Blend | None = None) -> Model:
    """Four items in two pairs: tea goes with a cup, a lamp with a bulb; the vectors agree."""
    return Model(
        item_ids=encode_ids(["bulb", "cup", "lamp", "tea"]),
        item_vectors=np.array([[0, 1], [1, 0], [0, 1], [1, 0]], dtype=np.float32),
        item_bias=np.zeros(4, dtype=np.float32),
        popularity=np.array([1, 2, 3, 4], dtype=np.float32),
        neighbour_index=np.array([[2], [3], [0], [1]], dtype=np.int32),
        neighbour_weight=np.full((4, 1), 0.5, dtype=np.float32),
        user_ids=encode_ids(["u:lamps"]),
        user_vectors=np.array([[0, 1]], dtype=np.float32),
        blend=blend or Blend(),
    )


def taste(*recents: tuple[str, int], kind: str = "Order Completed", seeds: tuple[str, ...] = ()) -> Taste:
    events = [Recent(item, kind, 1_000 * BASKET - ago * BASKET) for item, ago in recents]
    found = taste_of(a_model(), events, weights=ORDER, seeds=seeds)
    assert found is not None
    return found


@given(scores=few_scores, k=st.integers(1, 50), data=st.data())
def test_the_slate_is_what_a_full_sort_would_give(
    scores: npt.NDArray[np.float32], k: int, data: st.DataObject
) -> None:
    mask = data.draw(hnp.arrays(np.bool_, scores.size))

    found = top_k(scores, mask, k).tolist()

    full = sorted(np.flatnonzero(mask).tolist(), key=lambda i: (-scores[i], i))
    assert found == full[:k]


def test_what_goes_with_the_last_basket_comes_first() -> None:
    scores = personal_scores(a_model(), taste(("tea", 0)))

    assert int(np.argmax(scores)) == 1


def test_an_older_basket_counts_less() -> None:
    scores = personal_scores(a_model(), taste(("tea", 0), ("lamp", 1)))

    bulb, cup = scores[0], scores[1]
    assert cup > bulb


def test_items_of_the_same_visit_are_one_basket() -> None:
    events = [
        Recent("tea", "Order Completed", 5 * BASKET),
        Recent("lamp", "Order Completed", 5 * BASKET - 60),
    ]

    found = taste_of(a_model(), events, weights=ORDER)

    assert found is not None
    assert found.ages.tolist() == [0, 0]


def test_an_order_outweighs_a_view_of_the_same_visit() -> None:
    events = [Recent("tea", "Product Viewed", 9), Recent("tea", "Order Completed", 8)]

    found = taste_of(a_model(), events, weights=ORDER)

    assert found is not None
    assert found.weights.tolist() == [1.0]


def test_seeds_count_as_the_newest_basket() -> None:
    scores = personal_scores(a_model(), taste(("tea", 3), seeds=("lamp",)))

    assert scores[0] > scores[1]


@pytest.mark.parametrize(
    "events", [[], [Recent("unknown", "Order Completed", 1)], [Recent("tea", "Page", 1)]]
)
def test_nothing_known_gives_no_taste(events: list[Recent]) -> None:
    assert taste_of(a_model(), events, weights=ORDER) is None


def test_the_stored_vector_speaks_when_its_share_is_large() -> None:
    model = a_model(Blend(item_share=0, static_share=1.0))
    vector = model.user_vector("u:lamps")

    found = taste_of(model, [Recent("tea", "Order Completed", 1)], weights=ORDER, user_vector=vector)

    assert found is not None
    scores = personal_scores(model, found)
    assert scores[0] > scores[1]


def test_a_very_old_basket_still_gives_finite_scores() -> None:
    recents = taste(("tea", 0), ("lamp", 1))
    ancient = Taste(items=recents.items, ages=recents.ages + 5_000, weights=recents.weights)

    assert np.isfinite(personal_scores(a_model(), ancient)).all()


def test_the_reason_is_the_recent_item_that_speaks_most_for_the_pick() -> None:
    recents = taste(("lamp", 0), ("tea", 1))

    assert because(a_model(), recents, 1) == 3
    assert because(a_model(), recents, 0) == 2


def test_without_neighbours_the_reason_is_the_nearest_vector() -> None:
    assert because(a_model(), taste(("lamp", 0), ("tea", 0)), 3) == 3


def test_equal_scores_standardize_to_zeros() -> None:
    assert standardized(np.full(3, 7, dtype=np.float32)).tolist() == [0, 0, 0]
    assert standardized(np.zeros(0, dtype=np.float32)).size == 0
