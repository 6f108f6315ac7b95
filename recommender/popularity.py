"""What many people had lately: the answer for people of whom nothing is known."""

import numpy as np
import numpy.typing as npt

from recommender.interactions import Interactions
from recommender.model import Blend, Model, encode_ids

HALF_LIFE_US = 90 * 86_400 * 1_000_000


def popularity(interactions: Interactions) -> npt.NDArray[np.float32]:
    """Count the people who had each item, an older purchase counting less (half after 90 days).

    A person counts once per item, with the newest time, so that one wholesaler cannot make a bestseller.

    Parameters
    ----------
    interactions : Interactions
        Age is counted from the newest row.

    Returns
    -------
    array of float32, shape (n_items,)
        People-equivalents, 0 for an item nobody had.

    Examples
    --------
    >>> import pandas as pd
    >>> from recommender.interactions import build
    >>> rows = pd.DataFrame({"person_id": ["u:1", "u:2"], "item_id": ["tea", "tea"], "event_id": ["e1", "e2"],
    ...                      "event_type": ["Order Completed"] * 2, "occurred_us": [0, HALF_LIFE_US]})
    >>> popularity(build(rows, {"Order Completed": 1.0})).tolist()
    [1.5]
    """
    n_items = interactions.item_ids.size
    if len(interactions) == 0:
        return np.zeros(n_items, dtype=np.float32)
    pair = interactions.user_index * n_items + interactions.item_index
    order = np.lexsort((-interactions.occurred_us, pair))
    _, first = np.unique(pair[order], return_index=True)
    newest = order[first]
    age = (interactions.occurred_us.max() - interactions.occurred_us[newest]) / HALF_LIFE_US
    counts = np.bincount(interactions.item_index[newest], weights=np.exp2(-age), minlength=n_items)
    return counts.astype(np.float32)


def popularity_model(interactions: Interactions) -> Model:
    """Return a model that knows nothing of persons: for shops with too little data, and for failed gates."""
    n_items = interactions.item_ids.size
    return Model(
        item_ids=encode_ids(interactions.item_ids),
        item_vectors=np.zeros((n_items, 0), dtype=np.float32),
        item_bias=np.zeros(n_items, dtype=np.float32),
        popularity=popularity(interactions),
        neighbour_index=np.zeros((n_items, 0), dtype=np.int32),
        neighbour_weight=np.zeros((n_items, 0), dtype=np.float32),
        user_ids=encode_ids([]),
        user_vectors=np.zeros((0, 0), dtype=np.float32),
        blend=Blend(),
    )
