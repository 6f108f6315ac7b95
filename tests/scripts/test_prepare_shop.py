import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from service.settings import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "prepare_shop.py"
COLUMNS = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
]
MONDAY = "2011-03-07 10:00:00"
ROWS: list[tuple[Any, ...]] = [
    ("1", "10001a", "RED  LUNCH BAG", 2, MONDAY, 1.25, 7.0, "France"),
    ("1", "10001A", "RED LUNCH BAG ", 3, "2011-03-07 10:01:00", 1.25, 7.0, "France"),
    ("1", "POST", "POSTAGE", 1, MONDAY, 18.0, 7.0, "France"),
    ("1", "gift_0001_20", "Voucher", 1, MONDAY, 20.0, 7.0, "France"),
    ("2", "10002", "Odd thing", 1, MONDAY, 0.0, 7.0, "France"),
    ("3", "10002", "Odd thing", 1, MONDAY, 2.0, None, "France"),
    ("4", "10002", "Odd thing", -1, MONDAY, 2.0, 7.0, "France"),
    ("5", "DCGSSGIRL", "GIRLS PARTY BAG", 1, MONDAY, 3.0, 8.0, "EIRE"),
    ("C6", "10001A", "RED LUNCH BAG", -1, "2011-03-08 09:00:00", 1.25, 7.0, "France"),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(folder / "source.parquet")
    subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "source.parquet"), "--into", str(folder)], check=True
    )
    return folder


def test_orders_keep_goods_of_known_customers_and_add_up_equal_lines(prepared: Path) -> None:
    rows = pq.read_table(prepared / "orders.parquet").to_pylist()

    found = [
        (r["order_id"], r["item_id"], r["quantity"], r["price_milli"], r["customer_id"], r["refund"])
        for r in rows
    ]
    assert found == [
        ("1", "10001A", 5, 1_250, 7, False),
        ("5", "DCGSSGIRL", 1, 3_000, 8, False),
        ("C6", "10001A", 1, 1_250, 7, True),
    ]
    assert rows[0]["ordered_at"].isoformat() == "2011-03-07T10:00:00"


def test_items_have_a_tidy_title_a_price_and_categories(prepared: Path) -> None:
    rows = pq.read_table(prepared / "items.parquet").to_pylist()

    assert rows == [
        {
            "item_id": "10001A",
            "title": "Red Lunch Bag",
            "price_milli": 1_250,
            "categories": ["bags", "kitchen"],
        },
        {"item_id": "DCGSSGIRL", "title": "Girls Party Bag", "price_milli": 3_000, "categories": ["bags"]},
    ]


def test_preparing_twice_gives_the_same_bytes(prepared: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(SCRIPT), str(prepared / "source.parquet"), "--into", str(tmp_path)], check=True
    )

    for name in ("orders.parquet", "items.parquet"):
        assert (tmp_path / name).read_bytes() == (prepared / name).read_bytes()
