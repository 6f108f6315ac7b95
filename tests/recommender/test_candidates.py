"""Rules are honoured exactly: filters, exclusions, allow-lists, in any combination."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.candidates import Scalar, ShelfItem, build_shelf, eligible, items_of_model
from recommender.interactions import Interactions
from recommender.popularity import popularity_model
from recommender.ranking import top_k

IDS = ["a", "b", "c", "d", "é", "z10", "z2"]
CATEGORIES = ["drinks", "kitchen", "toys"]
BRANDS = ["x", "y"]

item_of = st.builds(
    ShelfItem,
    st.sampled_from(IDS),
    st.fixed_dictionaries({}, optional={"brand": st.sampled_from(BRANDS), "stock": st.integers(0, 2)}),
    st.lists(st.sampled_from(CATEGORIES), max_size=3),
)
shelves = st.lists(item_of, max_size=7, unique_by=lambda i: i.item_id)
rules: st.SearchStrategy[dict[str, list[Scalar]]] = st.fixed_dictionaries(
    {},
    optional={
        "category": st.lists(st.sampled_from([*CATEGORIES, "none"]), min_size=1, max_size=3),
        "brand": st.lists(st.sampled_from([*BRANDS, "none"]), min_size=1, max_size=2),
        "stock": st.lists(st.integers(0, 3), min_size=1, max_size=2),
    },
)
ids = st.lists(st.sampled_from([*IDS, "gone"]), max_size=4)


def passes(item: ShelfItem, filters: dict[str, list[Scalar]]) -> bool:
    """Say the rule again, item by item and slowly."""
    for name, allowed in filters.items():
        has = (
            list(item.categories)
            if name == "category"
            else [item.fields[name]]
            if name in item.fields
            else []
        )
        if not set(has) & set(allowed):
            return False
    return True


@given(items=shelves, filters=rules, exclude=ids, only=st.none() | ids, k=st.integers(1, 8))
def test_exactly_k_items_that_pass_every_rule_whenever_k_are_eligible(
    items: list[ShelfItem],
    filters: dict[str, list[Scalar]],
    exclude: list[str],
    only: list[str] | None,
    k: int,
) -> None:
    shelf = build_shelf(items, None)

    mask = eligible(shelf, filters=filters, exclude=exclude, only=only)
    places = top_k(np.zeros(len(shelf), dtype=np.float32), mask, k)

    right = sorted(
        item.item_id
        for item in items
        if passes(item, filters) and item.item_id not in exclude and (only is None or item.item_id in only)
    )
    assert [shelf.items[p].item_id for p in places] == right[:k]


def test_a_filter_on_a_field_that_no_item_has_lets_nothing_pass() -> None:
    shelf = build_shelf([ShelfItem("a", {}, ())], None)

    assert not eligible(shelf, filters={"colour": ["red"]}).any()


def test_true_and_one_are_different_values() -> None:
    shelf = build_shelf([ShelfItem("a", {"new": True}, ()), ShelfItem("b", {"new": 1}, ())], None)

    assert eligible(shelf, filters={"new": [1]}).tolist() == [False, True]
    assert eligible(shelf, filters={"new": [True]}).tolist() == [True, False]


def test_a_field_called_category_does_not_mix_with_the_categories() -> None:
    shelf = build_shelf([ShelfItem("a", {"category": "toys"}, ["drinks"])], None)

    assert not eligible(shelf, filters={"category": ["toys"]}).any()


def test_without_described_items_the_shelf_is_what_the_model_knows() -> None:
    model = popularity_model(no_rows(["b", "a"]))

    shelf = build_shelf(items_of_model(model), model)

    assert [i.item_id for i in shelf.items] == ["a", "b"]
    assert shelf.model_index.tolist() == [0, 1]


def no_rows(item_ids: list[str]) -> Interactions:
    nothing = np.zeros(0, dtype=np.int64)
    return Interactions(
        user_ids=np.zeros(0, dtype="U1"),
        item_ids=np.unique(np.array(item_ids)),
        user_index=nothing,
        item_index=nothing,
        age=nothing,
        occurred_us=nothing,
        weight=nothing.astype(np.float32),
    )
