"""A made-up shop whose truth is known: people love one of several ranges and buy from it again and again."""

import numpy as np
import pandas as pd

DAY_US = 86_400 * 1_000_000


def a_shop(
    *, n_people: int = 240, n_ranges: int = 6, range_size: int = 12, baskets: int = 5, seed: int = 7
) -> pd.DataFrame:
    """Return interactions: each basket holds four items, most of them of the person's own range."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for person in range(n_people):
        loved = person % n_ranges
        for basket in range(baskets):
            own = rng.choice(range_size, size=3, replace=False) + loved * range_size
            any_item = rng.integers(0, n_ranges * range_size)
            time = (basket * 10 + int(rng.integers(0, 9))) * DAY_US
            rows += [
                {
                    "person_id": f"u:{person:04d}",
                    "item_id": f"item-{item:03d}",
                    "event_type": "Order Completed",
                    "occurred_us": time,
                    "quantity": 1.0,
                    "event_id": f"order-{person}-{basket}",
                }
                for item in {*own.tolist(), int(any_item)}
            ]
    return pd.DataFrame(rows)
