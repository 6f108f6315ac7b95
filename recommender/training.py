"""The only importer of LightFM: interactions and item features in, a model that serving understands out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from lightfm import LightFM

from recommender.interactions import Interactions
from recommender.item_item import N_NEIGHBOURS, RIDGE, fit_neighbours
from recommender.model import Blend, Model, encode_ids, fits
from recommender.popularity import popularity

OnEpoch = Callable[[int], None]


def _quietly(_: int) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is set by hand; found on the demo shop's data (docs/decisions/0004-model-format.md)."""

    n_dims: int = 64
    epochs: int = 12
    learning_rate: float = 0.05
    alpha: float = 2e-5
    max_sampled: int = 10
    ridge: float = RIDGE
    n_neighbours: int = N_NEIGHBOURS


class Vectors(NamedTuple):
    """LightFM's result over all users (n_users, n_dims) and all items (n_items, n_dims) and (n_items,)."""

    user: npt.NDArray[np.float32]
    item: npt.NDArray[np.float32]
    item_bias: npt.NDArray[np.float32]


def fit(
    interactions: Interactions,
    features: sp.csr_matrix,
    config: Config,
    *,
    seed: int,
    on_epoch: OnEpoch = _quietly,
) -> Model:
    """Train LightFM (WARP) and EASE on the same interactions.

    One thread: two race, and the same seed would no longer give the same model.

    Parameters
    ----------
    interactions : Interactions
        At least one row.
    features : scipy.sparse.csr_matrix, shape (n_items, n_features)
        Binary, not normalised; see `recommender.features`. May have no columns.
    config : Config
        Sizes and rates.
    seed : int
        The same seed and data give the same arrays.
    on_epoch : callable
        Told the number of epochs done, after each.

    Returns
    -------
    Model
        With default blend, except that ``gain`` fits the vectors. Users without a row are left out.

    References
    ----------
    .. [1] Kula (2015), "Metadata Embeddings for User and Item Cold-start Recommendations", CBRecSys.
    .. [2] Weston, Bengio, Usunier (2011), "WSABIE: Scaling up to large vocabulary image annotation", IJCAI.
    """
    matrix = strength_matrix(interactions)
    vectors = fit_vectors(matrix, features, config, seed=seed, on_epoch=on_epoch)
    neighbours = fit_neighbours(matrix, ridge=config.ridge, n_neighbours=config.n_neighbours)
    warm = np.asarray(matrix.getnnz(axis=1) > 0) & np.array([fits(str(i)) for i in interactions.user_ids])
    ids, order = _sorted_ids(interactions.user_ids[warm])
    user_vectors = vectors.user[warm][order]
    return Model(
        item_ids=encode_ids(interactions.item_ids),
        item_vectors=vectors.item,
        item_bias=vectors.item_bias,
        popularity=popularity(interactions),
        neighbour_index=neighbours.index,
        neighbour_weight=neighbours.weight,
        user_ids=ids,
        user_vectors=user_vectors,
        blend=Blend(gain=_gain(matrix, vectors)),
    )


def strength_matrix(interactions: Interactions) -> sp.csr_matrix:
    """Return the strongest weight of each pair (n_users, n_items), scaled so that the greatest is 1."""
    shape = (interactions.user_ids.size, interactions.item_ids.size)
    order = np.lexsort((-interactions.weight, interactions.item_index, interactions.user_index))
    pair = interactions.user_index * max(1, shape[1]) + interactions.item_index
    _, first = np.unique(pair[order], return_index=True)
    rows = order[first]
    strength = interactions.weight[rows] / (interactions.weight.max() if rows.size else 1)
    where = (interactions.user_index[rows], interactions.item_index[rows])
    return sp.csr_matrix((strength, where), shape=shape, dtype=np.float32)


def fit_vectors(
    matrix: sp.csr_matrix,
    features: sp.csr_matrix,
    config: Config,
    *,
    seed: int,
    on_epoch: OnEpoch = _quietly,
) -> Vectors:
    """Train LightFM with an identity column for each item somebody had, beside the features.

    Items nobody had get their vector from features alone: an untrained identity column is noise.
    """
    warm = np.flatnonzero(matrix.getnnz(axis=0) > 0)
    columns = _side_by_side(sp.identity(warm.size, dtype=np.float32, format="csr"), features[warm])
    cells = matrix[:, warm].tocoo()
    ones = sp.coo_matrix((np.ones_like(cells.data), (cells.row, cells.col)), shape=cells.shape)
    model: Any = LightFM(
        no_components=config.n_dims,
        loss="warp",
        learning_rate=config.learning_rate,
        item_alpha=config.alpha,
        user_alpha=config.alpha,
        max_sampled=config.max_sampled,
        random_state=seed,
    )
    for epoch in range(config.epochs):
        model.fit_partial(ones, sample_weight=cells, item_features=columns, epochs=1, num_threads=1)
        on_epoch(epoch + 1)
    full = sp.lil_matrix((matrix.shape[1], warm.size), dtype=np.float32)
    full[warm, np.arange(warm.size)] = 1
    spread = _side_by_side(full.tocsr(), features)
    return Vectors(
        user=np.asarray(model.user_embeddings, dtype=np.float32),
        item=np.asarray(spread @ model.item_embeddings, dtype=np.float32),
        item_bias=np.asarray(spread @ model.item_biases, dtype=np.float32),
    )


def _side_by_side(left: sp.csr_matrix, right: sp.csr_matrix) -> sp.csr_matrix:
    return sp.csr_matrix(sp.hstack([left, right], format="csr"))


def _gain(matrix: sp.csr_matrix, vectors: Vectors) -> float:
    """Return how much longer a user vector is than the mean of the vectors of what the user had."""
    had = np.asarray(matrix.sum(axis=1)).ravel()
    some = np.flatnonzero(had > 0)
    means = (matrix[some] @ vectors.item) / had[some, np.newaxis]
    longer = np.linalg.norm(vectors.user[some], axis=1).mean() / max(
        np.linalg.norm(means, axis=1).mean(), 1e-9
    )
    return float(np.clip(round(float(longer), 6), 1e-3, 1e3))


def _sorted_ids(ids: npt.NDArray[np.str_]) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.int64]]:
    encoded = encode_ids(ids)
    order = np.argsort(encoded, kind="stable")
    return encoded[order], order
