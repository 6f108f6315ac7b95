"""Shared counters: sums over threads and processes, and files that may be anything."""

import threading
from pathlib import Path

from service.use_cases import meters
from service.use_cases.meters import Meters


def test_counts_of_all_threads_are_summed() -> None:
    counted = Meters()

    def work() -> None:
        for _ in range(1_000):
            counted.count("events", "accepted")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counted.totals()["events", "accepted"] == 8_000


def test_processes_are_summed_and_an_ended_one_is_kept(tmp_path: Path) -> None:
    for process_id, n in ((11, 3), (12, 4)):
        counted = Meters()
        counted.count("events", by=n)
        counted.publish(tmp_path, process_id)

    meters.retire(tmp_path, 11)
    meters.retire(tmp_path, 11)

    assert not (tmp_path / "11.json").exists()
    assert meters.all_totals(tmp_path)["events", ""] == 7


def test_a_damaged_file_costs_its_own_counts_only(tmp_path: Path) -> None:
    counted = Meters()
    counted.count("events")
    counted.publish(tmp_path, 1)
    for name, content in (("2", b""), ("3", b"[[1"), ("4", b'[["a","b"]]'), ("5", b"\xff"), ("6", b"{}x")):
        (tmp_path / f"{name}.json").write_bytes(content)

    assert meters.all_totals(tmp_path)["events", ""] == 1


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    Meters().publish(tmp_path / "file" / "meters", 1)

    assert not meters.all_totals(tmp_path / "nowhere")


def test_counts_of_a_minute_are_told_for_a_while_and_then_forgotten(tmp_path: Path) -> None:
    counted = Meters()
    for minute in (100, 101, 101, 200):
        counted.count_in(minute, "accepted", by=2)
    counted.publish(tmp_path, 1)

    totals = meters.all_totals(tmp_path)
    assert meters.in_minute(totals, 200) == {"accepted": 2}
    assert meters.in_minute(totals, 101) == {}
    (tmp_path / "2.json").write_text('[["minute:150", "accepted", 1], ["minute:x", "accepted", 1]]')
    for process_id in (1, 2):
        meters.retire(tmp_path, process_id)
    kept = meters.all_totals(tmp_path)
    assert [meters.in_minute(kept, minute)["accepted"] for minute in (150, 200)] == [0, 2]


def test_a_start_forgets_the_earlier_run(tmp_path: Path) -> None:
    Meters().publish(tmp_path, 1)

    meters.clear(tmp_path)

    assert list(tmp_path.iterdir()) == []
