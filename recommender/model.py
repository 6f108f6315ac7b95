"""Everything serving needs of a trained model: frozen arrays, looked up by external id."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.errors import InvalidArtifactError

MAX_ID_BYTES = 512
"""Longer ids get no vector: one of them would widen the whole column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """How the parts of a score are mixed; fitted by the trainer, shipped with the model.

    Attributes
    ----------
    item_share : float
        Share of the item-item part, in [0, 1]; the rest is the vector part.
    static_share : float
        Share of the stored user vector against the recent items' mean, in [0, 1].
    half_life : float
        Baskets after which an interaction counts half.
    gain : float
        Scales the mean of item vectors to the length of a user vector.
    """

    item_share: float = 0.5
    static_share: float = 0.3
    half_life: float = 2.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.item_share <= 1 and 0 <= self.static_share <= 1):
            raise InvalidArtifactError(f"shares must lie in [0, 1]: {self}")
        if not (0 < self.half_life < float("inf") and 0 < self.gain < float("inf")):
            raise InvalidArtifactError(f"half-life and gain must be finite and above 0: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained model. One without vectors and neighbours ranks by popularity alone.

    Attributes
    ----------
    item_ids : array of bytes, shape (n_items,)
        UTF-8, sorted, so that a tie in score is broken by item id.
    item_vectors : array of float32, shape (n_items, n_dims)
    item_bias, popularity : array of float32, shape (n_items,)
    neighbour_index : array of int32, shape (n_items, n_neighbours)
    neighbour_weight : array of float32, shape (n_items, n_neighbours)
    user_ids : array of bytes, shape (n_users,)
        Sorted.
    user_vectors : array of float32, shape (n_users, n_dims)
    """

    item_ids: npt.NDArray[np.bytes_]
    item_vectors: npt.NDArray[np.float32]
    item_bias: npt.NDArray[np.float32]
    popularity: npt.NDArray[np.float32]
    neighbour_index: npt.NDArray[np.int32]
    neighbour_weight: npt.NDArray[np.float32]
    user_ids: npt.NDArray[np.bytes_]
    user_vectors: npt.NDArray[np.float32]
    blend: Blend

    def __post_init__(self) -> None:
        n, n_users = self.item_ids.size, self.user_ids.size
        rows = {
            "item_vectors": (self.item_vectors, n),
            "item_bias": (self.item_bias, n),
            "popularity": (self.popularity, n),
            "neighbour_index": (self.neighbour_index, n),
            "neighbour_weight": (self.neighbour_weight, n),
            "user_vectors": (self.user_vectors, n_users),
        }
        wrong = [
            f"{name} has {array.shape[0]} rows" for name, (array, want) in rows.items() if len(array) != want
        ]
        if wrong or self.neighbour_index.shape != self.neighbour_weight.shape:
            raise InvalidArtifactError(
                f"{n} items and {n_users} users, but {wrong or 'neighbours differ in shape'}"
            )
        if self.item_vectors.shape[1] != self.user_vectors.shape[1]:
            raise InvalidArtifactError("item and user vectors differ in length")
        if (
            self.neighbour_index.size
            and not 0 <= self.neighbour_index.min() <= self.neighbour_index.max() < n
        ):
            raise InvalidArtifactError("a neighbour is no item")
        for ids in (self.item_ids, self.user_ids):
            if ids.size > 1 and not (ids[:-1] < ids[1:]).all():
                raise InvalidArtifactError("ids must be sorted and unique")

    @property
    def n_items(self) -> int:
        """How many items can be scored."""
        return int(self.item_ids.size)

    @property
    def personal(self) -> bool:
        """Whether a score can depend on the person."""
        return bool(self.item_vectors.shape[1] or self.neighbour_index.shape[1])

    def user_vector(self, person_id: str) -> npt.NDArray[np.float32] | None:
        """Return the stored vector (n_dims,) of a person, None if there is none."""
        found = index_of(self.user_ids, [person_id])[0]
        return None if found < 0 else self.user_vectors[found]


def encode_ids(ids: npt.NDArray[np.str_] | list[str]) -> npt.NDArray[np.bytes_]:
    r"""Return ids as fixed-width UTF-8, whose byte order is the order of code points.

    Raises
    ------
    InvalidArtifactError
        If an id is longer than `MAX_ID_BYTES`, empty, or ends in a NUL (which a fixed width cannot keep).

    Examples
    --------
    >>> encode_ids(["tea", "té"]).tolist()
    [b'tea', b't\xc3\xa9']
    """
    encoded = [str(i).encode("utf-8") for i in ids]
    if not all(fits(str(i)) for i in ids):
        raise InvalidArtifactError(f"an id is empty, ends in NUL or is longer than {MAX_ID_BYTES} bytes")
    return np.array(encoded, dtype=np.bytes_) if encoded else np.zeros(0, dtype="S1")


def fits(external_id: str) -> bool:
    """Tell whether an id can be kept in a model."""
    raw = external_id.encode("utf-8", "replace")
    return bool(0 < len(raw) <= MAX_ID_BYTES and not raw.endswith(b"\0"))


def index_of(sorted_ids: npt.NDArray[np.bytes_], wanted: list[str]) -> npt.NDArray[np.int64]:
    """Return the place of each wanted id in `sorted_ids`, -1 where it is absent.

    Examples
    --------
    >>> index_of(encode_ids(["a", "c"]), ["c", "b"]).tolist()
    [1, -1]
    """
    if not wanted or sorted_ids.size == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    keys = np.array([w.encode("utf-8", "replace") for w in wanted], dtype=np.bytes_)
    place = np.minimum(np.searchsorted(sorted_ids, keys), sorted_ids.size - 1)
    return np.where(sorted_ids[place] == keys, place, -1).astype(np.int64)
