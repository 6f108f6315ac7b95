import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.kinds import MAX_AMOUNT, micro_of
from service.lake import LakeBusyError, LakeError, erase, export, export_all, read_interactions, read_manifest
from service.lake.manifest import EVENTS, EXPOSURES, INTERACTIONS, read_files, reading
from service.lake.rows import canonical_json, whole_json
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, days, received


def rows(lake: Path, dataset: str = EVENTS) -> list[dict[str, object]]:
    manifest = read_manifest(lake)
    table = read_files(lake, dataset, manifest.of(dataset))
    return sorted(table.to_pylist(), key=lambda row: row["seq"])


def test_every_event_is_exported_once_in_log_order(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(*(an_event(f"e{i}", at=START - days(i)) for i in range(7))))

    offsets = [export(log, tmp_path, limit=3) for _ in range(4)]

    assert offsets == [3, 6, 7, 7]
    assert [row["event_id"] for row in rows(tmp_path)] == [f"e{i}" for i in range(7)]


def test_an_export_that_does_not_want_to_wait_says_who_is_in_its_way(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("e1")))

    with reading(tmp_path), pytest.raises(LakeBusyError):
        export(log, tmp_path, wait=False)

    assert export(log, tmp_path, wait=False) == 1


def test_a_log_that_did_not_grow_writes_nothing(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("e1")))
    export(log, tmp_path)
    before = read_manifest(tmp_path)

    export(log, tmp_path)

    assert read_manifest(tmp_path) == before


def test_pages_of_the_log_are_at_most_2000_long(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(*(an_event(f"e{i}") for i in range(30))))

    export(log, tmp_path, limit=5_000)

    assert max(log.reads) <= 2_000


def test_files_are_partitioned_by_day_of_receipt_and_sorted_by_unit(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("e1", anonymous_id="b"), an_event("e2", anonymous_id="a"), at=START))
    log.append(received(an_event("e3", anonymous_id="c", at=START - days(90)), at=START + days(1)))

    export(log, tmp_path)

    manifest = read_manifest(tmp_path)
    assert [f.day for f in manifest.of(EVENTS)] == ["2026-03-02", "2026-03-03"]
    first = read_files(tmp_path, EVENTS, manifest.of(EVENTS)[:1])
    assert first["anonymous_id"].to_pylist() == ["a", "b"]


def test_exposures_are_told_apart_from_other_events(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("e1"), an_exposure("x1", "v1", "banner", revision=7)))

    export(log, tmp_path)

    assert rows(tmp_path, EXPOSURES) == [
        {
            "seq": 2,
            "experiment_key": "free-shipping",
            "phase": 1,
            "variant_key": "banner",
            "unit_type": "anonymous_id",
            "unit_id": "v1",
            "occurred_us": int(START.timestamp()) * 1_000_000,
            "revision": 7,
            "source": "api",
        }
    ]


def test_an_interaction_is_read_back_for_the_best_known_person_only(tmp_path: Path) -> None:
    log = ListLog()
    log.append(
        received(
            an_event("e1", user_id="maria", item_id="tea"),
            an_event(
                "e2", "Order Completed", products=[{"item_id": "tea", "quantity": 2}, {"item_id": "cup"}]
            ),
        )
    )

    export(log, tmp_path)

    table = read_interactions(tmp_path)
    assert table.column_names == ["person_id", "item_id", "event_type", "occurred_us", "quantity", "event_id"]
    found = [(r["person_id"], r["item_id"], r["quantity"], r["event_id"]) for r in table.to_pylist()]
    assert found == [("u:maria", "tea", 1.0, "e1"), ("a:v1", "cup", 1.0, "e2"), ("a:v1", "tea", 2.0, "e2")]


def test_an_empty_lake_has_no_interactions(tmp_path: Path) -> None:
    assert read_interactions(tmp_path / "none").num_rows == 0


def test_orphans_of_a_killed_writer_are_ignored_and_then_swept(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("e1", item_id="tea")))
    export(log, tmp_path)
    folder = (tmp_path / read_manifest(tmp_path).of(INTERACTIONS)[0].path).parent
    (folder / "00000099.parquet").write_bytes(b"half a file")
    (folder / "00000100.tmp").write_bytes(b"")

    seen = read_interactions(tmp_path).num_rows
    log.append(received(an_event("e2")))
    export(log, tmp_path)

    assert seen == 1
    assert [p.name for p in folder.iterdir()] == ["00000001.parquet"]


def test_many_small_files_become_one(tmp_path: Path) -> None:
    log = ListLog()
    for i in range(25):
        log.append(received(an_event(f"e{i}", item_id=f"i{i}")))
        export(log, tmp_path)

    assert len(read_manifest(tmp_path).of(EVENTS)) < 10
    assert [row["event_id"] for row in rows(tmp_path)] == [f"e{i}" for i in range(25)]
    assert read_interactions(tmp_path)["item_id"].to_pylist() == [f"i{i}" for i in range(25)]


def test_a_log_restored_from_an_older_backup_rebuilds_the_lake(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(*(an_event(f"e{i}") for i in range(5))))
    export(log, tmp_path)
    restored = ListLog()
    restored.append(received(an_event("e0"), an_event("other"), *(an_event(f"n{i}") for i in range(6))))

    export_all(restored, tmp_path)

    assert [row["event_id"] for row in rows(tmp_path)] == ["e0", "other", *(f"n{i}" for i in range(6))]


def test_an_emptied_log_empties_the_lake(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("e1")))
    export(log, tmp_path)

    offset = export(ListLog(), tmp_path)

    assert offset == 0
    assert rows(tmp_path) == []


def test_erasing_a_person_leaves_no_row_and_no_byte_of_them(tmp_path: Path) -> None:
    log = ListLog()
    log.append(
        received(
            an_event("e1", user_id="maria-secret", anonymous_id=None, item_id="tea"),
            an_exposure("x1", "visitor-secret", "banner"),
            an_event("e2", anonymous_id="visitor-secret", item_id="cup"),
            an_event("e3", anonymous_id="other", item_id="cup"),
        )
    )
    export(log, tmp_path)

    removed = erase(tmp_path, user_ids=["maria-secret"], anonymous_ids=["visitor-secret"])

    assert removed == 3 + 1 + 2
    assert [row["event_id"] for row in rows(tmp_path)] == ["e3"]
    assert rows(tmp_path, EXPOSURES) == []
    assert read_interactions(tmp_path)["person_id"].to_pylist() == ["a:other"]
    assert erase(tmp_path, user_ids=["maria-secret"], anonymous_ids=["visitor-secret"]) == 0
    left = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(b"maria-secret" in content or b"visitor-secret" in content for content in left)


def test_an_erased_event_goes_under_every_id_that_the_lake_knows_it_by(tmp_path: Path) -> None:
    log = ListLog()
    seen = an_exposure("x1", "alice", "banner", unit_type="user_id")
    log.append(
        received(
            an_event("e1", user_id="alice", anonymous_id="alice-phone", item_id="tea"),
            replace(seen, user_id="alice", anonymous_id="alice-phone"),
            an_event("e2", user_id="alice", anonymous_id="work", item_id="cup"),
        )
    )
    export(log, tmp_path)

    removed = erase(tmp_path, user_ids=[], anonymous_ids=["alice-phone"])

    assert removed == 2 + 1 + 1
    assert [row["event_id"] for row in rows(tmp_path)] == ["e2"]
    assert rows(tmp_path, EXPOSURES) == []
    assert read_interactions(tmp_path)["event_id"].to_pylist() == ["e2"]


def test_export_goes_on_from_its_offset_after_the_newest_event_was_erased(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("e1", anonymous_id="stays"), an_event("e2", anonymous_id="goes")))
    export(log, tmp_path)
    del log.logged[-1]
    erase(tmp_path, user_ids=[], anonymous_ids=["goes"])
    generation = read_manifest(tmp_path).generation

    offset = export(log, tmp_path)

    assert offset == 2
    assert read_manifest(tmp_path).generation == generation


def test_a_damaged_manifest_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")

    with pytest.raises(LakeError, match="delete the folder"):
        export(ListLog(), tmp_path)


WRITER = """
import sys
from pathlib import Path
from service.lake import export
from tests.service.lake.logs import ListLog, an_event, received
log = ListLog()
log.append(received(*(an_event(f"e{i}", item_id=f"i{i % 7}") for i in range(400))))
print("go", flush=True)
while export(log, Path(sys.argv[1]), limit=7) < 400:
    pass
"""


@pytest.mark.parametrize("after_bytes", [0, 20_000, 60_000, 120_000])
def test_killing_the_writer_at_any_point_loses_and_repeats_nothing(tmp_path: Path, after_bytes: int) -> None:
    lake = tmp_path / "lake"
    command = [sys.executable, "-c", WRITER, str(lake)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}) as child:
        assert child.stdout is not None
        child.stdout.readline()
        while _written(lake) < after_bytes and child.poll() is None:
            pass
        child.send_signal(signal.SIGKILL)

    log = ListLog()
    log.append(received(*(an_event(f"e{i}", item_id=f"i{i % 7}") for i in range(400))))
    export_all(log, lake)

    assert [row["event_id"] for row in rows(lake)] == [f"e{i}" for i in range(400)]
    assert read_interactions(lake).num_rows == 400
    named = {f.path for f in read_manifest(lake).files}
    assert {p.relative_to(lake).as_posix() for p in lake.glob("*/*/*")} == named


def _written(lake: Path) -> int:
    total = 0
    for path in lake.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


@pytest.mark.parametrize(
    ("number", "amount"),
    [
        (19.99, 19_990_000),
        (0.1, 100_000),
        (0.0000005, 0),
        (0.0000015, 2),
        (0.0000025, 2),
        (-3, -3_000_000),
        (1e300, MAX_AMOUNT),
        (10**500, MAX_AMOUNT),
        (-(10**30), -MAX_AMOUNT),
        (True, None),
        ("19.99", None),
        (None, None),
    ],
)
def test_numbers_become_micro_units_without_drift(number: object, amount: int | None) -> None:
    assert micro_of(number) == amount


@given(cents=st.integers(-(10**11), 10**11))
def test_cents_are_exact(cents: int) -> None:
    assert micro_of(cents / 100) == cents * 10_000


def test_equal_json_numbers_have_one_text() -> None:
    texts = [
        canonical_json({"b": 5.0, "a": [True, None, "é"]}),
        canonical_json({"a": [True, None, "é"], "b": 5}),
    ]

    assert texts == ['{"a":[true,null,"é"],"b":5}'] * 2


@given(text=st.text(), number=st.integers(), real=st.floats(allow_nan=False, allow_infinity=False))
def test_the_short_ways_give_the_text_of_the_long_way(text: str, number: int, real: float) -> None:
    for value in (text, number, real, True, None):
        assert canonical_json([value]) == f"[{canonical_json(value)}]"


def test_numbers_that_no_json_holds_do_not_stop_the_export() -> None:
    assert micro_of(10**5_000) == MAX_AMOUNT
    assert micro_of(float("inf")) is None
    assert whole_json({"a": float("nan"), "b": 2**70}) == '{"a":null,"b":1180591620717411303424}'
    assert canonical_json([float("inf"), float("nan"), 10**5_000]) == "[null,null,null]"


def test_time_of_occurrence_may_be_far_from_time_of_receipt(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_event("late", at=START - timedelta(days=399)), at=START))

    export(log, tmp_path)

    assert [f.day for f in read_manifest(tmp_path).of(EVENTS)] == ["2026-03-02"]
