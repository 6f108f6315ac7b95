"""A verdict computed once more has the same bytes, whatever happened since; where it has not, that is told.

OPPORTUNE_REPLAY_EVENTS=1000000 sends a million later events instead of some thousands.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from service.lake import erase, export, export_all
from service.storage.ports import Store
from service.storage.records import VerdictSnapshot
from service.use_cases.judge import refresh_verdict, refresh_verdicts
from service.use_cases.replay import Replay, replay
from tests.service.use_cases.shops import (
    FILES,
    KEY,
    START,
    a_store,
    a_week,
    exposure,
    launched,
    order,
    put,
    put_in_quarantine,
    shown,
)

NOW = START + timedelta(days=30)
LATER = int(os.environ.get("OPPORTUNE_REPLAY_EVENTS", "20000"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path / "home") as opened:
        launched(opened)
        yield opened


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def judged(store: Store, lake: Path) -> VerdictSnapshot:
    refresh_verdict(store, lake, KEY, now=NOW)
    snapshot = store.latest_verdict(KEY)
    assert snapshot is not None
    return snapshot


def again(store: Store, lake: Path, snapshot: VerdictSnapshot) -> Replay:
    stored = store.verdict(KEY, 1, snapshot.number)
    assert stored is not None
    return replay(store, lake, stored)


def test_a_verdict_of_a_month_ago_has_the_same_bytes_after_many_later_events(
    store: Store, lake: Path
) -> None:
    shown(store, lake, a_week(per_day=60))
    snapshot = judged(store, lake)
    month = START + timedelta(days=30)
    for start in range(0, LATER // 2, 5_000):
        put(
            store,
            *(
                event
                for i in range(start, min(start + 5_000, LATER // 2))
                for event in (
                    exposure(f"late{i}", "banner", month + timedelta(seconds=i % 80_000)),
                    order(f"late{i}", month + timedelta(seconds=1 + i % 80_000)),
                )
            ),
            at=month,
        )
        # Steps of their own make many files, which are then compacted.
        export(store, lake, limit=5_000)
    shown(
        store,
        lake,
        [order("v0-0", START + timedelta(hours=3)), exposure("v0-1", "control", START, suffix="-2")],
    )
    put_in_quarantine(store, "q1", "variant_mismatch")
    launched(store, FILES | {"other.yaml": "flag: new\n"})
    newer = judged(store, lake)

    assert newer.number > snapshot.number
    assert newer.body != snapshot.body
    assert again(store, lake, snapshot).same
    assert again(store, lake, newer).same
    assert again(store, lake, newer).digest == newer.digest


def test_a_replay_after_an_erasure_tells_what_is_missing(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=60))
    snapshot = judged(store, lake)
    erase(lake, user_ids=[], anonymous_ids=["v0-0"])

    done = again(store, lake, snapshot)

    assert not done.same
    assert "1 exposure events fewer: erased or expired since" in done.differences
    assert any(told.startswith("digests.exposures differs") for told in done.differences)
    assert done.recorded == snapshot.digest != done.digest


def test_a_lake_that_ends_before_the_verdict_cannot_tell(store: Store, lake: Path, tmp_path: Path) -> None:
    shown(store, lake, a_week(per_day=20))
    snapshot = judged(store, lake)
    short = tmp_path / "short"
    export(store, short, limit=10)

    done = again(store, short, snapshot)

    assert (done.same, done.digest) == (False, "")
    assert done.differences[0].startswith("the lake ends at offset ")


def test_a_stored_verdict_that_was_changed_is_found_out(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=20))
    snapshot = judged(store, lake)

    done = replay(store, lake, replace(snapshot, body=snapshot.body.replace('"phase":1', '"phase":2')))

    assert not done.same
    assert done.differences[0].startswith("the stored verdict has been changed")


def test_another_version_of_the_software_is_named(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=20))
    snapshot = judged(store, lake)
    older = replace(
        snapshot,
        body=snapshot.body.replace('"as_of"', '"as_of_old"'),
        inputs=snapshot.inputs.replace('"version":"', '"version":"0.0.1-'),
    )

    done = replay(store, lake, older)

    assert any(told.startswith("it was made by version 0.0.1-") for told in done.differences)


def test_a_snapshot_of_a_release_that_recorded_nothing_is_replayed_by_its_body(
    store: Store, lake: Path
) -> None:
    put_in_quarantine(store, "q1", "override")
    shown(store, lake, a_week(per_day=20))
    snapshot = judged(store, lake)

    assert replay(store, lake, replace(snapshot, inputs="")).same


def test_a_revision_that_is_gone_is_told(store: Store, lake: Path) -> None:
    shown(store, lake, a_week(per_day=20))
    refresh_verdicts(store, lake, now=NOW)
    snapshot = judged(store, lake)

    done = replay(store, lake, replace(snapshot, revision=9))

    assert done.differences == ("revision 9 is not in the store any more",)
    assert export_all(store, lake) == store.last_seq()
