"""LightFM and EASE on a shop whose truth is known: repeatable, better than bestsellers, cold items placed."""

import hashlib
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from recommender import evaluation
from recommender.features import feature_matrix
from recommender.interactions import Interactions, build
from recommender.item_item import SingularMatrixError, fit_neighbours
from recommender.model import Model
from recommender.training import Config, fit, fit_vectors, strength_matrix
from tests.recommender.shops import a_shop

WEIGHTS = {"Order Completed": 1.0}
SMALL = Config(n_dims=8, epochs=6, ridge=5.0, n_neighbours=10)


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    return build(a_shop(), WEIGHTS)


def no_features(interactions: Interactions) -> sp.csr_matrix:
    return feature_matrix([()] * interactions.item_ids.size)


def digest(model: Model) -> str:
    arrays = (model.item_vectors, model.item_bias, model.user_vectors, model.neighbour_weight)
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def test_lightfm_leaves_subnormal_numbers_alive() -> None:
    # A library linked with -ffast-math would flush them to zero in the whole process (Makefile, FAST_MATH).
    assert sys.float_info.min / 2 > 0.0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(interactions: Interactions) -> None:
    first, again = (fit(interactions, no_features(interactions), SMALL, seed=1) for _ in range(2))
    other = fit(interactions, no_features(interactions), SMALL, seed=2)

    assert digest(first) == digest(again) != digest(other)


def test_what_is_served_finds_the_next_basket_better_than_bestsellers(interactions: Interactions) -> None:
    split = evaluation.split_next_basket(interactions, min_cases=50)
    model = fit(split.train, no_features(interactions), SMALL, seed=1)

    fitted = evaluation.tune(model, split.cases)
    served, _ = evaluation.evaluate(split.cases, evaluation.served(model, fitted.blend), model.n_items)
    popular, _ = evaluation.evaluate(split.cases, evaluation.bestsellers(model), model.n_items)
    static, _ = evaluation.evaluate(split.cases, evaluation.static(model), model.n_items)

    assert served.ndcg > 2 * popular.ndcg
    assert static.ndcg > popular.ndcg
    assert served.coverage > popular.coverage


def test_a_cold_item_lies_near_the_items_that_share_its_words() -> None:
    table = a_shop(n_ranges=2, n_people=120)
    interactions = build(table, WEIGHTS, more_items=["item-000-new", "item-012-new"])
    ranges = [int(str(i)[5:8]) // 12 for i in interactions.item_ids]
    features = feature_matrix([(f"c:range-{r}",) for r in ranges])

    vectors = fit_vectors(strength_matrix(interactions), features, SMALL, seed=1)

    place = {str(i): n for n, i in enumerate(interactions.item_ids)}
    cold = vectors.item[place["item-000-new"]]
    own = np.mean([cold @ vectors.item[n] for n, r in enumerate(ranges) if r == 0])
    other = np.mean([cold @ vectors.item[n] for n, r in enumerate(ranges) if r == 1])
    assert own > other


def test_every_epoch_is_told(interactions: Interactions) -> None:
    told: list[int] = []

    fit(interactions, no_features(interactions), SMALL, seed=1, on_epoch=told.append)

    assert told == [1, 2, 3, 4, 5, 6]


def test_a_user_without_interactions_has_no_vector(interactions: Interactions) -> None:
    some = interactions.select(interactions.user_index > 0)

    model = fit(some, no_features(interactions), SMALL, seed=1)

    assert model.user_vector("u:0000") is None
    assert model.user_vector("u:0001") is not None


def test_weaker_events_count_less() -> None:
    table = a_shop(n_people=10)
    table.loc[table.index % 2 == 0, "event_type"] = "Product Viewed"

    matrix = strength_matrix(build(table, {"Order Completed": 2.0, "Product Viewed": 0.5}))

    assert set(matrix.data.tolist()) == {1.0, 0.25}


def test_ease_equals_the_formula_of_the_paper() -> None:
    rng = np.random.default_rng(3)
    dense = (rng.random((40, 7)) < 0.4).astype(np.float32)

    found = fit_neighbours(sp.csr_matrix(dense), ridge=2.0, n_neighbours=6)

    inverse = np.linalg.inv(dense.T.astype(np.float64) @ dense + 2.0 * np.eye(7))
    b = -inverse / np.diag(inverse)
    np.fill_diagonal(b, 0)
    rebuilt = np.zeros((7, 7))
    np.add.at(rebuilt, (np.arange(7)[:, np.newaxis], found.index), found.weight)
    assert rebuilt == pytest.approx(np.maximum(b, 0), abs=1e-6)


def test_ease_on_one_item_has_no_neighbours() -> None:
    found = fit_neighbours(sp.csr_matrix(np.ones((3, 1), dtype=np.float32)))

    assert not found.weight.any()


def test_an_unsolvable_system_is_refused() -> None:
    with pytest.raises(SingularMatrixError):
        fit_neighbours(sp.csr_matrix(np.ones((3, 2), dtype=np.float32)), ridge=-3.0)
