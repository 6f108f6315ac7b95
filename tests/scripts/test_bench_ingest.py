"""The benchmark of ingestion runs from end to end; what it says is for people on a quiet machine."""

import re
import sqlite3
from contextlib import closing
from itertools import islice
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from click.testing import CliRunner

from scripts.bench import disk, stored
from scripts.bench.events import FROM_SERVER, IDS, RANDOM, TIME_ORDERED, Source, visitor
from scripts.bench_ingest import main
from service.storage.migrate import migrate
from tests.postgres import binaries


@pytest.mark.e2e
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_quick_run_measures_every_size_of_batch(database: str) -> None:
    if database == "postgresql" and binaries() is None:
        pytest.skip(
            "PostgreSQL is not installed: on Debian, apt-get install postgresql; or: make setup-clients"
        )

    done = CliRunner().invoke(main, ["--quick", "--only", database], catch_exceptions=False)

    assert done.exit_code == 0
    for cell in ("1 x 1", "8 x 20", "8 x 500"):
        assert re.search(rf"\| {cell} +\| time-ordered \| [\d,]+ \[", done.output)


@pytest.mark.e2e
def test_a_filled_store_is_compared_with_an_empty_one(tmp_path: Path) -> None:
    asked = ["--quick", "--stored", "1000", "--keep", str(tmp_path / "filled")]
    done = CliRunner().invoke(main, asked, catch_exceptions=False)

    assert done.exit_code == 0
    for ids in IDS:
        assert re.search(rf"\| 8 x 500 +\| {ids} +\| 1,000 .*\| \d\.\d\d +\|", done.output)


@pytest.mark.e2e
def test_events_go_through_one_store_until_there_were_so_many() -> None:
    done = CliRunner().invoke(main, ["--quick", "--through", "1000"], catch_exceptions=False)

    sent = re.search(r"([\d,]+) events through one store", done.output)
    assert sent is not None
    assert int(sent[1].replace(",", "")) >= 1_000


def test_no_two_events_are_the_same_and_ids_are_of_their_kind() -> None:
    for ids, version in ((TIME_ORDERED, 7), (RANDOM, 4)):
        bodies = [*islice(Source(ids).bodies(20), 50), *islice(Source(ids).bodies(500), 2)]
        names = [event["event_id"] for body in bodies for event in orjson.loads(body)["events"]]

        assert len(set(names)) == len(names) == 2_000
        assert {UUID(name).version for name in names} == {version}
    ordered = [
        event["event_id"][:13] for event in orjson.loads(next(Source(TIME_ORDERED).bodies(500)))["events"]
    ]
    assert ordered == sorted(ordered)


def test_a_small_batch_is_one_visitors_and_about_half_of_the_visitors_come_back() -> None:
    known = {visitor(number) for number in range(10)}
    small = [orjson.loads(body)["events"] for body in islice(Source(RANDOM, known=10).bodies(20), 200)]
    large = orjson.loads(next(Source(RANDOM).bodies(FROM_SERVER)))["events"]

    assert {len({event["anonymous_id"] for event in events}) for events in small} == {1}
    assert 50 < sum(events[0]["anonymous_id"] in known for events in small) < 150
    assert len({event["anonymous_id"] for event in large}) == FROM_SERVER / 5


def test_a_fill_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    database = tmp_path / "opportune.db"
    migrate(f"sqlite:///{database}")

    for n in (300, 1_000, 1_000):
        assert stored.fill(database, n) == n // 10

    with closing(sqlite3.connect(database)) as connection:
        [(events,)] = connection.execute("SELECT count(*) FROM event")
        [(activity,)] = connection.execute("SELECT sum(n) FROM person_activity")
    assert events == activity == 1_000


def test_the_disk_is_timed_and_the_largest_size_of_a_file_remembered(tmp_path: Path) -> None:
    file = tmp_path / "log"

    with disk.watched(file) as largest:
        assert disk.syncs_per_second(tmp_path, 0.05) > 0
        file.write_bytes(b"x" * 1_000)
        while not largest.size:
            pass
        file.unlink()

    assert largest.size == 1_000
