"""The lake in an object store: a real S3 server, the real client, and writers that are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from service.lake import (
    LakeBusyError,
    LakeError,
    erase,
    export,
    export_all,
    forget,
    lake_at,
    read_interactions,
)
from service.lake.manifest import (
    EVENTS,
    EXPOSURES,
    INTERACTIONS,
    commit,
    next_generation,
    read_files,
    read_manifest,
    writing,
)
from service.lake.places import MANIFEST
from service.lake.remote import RemoteLake
from service.lake.rows import rows_of
from service.settings import REPOSITORY, child_environment
from service.storage.holding import LeaseKeeper
from service.storage.migrate import migrate
from service.storage.places import place_of
from service.storage.sql import SqlStore
from service.use_cases.judge import refresh_verdicts
from tests.s3server import BUCKET, running_s3
from tests.service.lake.killed_exporter import fill
from tests.service.lake.logs import START, ListLog, an_event, an_exposure, received
from tests.service.use_cases.shops import KEY, a_store, a_week, launched, put

NUMBERS = count()
DAY = timedelta(days=1)
SEED = 7


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with running_s3() as environment:
        yield environment


@pytest.fixture
def url(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{next(NUMBERS)}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    database = f"sqlite:///{tmp_path / 'shop.db'}"
    migrate(database)
    opened = SqlStore(place_of(database))
    yield opened
    opened.close()


def objects(lake: RemoteLake) -> set[str]:
    return set(RemoteLake(lake.location("").rstrip("/"), grace_s=-60).strays(()))


def row_ids(lake: RemoteLake, dataset: str) -> list[int]:
    return sorted(read_files(lake, dataset, read_manifest(lake).of(dataset))["seq"].to_pylist())


def test_export_compaction_erasure_and_retention_do_as_in_a_folder(
    url: str, store: SqlStore, tmp_path: Path
) -> None:
    folder, remote = tmp_path / "lake", RemoteLake(url, store)
    log = ListLog()
    for i in range(14):
        at = START + (i % 2) * DAY
        events = (an_event(f"e{i}", anonymous_id=f"v{i % 3}", item_id="tea"), an_exposure(f"x{i}", "v1", "a"))
        log.append(received(*events, at=at))
        for lake in (folder, remote):
            export_all(log, lake)

    for lake in (folder, remote):
        assert erase(lake, user_ids=[], anonymous_ids=["v2"]) == 8
        assert forget(lake, events_before=START.date() + DAY, interactions_before=START.date()) > 0

    told = [read_manifest(lake) for lake in (folder, remote)]
    assert told[0].offset == told[1].offset == 28
    assert told[0].erased == told[1].erased == 2
    assert read_interactions(folder) == read_interactions(url)
    for dataset in (EVENTS, EXPOSURES, INTERACTIONS):
        here, there = (
            sorted(read_files(lake, dataset, of.of(dataset)).to_pylist(), key=repr)
            for lake, of in ((folder, told[0]), (url, told[1]))
        )
        assert here == there
        assert len(here) > 0
    assert export(log, remote) == 28


def test_a_verdict_has_the_same_bytes(url: str, tmp_path: Path) -> None:
    bodies = []
    for name, where in (("a", tmp_path / "lake"), ("b", url)):
        with a_store(tmp_path / name) as store:
            launched(store)
            put(store, *a_week(per_day=30))
            export_all(store, lake_at(where, store))
            assert refresh_verdicts(store, where, now=START + 18 * DAY) == 1
            snapshot = store.latest_verdict(KEY)
            assert snapshot is not None
            bodies.append(snapshot.body)

    assert bodies[0] == bodies[1]


def test_a_writer_that_slept_cannot_replace_a_newer_manifest(url: str, store: SqlStore) -> None:
    log = ListLog()
    log.append(received(an_event("e1")))
    slow, quick = RemoteLake(url, store, ttl_s=1.0), RemoteLake(url, store)
    export(log, slow)
    before = slow.index()
    with writing(slow) as manifest:
        # As if this process had been stopped for longer than its lease.
        assert slow._keeper is not None
        slow._keeper._stop_renewing()
        log.append(received(an_event("e2")))
        export(log, quick)

        with pytest.raises(LakeBusyError, match="generation 2"):
            commit(slow, next_generation(manifest))
    with pytest.raises(LakeBusyError, match="another writer replaced"):
        quick.replace_index(b"{}", before=before)
    with pytest.raises(OSError, match="pre-conditions"):
        slow._files.pipe_file(f"{BUCKET}/{url.rsplit('/', 1)[1]}/{MANIFEST}", b"{}", IfMatch=before.tag)

    assert row_ids(quick, EVENTS) == [1, 2]


def test_one_writer_at_a_time(url: str, store: SqlStore) -> None:
    log = ListLog()
    log.append(received(an_event("e1")))

    with writing(RemoteLake(url, store)), pytest.raises(LakeBusyError):
        export(log, RemoteLake(url, store), wait=False)

    assert export(log, RemoteLake(url, store), wait=False) == 1


def test_what_was_replaced_stays_for_readers_and_then_goes(url: str, store: SqlStore) -> None:
    log = ListLog()
    log.append(received(an_event("e1", anonymous_id="stays"), an_event("e2", anonymous_id="goes")))
    lake = RemoteLake(url, store)
    export(log, lake)
    pinned = read_manifest(lake)
    erase(lake, user_ids=[], anonymous_ids=["goes"])

    assert len(read_files(lake, EVENTS, pinned.of(EVENTS))) == 2
    assert len(objects(lake)) == 2
    hasty = RemoteLake(url, store, grace_s=0.5)
    time.sleep(0.6)
    export(log, hasty)

    assert objects(lake) == {f.path for f in read_manifest(lake).files}
    assert read_manifest(lake).replaced == ()


def test_objects_that_no_lake_wrote_stay(url: str, store: SqlStore) -> None:
    lake = RemoteLake(url, store, grace_s=-60)
    name = f"{EVENTS}/day=2026-03-02/00000009-0123abcd.parquet"
    foreign = {"backups/db.sql", "top.txt", f"shop2/{name}", f"{EVENTS}/day=2026-03-02/mine.parquet"}
    for path in (*foreign, name):
        lake._files.pipe_file(lake._at(path), b"x")
    log = ListLog()
    log.append(received(an_event("e1")))

    export(log, lake)

    left = {path.removeprefix(lake._at("")) for path in lake._files.find(lake._root)}
    assert left == {MANIFEST, *foreign, *(file.path for file in read_manifest(lake).files)}


def test_a_url_that_nothing_here_knows_is_refused_with_what_to_do() -> None:
    with pytest.raises(LakeError, match=r"OPPORTUNE_LAKE=nope://b/c: Protocol not known: nope.*\[s3\]"):
        RemoteLake("nope://b/c")


def test_who_has_no_leases_may_only_read(url: str) -> None:
    log = ListLog()
    log.append(received(an_event("e1")))

    with pytest.raises(RuntimeError, match="only be read"):
        export(log, RemoteLake(url))


EXPORTER = """
import sys
from service.lake import export
from service.lake.remote import RemoteLake
from service.storage.places import place_of
from service.storage.sql import SqlStore
store = SqlStore(place_of(sys.argv[1]))
lake = RemoteLake(sys.argv[2], store, ttl_s=1.0)
export(store, lake, limit=10)
print("go", flush=True)
reached = -1
while (now := export(store, lake, limit=10)) != reached:
    reached = now
print("done", flush=True)
"""


def test_a_killed_exporter_loses_and_repeats_nothing(url: str, store: SqlStore, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    fill(store, 0, 600)
    command = [sys.executable, "-c", EXPORTER, f"sqlite:///{tmp_path / 'shop.db'}", url]
    environment = child_environment(PYTHONPATH=".")
    for _ in range(5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=REPOSITORY) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0, 1))
            os.kill(child.pid, signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    lake = RemoteLake(url, store, ttl_s=1.0, grace_s=0.1)
    at_kill = read_manifest(lake).offset

    export_all(store, lake)
    with writing(lake) as manifest:
        time.sleep(0.2)
        commit(lake, next_generation(manifest))

    expected = rows_of(store.read(0, 1_000))
    assert 0 < at_kill < 600
    for dataset in (EVENTS, EXPOSURES, INTERACTIONS):
        wanted = [row["seq"] for (name, _), some in expected.items() if name == dataset for row in some]
        assert row_ids(lake, dataset) == sorted(wanted)
    assert objects(lake) == {f.path for f in read_manifest(lake).files}


def test_a_lease_that_cannot_be_renewed_is_given_up_before_it_expires(store: SqlStore) -> None:
    keeper = LeaseKeeper(store, "worker", ttl_s=1.0)
    lease = keeper.seek()
    assert lease is not None
    keeper._stop_renewing()

    while keeper.lease is not None:
        time.sleep(0.01)

    other = LeaseKeeper(store, "worker", ttl_s=1.0)
    assert other.seek() is None
    while (taken := other.seek()) is None:
        time.sleep(0.01)
    assert taken.fence == lease.fence + 1
    time.sleep(1.5)
    assert other.lease is not None
    other.close()
    keeper.close()
