"""Through which door units came: kept with the exposures, also beside files of a release that did not say."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.evidence import Arrivals
from service.clock import to_micros
from service.lake import erase, export, read_manifest
from service.lake.manifest import EXPOSURES, SCHEMAS, read_files
from service.lake.moments import open_lake
from service.storage.records import Event
from tests.service.lake.logs import START, ListLog, an_exposure, days, received
from tests.service.lake.test_moments import BANNER, CONTROL, EXPERIMENT, METRICS

FIRST, SECOND = date(2026, 3, 2), date(2026, 3, 3)


def arrivals(lake: Path) -> list[Arrivals]:
    with open_lake(lake) as reader:
        return list(reader.facts(EXPERIMENT, METRICS, until_us=to_micros(START + days(9))).arrivals)


def as_before(lake: Path) -> None:
    """Rewrite the exposures as a release wrote them that knew no source."""
    for file in read_manifest(lake).of(EXPOSURES):
        table = pq.ParquetFile(lake / file.path).read()
        pq.write_table(table.drop_columns(["source"]), lake / file.path)


def test_units_are_counted_by_the_door_of_their_first_exposure(tmp_path: Path) -> None:
    log = ListLog()
    log.append(received(an_exposure("x1", "a", BANNER, at=START + days(1)), source="segment"))
    log.append(received(an_exposure("x2", "a", BANNER), an_exposure("x3", "b", BANNER), source="events"))
    log.append(received(an_exposure("x4", "c", BANNER), an_exposure("x5", "b", BANNER), source="growthbook"))
    log.append(received(an_exposure("x6", "d", CONTROL, at=START + days(1)), source="import"))
    export(log, tmp_path)

    assert arrivals(tmp_path) == [
        Arrivals(FIRST, BANNER, 2, "events"),
        Arrivals(FIRST, BANNER, 1, "growthbook"),
        Arrivals(SECOND, CONTROL, 1, "import"),
    ]


@pytest.mark.parametrize("later", [[], [an_exposure("x2", "b", CONTROL)]])
def test_files_of_a_release_without_sources_are_read_beside_new_ones(
    tmp_path: Path, later: list[Event]
) -> None:
    log = ListLog()
    log.append(received(an_exposure("x1", "a", BANNER)))
    export(log, tmp_path)
    as_before(tmp_path)
    log.append(received(*later, source="segment"))
    export(log, tmp_path)

    expected = [Arrivals(FIRST, BANNER, 1, ""), *(Arrivals(FIRST, CONTROL, 1, "segment") for _ in later)]
    assert arrivals(tmp_path) == expected


def test_files_without_sources_are_merged_and_erased_as_others_are(tmp_path: Path) -> None:
    log = ListLog()
    for i in range(12):
        log.append(received(an_exposure(f"x{i}", f"u{i}", BANNER)))
        export(log, tmp_path)
        if i == 0:
            as_before(tmp_path)
    erase(tmp_path, user_ids=[], anonymous_ids=["u3"])

    table = read_files(tmp_path, EXPOSURES, read_manifest(tmp_path).of(EXPOSURES))

    assert table.schema == SCHEMAS[EXPOSURES]
    assert len(read_manifest(tmp_path).of(EXPOSURES)) < 12
    told = {row["unit_id"]: row["source"] for row in table.to_pylist()}
    assert told == {"u0": None} | {f"u{i}": "api" for i in range(12) if i not in (0, 3)}
    assert pa.types.is_string(table.schema.field("source").type)
