"""What the manifest says of each file, and which files a question need not open."""

import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from service.clock import to_micros
from service.lake import erase, export, export_all, forget, read_manifest
from service.lake.manifest import EVENTS, EXPOSURES, INTERACTIONS, MAX_TYPES, LakeFile
from service.lake.places import MANIFEST, is_own
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, received

FILE = LakeFile(
    path="events/day=2026-03-02/00000001.parquet",
    dataset=EVENTS,
    day="2026-03-02",
    rows=5,
    size=900,
    first_us=100,
    last_us=200,
    first_seq=11,
    last_seq=15,
    types=("Order Completed", "Product Viewed"),
)


def filled(lake: Path) -> ListLog:
    log = ListLog()
    log.append(
        received(
            an_event("e1", "Product Viewed", at=START - timedelta(hours=1), item_id="tea"),
            an_exposure("x1", "v1", "control"),
            an_event("e2", "Order Completed", at=START + timedelta(hours=1), item_id="tea"),
        )
    )
    export_all(log, lake)
    return log


def test_a_file_says_which_offsets_times_and_types_it_holds(tmp_path: Path) -> None:
    filled(tmp_path)

    events, exposures, interactions = (
        read_manifest(tmp_path).of(d)[0] for d in (EVENTS, EXPOSURES, INTERACTIONS)
    )

    hour = 3_600_000_000
    assert (events.first_seq, events.last_seq) == (1, 3)
    assert (events.first_us, events.last_us) == (to_micros(START) - hour, to_micros(START) + hour)
    assert events.types == ("Experiment Viewed", "Order Completed", "Product Viewed")
    assert (exposures.first_seq, exposures.last_seq, exposures.types) == (2, 2, None)
    assert (interactions.first_seq, interactions.last_seq, interactions.types) == (1, 3, None)


def test_a_file_of_too_many_types_names_none(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(*(an_event(f"e{i}", f"Type {i}") for i in range(MAX_TYPES + 1))))
    export(log, tmp_path)

    assert read_manifest(tmp_path).of(EVENTS)[0].types is None


def test_compaction_keeps_what_files_say_of_themselves(tmp_path: Path) -> None:
    log = ListLog()
    for i in range(10):
        log.append(received(an_event(f"e{i}", f"Type {i}", at=START + timedelta(seconds=i))))
        export(log, tmp_path)

    [merged] = read_manifest(tmp_path).of(EVENTS)

    assert merged.types == tuple(f"Type {i}" for i in range(10))
    assert (merged.first_seq, merged.last_seq) == (1, 10)
    assert merged.last_us is not None
    assert merged.last_us == to_micros(START) + 9_000_000


def test_events_of_one_type_lie_together_and_those_of_one_unit_in_them(tmp_path: Path) -> None:
    log = ListLog()
    log.append(
        received(
            *(
                an_event(f"e{i}", ("View", "Buy")[i % 2], anonymous_id=f"v{i % 3}", user_id=f"u{i % 3}")
                for i in range(60)
            )
        )
    )
    export(log, tmp_path)

    [file] = read_manifest(tmp_path).of(EVENTS)
    rows = pq.ParquetFile(tmp_path / file.path).read().to_pylist()
    keys = [(r["type"], r["anonymous_id"], r["user_id"], r["seq"]) for r in rows]

    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        ({}, True),
        ({"types": ["Order Completed"]}, True),
        ({"types": ["Refunded"]}, False),
        ({"types": []}, False),
        ({"after_seq": 14}, True),
        ({"after_seq": 15}, False),
        ({"upto_seq": 11}, True),
        ({"upto_seq": 10}, False),
        ({"first_us": 200}, True),
        ({"first_us": 201}, False),
        ({"last_us": 100}, True),
        ({"last_us": 99}, False),
        ({"types": ["Order Completed"], "after_seq": 10, "first_us": 150, "last_us": 160}, True),
    ],
)
def test_a_file_is_passed_over_only_if_no_row_can_be_asked_for(asked: dict[str, object], may: bool) -> None:
    assert FILE.may_hold(**asked) is may  # type: ignore[arg-type]  # each case names its own arguments


def test_a_file_of_an_older_manifest_may_hold_anything(tmp_path: Path) -> None:
    filled(tmp_path)
    told = json.loads((tmp_path / MANIFEST).read_text("utf-8"))
    del told["erased"]
    for file in told["files"]:
        for name in ("first_seq", "last_seq", "types", "first_us", "last_us"):
            del file[name]
    (tmp_path / MANIFEST).write_text(json.dumps(told), "utf-8")

    manifest = read_manifest(tmp_path)

    assert manifest.erased == 0
    assert len(manifest.files) == 3
    assert all(
        f.may_hold(types=["x"], after_seq=99, upto_seq=0, first_us=9, last_us=1) for f in manifest.files
    )


def test_taking_rows_out_is_counted_and_adding_some_is_not(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.append(received(an_event("e3", anonymous_id="goes", at=START), at=START + timedelta(days=9)))
    export(log, tmp_path)
    counts = [read_manifest(tmp_path).erased]

    erase(tmp_path, user_ids=[], anonymous_ids=["nobody"])
    counts.append(read_manifest(tmp_path).erased)
    erase(tmp_path, user_ids=[], anonymous_ids=["goes"])
    counts.append(read_manifest(tmp_path).erased)
    export(ListLog(), tmp_path)
    counts.append(read_manifest(tmp_path).erased)

    assert counts == [0, 0, 1, 2]


def test_days_that_need_not_be_kept_count_as_taken_out(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.append(received(an_event("later"), at=START + timedelta(days=3)))
    export(log, tmp_path)
    day = START.date() + timedelta(days=1)

    forget(tmp_path, events_before=day, interactions_before=day)

    assert read_manifest(tmp_path).erased == 1


def test_files_that_no_lake_wrote_stay(tmp_path: Path) -> None:
    day = f"{EVENTS}/day=2026-03-02"
    foreign = [
        tmp_path / path
        for path in (
            "a.txt",
            "photos/2024/wedding.jpg",
            "photos/day=2024-06-01/00000001.parquet",
            f"{EVENTS}/2024/00000001.parquet",
            f"{day}/mine.parquet",
            f"{day}/00000001.parquet.bak",
            f"shop2/{day}/00000001.parquet",
        )
    ]
    own = [tmp_path / day / name for name in ("00000009.parquet", "00000009.tmp")]
    for file in (*foreign, *own):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")

    filled(tmp_path)

    assert [file for file in foreign if not file.exists()] == []
    assert [file for file in own if file.exists()] == []


def test_every_name_that_the_lake_gives_is_its_own(tmp_path: Path) -> None:
    log, named = ListLog(), set()
    for i in range(10):
        log.append(received(an_event(f"e{i}", anonymous_id=f"v{i}")))
        export(log, tmp_path)
        named |= {file.path for file in read_manifest(tmp_path).files}
    erase(tmp_path, user_ids=[], anonymous_ids=["v3"])
    named |= {file.path for file in read_manifest(tmp_path).files}

    assert {path.rpartition("/")[2] for path in named} > {
        "00000001.parquet",
        "00000010-c1.parquet",
        "00000011-e0.parquet",
    }
    assert all(map(is_own, named))
