"""Properties in columns of their own say what the maps say, whatever their names and however many."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.lake import export_all, read_manifest
from service.lake.columns import Wanted
from service.lake.engines.duckdb import open_duckdb
from service.lake.flat import MOST, fact_column
from tests.service.lake.logs import ListLog, an_event, received

ODD = {"orderId": 5.0, "orderid": 6, "order.id": "x", "ord-65-r": None, "é ": True, "": 7}


def read(lake: Path, *names: str) -> dict[int, tuple[object, ...]]:
    """Return each wanted fact, then each amount, by offset."""
    wanted = Wanted(facts=tuple(sorted(names)), amounts=tuple(sorted(names)))
    with open_duckdb(lake) as engine:
        rows = engine.rows(engine.events(wanted))
    columns = [*map(wanted.fact, wanted.facts), *map(wanted.amount, wanted.amounts)]
    return {row["seq"]: tuple(row[column] for column in columns) for row in rows}


def exported(lake: Path, *pages: Mapping[str, Any]) -> None:
    log = ListLog()
    for number, properties in enumerate(pages):
        log.append(received(an_event(f"e{number}", **properties)))
        export_all(log, lake)


def without_columns(lake: Path) -> None:
    """Make the manifest that of a release that knew no such columns."""
    told = json.loads((lake / "manifest.json").read_text())
    for entry in told["files"]:
        del entry["flat"]
    (lake / "manifest.json").write_text(json.dumps(told))


def test_names_that_engines_confuse_keep_apart(tmp_path: Path) -> None:
    exported(tmp_path, ODD)

    found = read(tmp_path, *ODD)

    facts = ("7", "null", '"x"', "5", "6", "true")
    amounts = (7_000_000, None, None, 5_000_000, 6_000_000, None)
    assert found == {1: facts + amounts}
    assert len({fact_column(name).lower() for name in ODD}) == len(ODD)
    without_columns(tmp_path)
    assert read(tmp_path, *ODD) == found


@pytest.mark.parametrize("n_more", [MOST - 2, MOST + 5])
def test_a_rare_name_among_many_is_found_and_one_that_is_nowhere_is_null(tmp_path: Path, n_more: int) -> None:
    many = {f"a{i:03}": i for i in range(n_more)}
    exported(tmp_path, many | {"zebra": 1}, {"zebra": 2.5})

    (first, second) = read_manifest(tmp_path).of("events")

    assert len(first.flat or ()) == min(MOST, n_more + 1)
    assert second.flat == ("zebra",)
    assert read(tmp_path, "zebra", "nowhere") == {
        1: (None, "1", None, 1_000_000),
        2: (None, "2.5", None, 2_500_000),
    }


def test_columns_hold_what_the_events_hold_and_need_no_map(tmp_path: Path) -> None:
    exported(tmp_path, {"n": 1}, {"n": "text", "more": [1]}, {})

    assert [file.flat for file in read_manifest(tmp_path).of("events")] == [("n",), ("n",), ()]
    assert read(tmp_path, "n") == {1: ("1", 1_000_000), 2: ('"text"', None), 3: (None, None)}
