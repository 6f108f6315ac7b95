"""Clean the UCI Online Retail table into the two data files of the demo shop.

Usage: python scripts/prepare_shop.py path/to/online_retail.parquet

Writes orders.parquet and items.parquet into examples/shop. They are committed: only someone who wants to
check or repeat the cleaning needs this script. The same input gives the same bytes (with the same pyarrow).
"""

from pathlib import Path

import click
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SHOP = Path(__file__).resolve().parents[1] / "examples" / "shop"

# A product code starts with five digits; DCGS... and PADS are the only goods that do not. What is left out
# are services: postage (POST, DOT, C2), manual corrections (M), discounts (D), bank and Amazon fees, gift
# vouchers, samples (S), a charity (CRUK).
GOODS = r"^(?:\d{5}|DCGS|PADS$)"

# An item is in every category of which a word begins with one of these; in "other" when there is none.
CATEGORIES = {
    "bags": r"BAGS?\b|SHOPPER|PURSE|HANDBAG|BACKPACK|RUCKSACK|RUCSAC|SATCHEL|WALLET",
    "lighting": r"LIGHT|T-?LIGHT|LAMP|LANTERN|CANDLE|NIGHT ?LIGHT|CHANDELIER",
    "kitchen": r"MUGS?\b|CUPS?\b|TEA\b|TEACUP|TEAPOT|TEATIME|TEASPOON|COFFEE|PLATES?\b|BOWL|CAKE|BAKING|JAM\b"
    r"|JARS?\b|KITCHEN|APRON|JUGS?\b|SPOON|CUTLERY|LUNCH|BOTTLE|GLASS|NAPKIN|TOWEL|OVEN|TINS?\b|RECIPE|COOK|EGG",
    "christmas": r"CHRISTMAS|XMAS|SANTA|REINDEER|ADVENT|SNOWFLAKE|NOEL|STOCKING",
    "paper": r"CARDS?\b|PAPER|WRAP|NOTEBOOK|STICKER|ENVELOPE|PENCIL|PENS?\b|STATIONERY|CHALK|TAGS?\b|RIBBON"
    r"|TISSUE",
    "toys": r"TOYS?\b|GAMES?\b|DOLL|PUZZLE|JIGSAW|PLAYHOUSE|SPACEBOY|BALLOON|CHILD|BABY|SKITTLES|SOLDIER"
    r"|INFLATABLE",
    "jewellery": r"NECKLACE|BRACELET|EARRING|RINGS?\b|BROOCH|JEWEL|BEAD|PENDANT|CHARM|HAIR",
    "garden": r"GARDEN|PLANT|WATERING|BIRD|PARASOL|PICNIC|FLOWER|HERB|SEED",
    "home": r"FRAME|CLOCK|CUSHION|MIRROR|DOOR|SIGN\b|HOOK|DRAWER|CABINET|RACK|SHELF|BATHROOM|HOT WATER|HEART"
    r"|DECORATION|GARLAND|BUNTING|VASE|TRINKET|WALL\b|HANGING",
    "storage": r"BOX|BASKET|STORAGE|CRATE|SUITCASE|TRAY|HOLDER|CASES?\b",
}


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=SHOP, show_default=True)
def main(source: Path, into: Path) -> None:
    """Clean SOURCE, the UCI table as one Parquet file, into the demo shop's data files."""
    lines = clean(pd.read_parquet(source))
    items = items_of(lines)
    into.mkdir(parents=True, exist_ok=True)
    _write(into / "orders.parquet", orders_of(lines))
    _write(into / "items.parquet", items)
    click.echo(
        f"{len(lines):,} lines, {lines['order_id'].nunique():,} orders and refunds, {len(items):,} items"
    )


def clean(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per line of an order or a refund of a known customer, goods only, in time order."""
    item_id = table["StockCode"].str.strip().str.upper()
    keep = table["CustomerID"].notna() & (table["UnitPrice"] > 0) & item_id.str.match(GOODS)
    refund = table["InvoiceNo"].str.startswith("C")
    keep &= (refund & (table["Quantity"] < 0)) | (~refund & (table["Quantity"] > 0))
    lines = pd.DataFrame(
        {
            "order_id": table["InvoiceNo"],
            "refund": refund,
            "customer_id": table["CustomerID"].fillna(0).astype("int32"),
            "country": table["Country"],
            "ordered_at": pd.to_datetime(table["InvoiceDate"]),
            "item_id": item_id,
            "title": table["Description"].str.strip().str.replace(r"\s+", " ", regex=True),
            "quantity": table["Quantity"].abs().astype("int32"),
            "price_milli": (table["UnitPrice"] * 1000).round().astype("int32"),
        }
    )[keep]
    # A few invoices were typed over two minutes; an order has one time, its first.
    lines["ordered_at"] = lines.groupby("order_id")["ordered_at"].transform("min")
    return lines.sort_values(["ordered_at", "order_id", "item_id", "price_milli"], kind="stable")


def orders_of(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the lines without titles; equal lines of one order are added up."""
    keys = ["ordered_at", "order_id", "refund", "customer_id", "country", "item_id", "price_milli"]
    return lines.groupby(keys, sort=True)[["quantity"]].sum().reset_index()


def items_of(lines: pd.DataFrame) -> pd.DataFrame:
    """Return every item that was ever ordered: its most frequent title, its median price, its categories."""
    sold = lines[~lines["refund"]]
    counts = sold.groupby(["item_id", "title"]).size().reset_index(name="n")
    counts = counts.sort_values(["item_id", "n", "title"], ascending=[True, False, True], kind="stable")
    titles = counts.drop_duplicates("item_id").set_index("item_id")["title"]
    prices = sold.groupby("item_id")["price_milli"].median().round().astype("int32")
    upper = titles.str.upper()
    tags = pd.DataFrame({name: upper.str.contains(rf"\b(?:{words})") for name, words in CATEGORIES.items()})
    categories = [[str(c) for c in tags.columns[row]] or ["other"] for row in tags.to_numpy()]
    return pd.DataFrame(
        {
            "item_id": titles.index,
            "title": [_title_case(t) for t in titles],
            "price_milli": prices.reindex(titles.index).to_numpy(),
            "categories": categories,
        }
    )


def _title_case(text: str) -> str:
    return " ".join(word.capitalize() for word in text.split(" ")) if text.isupper() else text


def _write(path: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    if "ordered_at" in table.column_names:
        index = table.column_names.index("ordered_at")
        seconds = table.column("ordered_at").cast(pa.timestamp("s"))
        table = table.set_column(index, "ordered_at", seconds)
    pq.write_table(table, path, compression="zstd", compression_level=19)
    click.echo(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
