"""Who had what, when: one checked table with dense indices, cut into baskets and split by time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from recommender.baskets import BASKET_GAP_US
from recommender.errors import InvalidInteractionsError

PERSON_ID = "person_id"
ITEM_ID = "item_id"
EVENT_TYPE = "event_type"
OCCURRED_US = "occurred_us"
EVENT_ID = "event_id"
COLUMNS = (PERSON_ID, ITEM_ID, EVENT_TYPE, OCCURRED_US, EVENT_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interactions:
    """One row per person, basket and item, sorted by person and time.

    Attributes
    ----------
    user_ids, item_ids : array of str, shape (n_users,) and (n_items,)
        External ids, sorted; a row's indices point into them.
    user_index, item_index : array of int, shape (n_rows,)
    age : array of int, shape (n_rows,)
        Baskets since: 0 is the newest basket of the person.
    occurred_us : array of int, shape (n_rows,)
        Microseconds since the epoch.
    weight : array of float, shape (n_rows,)
        Weight of the strongest event with the item in that basket.
    """

    user_ids: npt.NDArray[np.str_]
    item_ids: npt.NDArray[np.str_]
    user_index: npt.NDArray[np.int64]
    item_index: npt.NDArray[np.int64]
    age: npt.NDArray[np.int64]
    occurred_us: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.user_index.size)

    def select(self, mask: npt.NDArray[np.bool_]) -> "Interactions":
        """Return the rows where `mask` (n_rows,) is true; ids and indices keep their meaning."""
        return Interactions(
            user_ids=self.user_ids,
            item_ids=self.item_ids,
            user_index=self.user_index[mask],
            item_index=self.item_index[mask],
            age=self.age[mask],
            occurred_us=self.occurred_us[mask],
            weight=self.weight[mask],
        )

    def n_pairs(self) -> int:
        """Return how many different pairs of person and item there are."""
        return int(np.unique(self.user_index * max(1, self.item_ids.size) + self.item_index).size)


def build(
    table: pd.DataFrame, weights: Mapping[str, float], *, more_items: Collection[str] = ()
) -> Interactions:
    """Check a table of events with items and give it dense indices.

    Rows whose event type has no weight are left out. Repeats of an item inside one basket become one row.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `COLUMNS`, in any order of rows; more columns are ignored.
    weights : mapping of event type to weight
        In (0, 100].
    more_items : collection of str
        Items to give an index even if nobody had them.

    Returns
    -------
    Interactions
        Possibly empty.

    Raises
    ------
    InvalidInteractionsError
        If a column is missing or a value is absent.

    Examples
    --------
    >>> rows = pd.DataFrame({"person_id": ["u:1"], "item_id": ["tea"], "event_type": ["Order Completed"],
    ...                      "occurred_us": [0], "event_id": ["e1"]})
    >>> build(rows, {"Order Completed": 1.0}).item_ids.tolist()
    ['tea']
    """
    rows = _checked(table, weights)
    user_ids, user_index = np.unique(rows[PERSON_ID].to_numpy(dtype=str), return_inverse=True)
    item_ids = np.unique(np.array([*rows[ITEM_ID].unique(), *more_items], dtype=str))
    item_index = np.searchsorted(item_ids, rows[ITEM_ID].to_numpy(dtype=str))
    frame = pd.DataFrame(
        {
            "user": user_index.astype(np.int64),
            "item": item_index.astype(np.int64),
            "time": rows[OCCURRED_US].to_numpy(dtype=np.int64),
            "weight": rows[EVENT_TYPE].map(dict(weights)).to_numpy(dtype=np.float32),
        }
    ).sort_values(["user", "time", "item"], kind="stable")
    frame["age"] = _ages(frame["user"].to_numpy(), frame["time"].to_numpy())
    one = frame.groupby(["user", "age", "item"], sort=False).agg(
        time=("time", "max"), weight=("weight", "max")
    )
    one = one.reset_index().sort_values(["user", "age", "item"], ascending=[True, False, True], kind="stable")
    return Interactions(
        user_ids=user_ids,
        item_ids=item_ids,
        user_index=one["user"].to_numpy(dtype=np.int64),
        item_index=one["item"].to_numpy(dtype=np.int64),
        age=one["age"].to_numpy(dtype=np.int64),
        occurred_us=one["time"].to_numpy(dtype=np.int64),
        weight=one["weight"].to_numpy(dtype=np.float32),
    )


def _checked(table: pd.DataFrame, weights: Mapping[str, float]) -> pd.DataFrame:
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise InvalidInteractionsError(f"column {missing[0]!r} is missing; there are {sorted(table.columns)}")
    rows = table.loc[table[EVENT_TYPE].isin(list(weights)), list(COLUMNS)]
    if rows.isna().to_numpy().any():
        raise InvalidInteractionsError("a person, an item, a time or an event id is absent")
    # An event that names a user and an anonymous id counts once, for the user: "u:..." sorts after "a:...".
    rows = rows.sort_values([EVENT_ID, ITEM_ID, PERSON_ID], kind="stable")
    return rows.drop_duplicates([EVENT_ID, ITEM_ID], keep="last")


def _ages(user: npt.NDArray[np.int64], time: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return baskets since, for rows sorted by user and time: the vectorised form of `basket_ages`."""
    if user.size == 0:
        return np.zeros(0, dtype=np.int64)
    same = user[1:] == user[:-1]
    starts = np.concatenate([[True], ~same | (np.diff(time) > BASKET_GAP_US)])
    basket = np.cumsum(starts)
    newest = np.maximum.reduceat(basket, np.flatnonzero(np.concatenate([[True], ~same])))
    ages: npt.NDArray[np.int64] = newest[np.cumsum(np.concatenate([[True], ~same])) - 1] - basket
    return ages.astype(np.int64)
