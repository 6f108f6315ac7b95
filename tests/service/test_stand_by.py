"""Two workers over one PostgreSQL, as on two machines: one works, the other takes over when it is killed."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from service.lake.manifest import EVENTS, read_files, read_manifest
from service.lake.places import Where
from service.settings import child_environment
from service.storage.places import place_of
from service.storage.sql import SqlStore
from service.use_cases.heartbeat import last_beat
from tests.s3server import BUCKET, running_s3
from tests.service.use_cases.shops import KEY, START, a_week, exposure, launched, put

PATIENCE_S = 120


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    opened = SqlStore(place_of(postgres_url))
    yield opened
    opened.close()


@contextmanager
def a_worker(home: Path, url: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    home.mkdir()
    env = child_environment(OPPORTUNE_HOME=str(home), OPPORTUNE_DATABASE_URL=url, **environment)
    command = [sys.executable, "-m", "service.cli.main", "worker"]
    with (home / "worker.log").open("wb") as log, subprocess.Popen(command, env=env, stderr=log) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def wait_for(condition: Callable[[], bool], worker: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert worker.poll() is None, "the worker ended"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def stands_by(home: Path) -> bool | None:
    beat = last_beat(home)
    return None if beat is None else beat.stand_by


def judged_at(store: SqlStore) -> int:
    found = store.latest_verdict(KEY)
    return found.log_offset if found else 0


def seqs(lake: Where) -> Counter[int]:
    return Counter(read_files(lake, EVENTS, read_manifest(lake).of(EVENTS))["seq"].to_pylist())


@pytest.mark.parametrize("shared", [False, True], ids=["a lake each", "one lake"])
def test_the_second_stands_by_and_takes_over_when_the_first_is_killed(
    store: SqlStore, postgres_url: str, tmp_path: Path, *, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(store)
    put(store, *a_week(per_day=20))
    first_home, second_home = tmp_path / "a", tmp_path / "b"
    lakes: list[Where] = [first_home / "lake", second_home / "lake"]
    with ExitStack() as running:
        environment: dict[str, str] = {}
        if shared:
            environment = {**running.enter_context(running_s3()), "OPPORTUNE_LAKE": f"s3://{BUCKET}/two"}
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            lakes = [environment["OPPORTUNE_LAKE"]] * 2
        first = running.enter_context(a_worker(first_home, postgres_url, **environment))
        wait_for(lambda: judged_at(store) > 0, first)
        second = running.enter_context(a_worker(second_home, postgres_url, **environment))
        wait_for(lambda: stands_by(second_home) is True, second)

        assert stands_by(first_home) is False
        assert seqs(lakes[0]) == Counter(range(1, store.last_seq() + 1))
        if not shared:
            assert read_manifest(lakes[1]).offset == 0

        first.send_signal(signal.SIGKILL)
        put(store, *(exposure(f"later-{i}", "banner", START) for i in range(40)))
        wait_for(lambda: stands_by(second_home) is False, second)
        wait_for(lambda: read_manifest(lakes[1]).offset == store.last_seq(), second)

        assert seqs(lakes[1]) == Counter(range(1, store.last_seq() + 1))
        wait_for(lambda: judged_at(store) == store.last_seq(), second)
        if not shared:
            assert max(seqs(lakes[0])) < store.last_seq()
