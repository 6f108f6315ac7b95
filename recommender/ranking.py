"""A person's recent items and a model in, an ordered slate out: exact, float32, ties broken by item id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recommender.baskets import basket_ages
from recommender.model import Blend, Model, index_of

MAX_RECENT = 200
"""Interactions that fold-in looks at; older ones have faded."""
LEAST_WEIGHT = 1e-9
"""Below this an interaction has faded so far that float32 would lose it."""


class Recent(NamedTuple):
    """One thing a person did with an item."""

    item_id: str
    event_type: str
    occurred_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What is known of a person right now, in the model's own indices.

    Attributes
    ----------
    items : array of int, shape (n,)
        Distinct items of the model, ascending.
    ages : array of int, shape (n,)
        Baskets since the strongest interaction with it.
    weights : array of float32, shape (n,)
        Weight of that interaction's event type.
    user_vector : array of float32, shape (n_dims,), or None
    """

    items: npt.NDArray[np.int64]
    ages: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    user_vector: npt.NDArray[np.float32] | None = None

    def faded(self, half_life: float) -> npt.NDArray[np.float32]:
        """Return the weight (n,) left of each item after its age."""
        left = self.weights * np.exp2(-self.ages / half_life)
        return np.maximum(left, LEAST_WEIGHT).astype(np.float32)


def taste_of(
    model: Model,
    recents: Sequence[Recent],
    *,
    weights: Mapping[str, float],
    seeds: Sequence[str] = (),
    user_vector: npt.NDArray[np.float32] | None = None,
) -> Taste | None:
    """Fold the newest interactions of a person into the model's terms.

    Parameters
    ----------
    model : Model
        Whose indices to use.
    recents : sequence of Recent
        Newest first.
    weights : mapping of event type to weight
        Other events are passed over.
    seeds : sequence of item ids
        Items of the moment (the page, the cart): the newest basket, one before all others.
    user_vector : array of float32, shape (n_dims,), or None
        The stored vector of the person.

    Returns
    -------
    Taste or None
        None when nothing here is known to the model.
    """
    counted = [r for r in recents if r.event_type in weights][:MAX_RECENT]
    ages = basket_ages(np.array([r.occurred_us for r in counted], dtype=np.int64))
    place = index_of(model.item_ids, [*seeds, *(r.item_id for r in counted)])
    age = np.concatenate([np.zeros(len(seeds), dtype=np.int64), ages + bool(seeds)])
    top = max(weights.values(), default=1.0)
    weight = np.array([top] * len(seeds) + [weights[r.event_type] for r in counted], dtype=np.float32)
    known = place >= 0
    return combine(place[known], age[known], weight[known], user_vector) if known.any() else None


def combine(
    items: npt.NDArray[np.int64],
    ages: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    user_vector: npt.NDArray[np.float32] | None,
) -> Taste:
    """Return the taste of interactions (n,) whose items may repeat: of each item the newest one counts.

    Of equally new ones the strongest counts.
    """
    order = np.lexsort((-weights, ages, items))
    distinct, first = np.unique(items[order], return_index=True)
    chosen = order[first]
    return Taste(items=distinct, ages=ages[chosen], weights=weights[chosen], user_vector=user_vector)


def item_part(model: Model, taste: Taste, half_life: float) -> npt.NDArray[np.float32]:
    """Return the sum (n_items,) of the neighbour weights of the person's recent items."""
    index = model.neighbour_index[taste.items]
    weight = model.neighbour_weight[taste.items] * taste.faded(half_life)[:, np.newaxis]
    score = np.bincount(index.ravel(), weights=weight.ravel(), minlength=model.n_items)
    return score.astype(np.float32)


def mean_vector(model: Model, taste: Taste, half_life: float) -> npt.NDArray[np.float32]:
    """Return the recency-weighted mean (n_dims,) of the vectors of the person's recent items."""
    weight = taste.faded(half_life)
    return np.asarray((weight @ model.item_vectors[taste.items]) / weight.sum(), dtype=np.float32)


def vector_part(
    model: Model, mean: npt.NDArray[np.float32], user_vector: npt.NDArray[np.float32] | None, blend: Blend
) -> npt.NDArray[np.float32]:
    """Return V u + b (n_items,), with u between the stored vector and the mean of recent items."""
    u = blend.gain * mean
    if user_vector is not None:
        u = blend.static_share * user_vector + (1 - blend.static_share) * u
    return np.asarray(model.item_vectors @ u.astype(np.float32) + model.item_bias, dtype=np.float32)


def standardized(score: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (score - mean) / standard deviation; all zeros if every score is the same.

    Examples
    --------
    >>> standardized(np.array([1, 3], dtype=np.float32)).tolist()
    [-1.0, 1.0]
    """
    spread = float(score.std()) if score.size else 0.0
    if spread < np.finfo(np.float32).tiny:
        return np.zeros_like(score)
    return np.asarray((score - score.mean()) / spread, dtype=np.float32)


def personal_scores(model: Model, taste: Taste, blend: Blend | None = None) -> npt.NDArray[np.float32]:
    """Score every item of the model for a person.

    a * z(item-item on recent items) + (1 - a) * z(V u + b), with a = ``blend.item_share``. The number orders
    items; it is no probability, and two people's scores cannot be compared.

    Parameters
    ----------
    model : Model
        A personal one.
    taste : Taste
        From `taste_of` with the same model.
    blend : Blend or None
        Instead of the model's own.

    Returns
    -------
    array of float32, shape (n_items,)
    """
    blend = blend or model.blend
    items = standardized(item_part(model, taste, blend.half_life))
    mean = mean_vector(model, taste, blend.half_life)
    vectors = standardized(vector_part(model, mean, taste.user_vector, blend))
    return np.asarray(blend.item_share * items + (1 - blend.item_share) * vectors, dtype=np.float32)


def top_k(scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], k: int) -> npt.NDArray[np.int64]:
    """Return the places of the `k` best allowed scores, best first; the lower place wins a tie.

    Exact, and exactly ``min(k, mask.sum())`` long.

    Parameters
    ----------
    scores : array of float32, shape (n_items,)
    mask : array of bool, shape (n_items,)
        What may be shown.
    k : int
        At least 1.

    Examples
    --------
    >>> top_k(np.array([1, 2, 2, 3], dtype=np.float32), np.array([True, True, True, False]), 2).tolist()
    [1, 2]
    """
    allowed = np.flatnonzero(mask)
    wanted = scores[allowed]
    if allowed.size > k:
        least = -np.partition(-wanted, k - 1)[k - 1]
        keep = wanted >= least
        allowed, wanted = allowed[keep], wanted[keep]
    return allowed[np.argsort(-wanted, kind="stable")[:k]].astype(np.int64)


def because(model: Model, taste: Taste, item: int) -> int:
    """Return the recent item (model index) that speaks most for `item`.

    The strongest neighbour weight decides; without any, the greatest product of vectors.
    """
    weight = taste.faded(model.blend.half_life)
    rows = np.where(model.neighbour_index[taste.items] == item, model.neighbour_weight[taste.items], 0)
    votes = rows.sum(axis=1) * weight
    if not votes.any():
        votes = (model.item_vectors[taste.items] @ model.item_vectors[item]) * weight
    return int(taste.items[int(np.argmax(votes))])
