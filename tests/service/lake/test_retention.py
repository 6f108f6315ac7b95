"""Days that need not be kept leave the lake; what is left is the same lake to everybody."""

from datetime import timedelta
from pathlib import Path

import pytest

from service.lake import LakeBusyError, export_all, read_interactions, read_manifest
from service.lake.manifest import EVENTS, EXPOSURES, INTERACTIONS, reading
from service.lake.retention import forget
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, received

DAY = timedelta(days=1)
TODAY = START.date()


def filled(lake: Path) -> ListLog:
    """An event and an exposure on each of four days, the last one today."""
    log = ListLog()
    for ago in (3, 2, 1, 0):
        at = START - ago * DAY
        log.append(
            received(
                an_exposure(f"x{ago}", "v1", "control", at=at),
                an_event(f"e{ago}", at=at, item_id="tea"),
                at=at,
            )
        )
        export_all(log, lake)
    return log


def days_of(lake: Path, dataset: str) -> list[str]:
    return sorted(file.day for file in read_manifest(lake).of(dataset))


def test_days_go_whole_and_interactions_by_a_time_of_their_own(tmp_path: Path) -> None:
    filled(tmp_path)

    dropped = forget(tmp_path, events_before=TODAY - DAY, interactions_before=TODAY)

    assert dropped == 2 * (2 + 1) + 3
    assert days_of(tmp_path, EVENTS) == [str(TODAY - DAY), str(TODAY)]
    assert days_of(tmp_path, EXPOSURES) == [str(TODAY - DAY), str(TODAY)]
    assert days_of(tmp_path, INTERACTIONS) == [str(TODAY)]
    assert read_interactions(tmp_path).num_rows == 1
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")}
    assert files == {file.path for file in read_manifest(tmp_path).files}


def test_the_export_goes_on_after_it_and_fetches_nothing_again(tmp_path: Path) -> None:
    log = filled(tmp_path)
    forget(tmp_path, events_before=TODAY + DAY, interactions_before=TODAY + DAY)
    log.append(received(an_event("later"), at=START + DAY))

    assert export_all(log, tmp_path) == 9

    assert days_of(tmp_path, EVENTS) == [str(TODAY), str(TODAY + DAY)]
    assert forget(tmp_path, events_before=TODAY, interactions_before=TODAY) == 0


def test_the_newest_event_stays_although_it_came_long_ago(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.append(received(an_event("replayed"), at=START - 100 * DAY))
    export_all(log, tmp_path)

    forget(tmp_path, events_before=TODAY, interactions_before=TODAY)

    assert days_of(tmp_path, EVENTS) == [str(TODAY - 100 * DAY), str(TODAY)]
    assert export_all(log, tmp_path) == 9
    assert days_of(tmp_path, EVENTS) == [str(TODAY - 100 * DAY), str(TODAY)]


def test_a_lake_in_use_is_left_alone_and_none_is_made(tmp_path: Path) -> None:
    filled(tmp_path / "lake")

    with reading(tmp_path / "lake"), pytest.raises(LakeBusyError):
        forget(tmp_path / "lake", events_before=TODAY, interactions_before=TODAY)

    assert forget(tmp_path / "none", events_before=TODAY, interactions_before=TODAY) == 0
    assert not (tmp_path / "none").exists()
