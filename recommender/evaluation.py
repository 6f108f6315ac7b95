"""How good is a ranking: the next basket, held out in time, against every item of the shop."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recommender.interactions import Interactions
from recommender.model import Blend, Model
from recommender.ranking import (
    MAX_RECENT,
    Taste,
    combine,
    item_part,
    mean_vector,
    personal_scores,
    standardized,
    top_k,
    vector_part,
)

K = 10
MIN_BASKETS = 3
HELD_OUT = 2
"""Newest baskets that training does not see: the one to predict, and the live one before it."""
TARGET_SIZES = (5, 1)
"""A held-out basket should hold this many new items; the second applies when too few do."""
HALF_LIVES = (1.0, 2.0, 4.0, 8.0)
STATIC_SHARES = (0.0, 0.3, 0.6)
ITEM_SHARES = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0)
MAX_CASES = 2_000
MAX_SCORED = 8_000_000
"""Cases times items: bounds the time of tuning for a large catalogue."""
DISCOUNT = 1 / np.log2(np.arange(2, K + 2))

Scorer = Callable[["Case"], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One person whose newest basket is to be predicted from everything before it.

    Attributes
    ----------
    user_id : str
    items, ages, weights : arrays of shape (n,)
        The live interactions, the newest basket having age 0; items may repeat.
    had : array of int
        Items of all earlier baskets: hidden from a discovery slate.
    target, basket : array of int
        The new items of the held-out basket, and all of it.
    """

    user_id: str
    items: npt.NDArray[np.int64]
    ages: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    had: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    basket: npt.NDArray[np.int64]


class Split(NamedTuple):
    """What may be learned from, and what is to be predicted; `min_new` is the size asked of a target."""

    train: Interactions
    cases: Sequence[Case]
    min_new: int


class Fitted(NamedTuple):
    """The best blend, and the NDCG of each case under a blend chosen without it (cross-fitting)."""

    blend: Blend
    ndcg: npt.NDArray[np.float64]


class Score(NamedTuple):
    """A mean over cases, its standard error, and precision and coverage beside it."""

    ndcg: float
    se: float
    precision: float
    coverage: float


def split_next_basket(interactions: Interactions, *, min_cases: int) -> Split:
    """Hold out the newest basket of everyone with three or more; training sees neither it nor the one before.

    The one before it stands for what a person did since the last training: serving sees it live, the stored
    vectors do not. A case is kept if the held-out basket has at least five items the person never had (one,
    if that would leave fewer than `min_cases`).

    Parameters
    ----------
    interactions : Interactions
        Everything known.
    min_cases : int
        Below this the smaller target size applies.

    Returns
    -------
    Split
        At most `MAX_CASES` cases, evenly spread over the people.
    """
    n_baskets = np.zeros(interactions.user_ids.size, dtype=np.int64)
    np.maximum.at(n_baskets, interactions.user_index, interactions.age + 1)
    tested = n_baskets[interactions.user_index] >= MIN_BASKETS
    train = interactions.select(~tested | (interactions.age >= HELD_OUT))
    cases: list[Case] = []
    for size in TARGET_SIZES:
        cases = list(_cases(interactions, np.flatnonzero(n_baskets >= MIN_BASKETS), size))
        if len(cases) >= min_cases:
            break
    allowed = max(100, min(MAX_CASES, MAX_SCORED // max(1, interactions.item_ids.size)))
    step = max(1, -(-len(cases) // allowed))
    return Split(train, cases[::step], size)


def _cases(interactions: Interactions, users: npt.NDArray[np.int64], min_new: int) -> Iterator[Case]:
    starts = np.searchsorted(interactions.user_index, users, side="left")
    ends = np.searchsorted(interactions.user_index, users, side="right")
    for user, start, end in zip(users, starts, ends, strict=True):
        item, age = interactions.item_index[start:end], interactions.age[start:end]
        before = age > 0
        had, basket = np.unique(item[before]), item[~before]
        target = np.setdiff1d(basket, had)
        if target.size < min_new:
            continue
        # Rows run from old to new: the newest are at the end.
        yield Case(
            user_id=str(interactions.user_ids[user]),
            items=item[before][-MAX_RECENT:],
            ages=age[before][-MAX_RECENT:] - 1,
            weights=interactions.weight[start:end][before][-MAX_RECENT:],
            had=had,
            target=target,
            basket=basket,
        )


def ndcg_at_k(ranked: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> float:
    """Return the discounted gain of the first ten places against the best possible, in [0, 1].

    References
    ----------
    .. [1] Jarvelin, Kekalainen (2002), "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4).

    Examples
    --------
    >>> ndcg_at_k(np.array([7, 8]), np.array([7]))
    1.0
    """
    hits = np.isin(ranked[:K], target)
    best = DISCOUNT[: min(K, target.size)].sum()
    return float(DISCOUNT[: hits.size][hits].sum() / best) if best else 0.0


def evaluate(
    cases: Sequence[Case], scorer: Scorer, n_items: int, *, discovery: bool = True
) -> tuple[Score, npt.NDArray[np.float64]]:
    """Rank all items for each case and compare with what was bought.

    Parameters
    ----------
    cases : sequence of Case
        At least one.
    scorer : callable
        Case -> scores of shape (n_items,).
    n_items : int
        Items of the shop: all of them compete.
    discovery : bool
        Hide what the person had and look for new items; else hide nothing and look for the whole basket.

    Returns
    -------
    Score and array of float, shape (n_cases,)
        Means, and the NDCG of each case.
    """
    ndcg, precision = np.zeros(len(cases)), np.zeros(len(cases))
    shown: set[int] = set()
    for row, case in enumerate(cases):
        mask = np.ones(n_items, dtype=np.bool_)
        if discovery:
            mask[case.had] = False
        target = case.target if discovery else case.basket
        ranked = top_k(scorer(case), mask, K)
        ndcg[row] = ndcg_at_k(ranked, target)
        precision[row] = np.isin(ranked, target).sum() / K
        shown.update(ranked.tolist())
    coverage = len(shown) / max(1, n_items)
    return Score(float(ndcg.mean()), standard_error(ndcg), float(precision.mean()), coverage), ndcg


def standard_error(values: npt.NDArray[np.float64]) -> float:
    """Return the standard error of a mean; infinite for fewer than two values."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("inf")


def served_taste(model: Model, case: Case) -> Taste:
    """Return the taste of a case, as serving would fold it in."""
    return combine(case.items, case.ages, case.weights, model.user_vector(case.user_id))


def served(model: Model, blend: Blend) -> Scorer:
    """Return the scorer of what is served with `blend`."""
    return lambda case: personal_scores(model, served_taste(model, case), blend)


def static(model: Model) -> Scorer:
    """Return the scorer of LightFM's stored user vectors alone, popularity where there is none."""

    def score(case: Case) -> npt.NDArray[np.float32]:
        vector = model.user_vector(case.user_id)
        return model.popularity if vector is None else model.item_vectors @ vector + model.item_bias

    return score


def bestsellers(model: Model) -> Scorer:
    """Return the scorer of popularity."""
    return lambda _: model.popularity


def tune(model: Model, cases: Sequence[Case]) -> Fitted:
    """Find the blend with the best NDCG of the next basket.

    Every blend of the grid ranks every case. The reported NDCG of a case comes from the blend that is best on
    the other half of the cases, so that it is not flattered by the choice.

    Parameters
    ----------
    model : Model
        Trained without the held-out baskets.
    cases : sequence of Case
        At least two.
    """
    grid = [
        Blend(item_share=a, static_share=w, half_life=h, gain=model.blend.gain)
        for h, w, a in product(HALF_LIVES, STATIC_SHARES, ITEM_SHARES)
    ]
    ndcg = np.array([_grid_row(model, case) for case in cases])
    half = np.arange(len(cases)) % 2 == 0
    held = np.zeros(len(cases))
    for fold in (half, ~half):
        held[fold] = ndcg[fold][:, int(np.argmax(ndcg[~fold].mean(axis=0)))]
    return Fitted(grid[int(np.argmax(ndcg.mean(axis=0)))], held)


def _grid_row(model: Model, case: Case) -> list[float]:
    """Return the NDCG of one case under every blend of the grid; what blends have in common is done once."""
    taste = served_taste(model, case)
    mask = np.ones(model.n_items, dtype=np.bool_)
    mask[case.had] = False
    row: list[float] = []
    for half_life in HALF_LIVES:
        items = standardized(item_part(model, taste, half_life))
        mean = mean_vector(model, taste, half_life)
        for share in STATIC_SHARES:
            blend = Blend(static_share=share, gain=model.blend.gain)
            vectors = standardized(vector_part(model, mean, taste.user_vector, blend))
            row += [
                ndcg_at_k(top_k(a * items + (1 - a) * vectors, mask, K), case.target) for a in ITEM_SHARES
            ]
    return row
