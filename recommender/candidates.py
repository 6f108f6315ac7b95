"""Which items may be shown: the shelf of active items, and the masks that rules cut out of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recommender.model import Model, encode_ids, fits, index_of

CATEGORY = "category"
Scalar = str | int | bool


class ShelfItem(NamedTuple):
    """An item as a shop describes it."""

    item_id: str
    fields: Mapping[str, object]
    categories: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """All active items in order of id, joined once with one model.

    Attributes
    ----------
    items : tuple of ShelfItem
        A position in this tuple is the index that every mask and score refers to.
    ids : array of bytes, shape (n_items,)
    model_index : array of int, shape (n_items,)
        Place in the model, -1 for an item the model has never seen.
    tags : mapping of field name to value to positions
        What filters look up; ``category`` holds the categories, the rest are text, whole-number and boolean
        fields.
    """

    items: tuple[ShelfItem, ...]
    ids: npt.NDArray[np.bytes_]
    model_index: npt.NDArray[np.int64]
    tags: Mapping[str, Mapping[Scalar, npt.NDArray[np.int64]]]

    def __len__(self) -> int:
        return len(self.items)

    def mask_of(self, item_ids: Collection[str]) -> npt.NDArray[np.bool_]:
        """Return a mask (n_items,) of the named items; unknown ones are passed over."""
        mask = np.zeros(len(self.items), dtype=np.bool_)
        place = index_of(self.ids, list(item_ids))
        mask[place[place >= 0]] = True
        return mask


def build_shelf(items: Iterable[ShelfItem], model: Model | None) -> Shelf:
    """Put items on a shelf; without any, the shelf is what the model knows.

    Parameters
    ----------
    items : iterable of ShelfItem
        The active items of the shop.
    model : Model or None
        The model that will score them.

    Examples
    --------
    >>> shelf = build_shelf([ShelfItem("tea", {"brand": "x"}, ["drinks"])], None)
    >>> shelf.tags["category"]["drinks"].tolist(), shelf.model_index.tolist()
    ([0], [-1])
    """
    listed = sorted((i for i in items if fits(i.item_id)), key=lambda i: i.item_id.encode("utf-8"))
    ids = encode_ids([i.item_id for i in listed])
    known = index_of(model.item_ids, [i.item_id for i in listed]) if model else np.full(len(listed), -1)
    return Shelf(items=tuple(listed), ids=ids, model_index=known.astype(np.int64), tags=_tags(listed))


def items_of_model(model: Model) -> list[ShelfItem]:
    """Return the items a model was trained on, for a shop that has not described any."""
    return [ShelfItem(raw.decode("utf-8"), {}, ()) for raw in model.item_ids.tolist()]


def eligible(
    shelf: Shelf,
    *,
    filters: Mapping[str, Sequence[Scalar]],
    exclude: Collection[str] = (),
    only: Collection[str] | None = None,
) -> npt.NDArray[np.bool_]:
    """Tell which items of the shelf pass every rule.

    Parameters
    ----------
    shelf : Shelf
        The active items.
    filters : mapping of field name to allowed values
        An item passes when, for every field, it has one of the values. A field no item has lets nothing pass.
    exclude : collection of item ids
        Never shown.
    only : collection of item ids, or None
        When given, nothing else is shown.

    Returns
    -------
    array of bool, shape (n_items,)

    Examples
    --------
    >>> shelf = build_shelf([ShelfItem("a", {}, ["x"]), ShelfItem("b", {}, ["x"])], None)
    >>> eligible(shelf, filters={"category": ["x"]}, exclude=["a"]).tolist()
    [False, True]
    """
    mask = np.ones(len(shelf), dtype=np.bool_)
    for name, allowed in filters.items():
        passing = np.zeros(len(shelf), dtype=np.bool_)
        for value in allowed:
            at = shelf.tags.get(name, {}).get(_tagged(value))
            if at is not None:
                passing[at] = True
        mask &= passing
    if exclude:
        mask &= ~shelf.mask_of(exclude)
    if only is not None:
        mask &= shelf.mask_of(only)
    return mask


def _tagged(value: Scalar) -> Scalar:
    # True == 1 as a key of a dict; a shop means different things by them.
    return f"\0{value}" if isinstance(value, bool) else value


def _tags(items: Sequence[ShelfItem]) -> dict[str, dict[Scalar, npt.NDArray[np.int64]]]:
    places: dict[str, dict[Scalar, list[int]]] = {}
    for place, item in enumerate(items):
        for name, value in item.fields.items():
            if name != CATEGORY and isinstance(value, str | int):
                places.setdefault(name, {}).setdefault(_tagged(value), []).append(place)
        for category in dict.fromkeys(item.categories):
            places.setdefault(CATEGORY, {}).setdefault(category, []).append(place)
    return {
        name: {value: np.array(at, dtype=np.int64) for value, at in values.items()}
        for name, values in places.items()
    }
