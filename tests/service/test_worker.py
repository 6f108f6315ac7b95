import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.lake import read_manifest
from service.lake.manifest import reading
from service.settings import Settings, child_environment
from service.storage.ports import Store
from service.storage.records import KeyClass
from service.use_cases.catalog_watch import quiet
from service.use_cases.heartbeat import last_beat
from service.use_cases.training_child import ATTEMPT, TrainingChild, TrainingError
from service.worker import Worker
from tests.service.use_cases.shops import FILES, KEY, START, a_store, a_week, launched, put, settings_in

NOW = datetime(2026, 3, 20, tzinfo=UTC)
RECOMMENDERS = "recommenders:\n  discovery: {rank_by: model}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with a_store(home) as opened:
        yield opened


def write_catalog(settings: Settings, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = settings.catalog / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def a_worker(home: Path, store: Store, told: list[str] | None = None) -> Worker:
    tell = quiet if told is None else told.append
    return Worker(replace(settings_in(home), watch_catalog=True), store, clock=lambda: NOW, tell=tell)


def test_a_step_fills_the_lake_and_judges(home: Path, store: Store) -> None:
    launched(store)
    put(store, *a_week(per_day=30))
    worker = Worker(settings_in(home), store, clock=lambda: NOW)

    worker.step()

    assert read_manifest(home / "lake").offset == store.last_seq()
    assert store.latest_verdict(KEY) is not None


def test_a_saved_catalog_is_live_after_two_looks(home: Path, store: Store) -> None:
    worker = a_worker(home, store)
    write_catalog(settings_in(home), FILES)

    worker.step()
    first = store.live_state().revision
    worker.step()

    assert (first, store.live_state().revision) == (0, 1)


def test_a_broken_catalog_is_told_once_in_words_and_the_last_good_one_stays(home: Path, store: Store) -> None:
    told: list[str] = []
    worker = a_worker(home, store, told)
    write_catalog(settings_in(home), FILES)
    worker.step()
    worker.step()
    assert told == [
        "opportune: revision 1 is live",
        "opportune: running now: free-shipping on 100% of its audience",
    ]
    told.clear()
    write_catalog(
        settings_in(home),
        {"metrics.yaml": FILES["metrics.yaml"] + "  odd: {kind: nonsense, event: X, window: 1d}\n"},
    )

    with capture_logs() as lines:
        for _ in range(4):
            worker.step()

    assert [line["event"] for line in lines if line["log_level"] == "error"] == []
    (text,) = told
    assert "metrics.yaml:5:15  error E303" in text
    assert "    5 |   odd: {kind: nonsense, event: X, window: 1d}" in text
    assert "^^^^^^^^" in text
    assert text.endswith("revision 1 keeps serving until it is mended")
    assert store.live_state().revision == 1
    heartbeat = last_beat(home)
    assert heartbeat is not None
    assert heartbeat.problems["catalog"].startswith("metrics.yaml:5:15: E303 ")
    assert "\n" not in heartbeat.problems["catalog"]


def test_a_mended_catalog_clears_the_problem_and_says_so(home: Path, store: Store) -> None:
    told: list[str] = []
    worker = a_worker(home, store, told)
    for files in ({"metrics.yaml": "metrics: ["}, FILES, {"metrics.yaml": "metrics: ["}, FILES):
        write_catalog(settings_in(home), files)
        for _ in range(3):
            worker.step()

    heartbeat = last_beat(home)
    assert heartbeat is not None
    assert heartbeat.problems == {}
    assert store.live_state().revision == 1
    assert [text for text in told if text.endswith("is live")] == [
        "opportune: revision 1 is live",
        "opportune: the catalog is in order again; revision 1 is live",
    ]


def test_a_change_of_what_judges_a_running_experiment_is_warned_of(home: Path, store: Store) -> None:
    told: list[str] = []
    worker = a_worker(home, store, told)
    changed = FILES["metrics.yaml"].replace("window: 1d, label", "window: 2d, label")
    assert changed != FILES["metrics.yaml"]
    for text in (FILES["metrics.yaml"], changed):
        write_catalog(settings_in(home), {**FILES, "metrics.yaml": text})
        for _ in range(3):
            worker.step()

    assert told[-2] == "opportune: revision 2 is live"
    assert told[-1] == "opportune: CAREFUL: purchase: it judges what is running already: free-shipping"


def test_a_refused_change_is_told_as_refused(home: Path, store: Store) -> None:
    told: list[str] = []
    worker = a_worker(home, store, told)
    running = FILES["experiments/free-shipping.yaml"]
    for text in (running, running.replace("variants:", "allocation: 50%\nvariants:")):
        write_catalog(settings_in(home), {**FILES, "experiments/free-shipping.yaml": text})
        for _ in range(3):
            worker.step()

    assert "E500" in told[-1]
    assert "the change is refused; revision 1 keeps serving" in told[-1]
    heartbeat = last_beat(home)
    assert heartbeat is not None
    assert heartbeat.problems["catalog"].startswith("refused: experiments/free-shipping.yaml:")


def test_a_folder_that_is_gone_is_told_once_and_its_place_kept_from_others(home: Path, store: Store) -> None:
    told: list[str] = []
    worker = a_worker(home, store, told)
    for _ in range(3):
        worker.step()

    (text,) = told
    assert str(settings_in(home).catalog) in text
    heartbeat = last_beat(home)
    assert heartbeat is not None
    assert str(home) not in heartbeat.problems["catalog"]


def test_a_disk_that_takes_no_sign_of_life_does_not_end_the_worker(home: Path, store: Store) -> None:
    put(store, *a_week(per_day=1))
    # A folder in its place refuses the file as a full disk does.
    (home / "worker.json.tmp").mkdir()
    worker = Worker(settings_in(home), store, clock=lambda: NOW)

    with capture_logs() as lines:
        worker.step()
        worker.step()

    assert [line["duty"] for line in lines if line["event"] == "duty_failed"] == ["heartbeat"]
    assert read_manifest(home / "lake").offset == store.last_seq()
    (home / "worker.json.tmp").rmdir()
    worker.step()
    worker.step()
    heartbeat = last_beat(home)
    assert heartbeat is not None
    assert heartbeat.problems == {}


def test_a_reader_of_the_lake_holds_up_nothing_but_the_export(home: Path, store: Store) -> None:
    worker = a_worker(home, store, [])
    write_catalog(settings_in(home), FILES)
    put(store, *a_week(per_day=1))

    with reading(home / "lake"):
        worker.step()
        worker.step()
    first = read_manifest(home / "lake").offset
    worker.step()

    assert store.live_state().revision == 1
    assert last_beat(home) is not None
    assert (first, read_manifest(home / "lake").offset) == (0, store.last_seq())


def test_trouble_with_one_duty_does_not_stop_the_others(home: Path, store: Store) -> None:
    worker = a_worker(home, store)
    put(store, *a_week(per_day=5))

    worker.step()

    heartbeat = last_beat(home)
    assert read_manifest(home / "lake").offset == store.last_seq()
    assert heartbeat is not None
    worker.step()
    heartbeat = last_beat(home)
    assert heartbeat is not None
    assert "catalog" in heartbeat.problems


def test_what_has_served_its_time_is_pruned(home: Path, store: Store) -> None:
    store.put_sign_in("aa", KeyClass.ANALYST, expires_at=NOW - timedelta(days=1))
    store.put_sign_in("bb", KeyClass.ANALYST, expires_at=NOW + timedelta(days=1))

    Worker(settings_in(home), store, clock=lambda: NOW).step()

    with closing(sqlite3.connect(home / "opportune.db")) as database:
        assert database.execute("SELECT sha256 FROM sign_in").fetchall() == [("bb",)]


def test_a_running_worker_ends_cleanly_and_a_second_one_refuses(home: Path, store: Store) -> None:
    launched(store)
    put(store, *a_week(per_day=10))
    command = [sys.executable, "-m", "service.cli.main", "worker"]
    env = child_environment(OPPORTUNE_HOME=str(home), OPPORTUNE_CATALOG=str(home / "catalog"))
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as first:
        wait_for(lambda: store.latest_verdict(KEY) is not None)
        second = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        first.send_signal(signal.SIGTERM)
        code = first.wait()

    assert code == 0
    assert second.returncode == 3
    assert "another worker" in second.stderr


def test_a_killed_worker_leaves_no_lock_and_no_doubles(home: Path, store: Store) -> None:
    launched(store)
    put(store, *a_week(per_day=50))
    command = [sys.executable, "-m", "service.cli.main", "worker"]
    env = child_environment(OPPORTUNE_HOME=str(home), OPPORTUNE_CATALOG=str(home / "catalog"))
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as first:
        wait_for((home / "lake").exists)
        first.kill()

    Worker(settings_in(home), store, clock=lambda: NOW).step()

    manifest = read_manifest(home / "lake")
    assert manifest.offset == store.last_seq()
    assert sum(f.rows for f in manifest.of("events")) == store.last_seq()


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


# --- training -------------------------------------------------------------------------------------


def a_training(home: Path, store: Store, code: str) -> TrainingChild:
    return TrainingChild(settings_in(home), store, command=(sys.executable, "-c", code))


def finished(training: TrainingChild, *, now: datetime) -> None:
    while training._child is not None:
        training.look(now=now)
        time.sleep(0.01)


def test_training_is_due_a_day_after_the_last_attempt(home: Path, store: Store) -> None:
    launched(store, {**FILES, "recommenders.yaml": RECOMMENDERS})
    put(store, *a_week(per_day=1))
    mark = home / "trained"
    training = a_training(home, store, f"open({str(mark)!r}, 'a').write('x')")
    now = datetime.now(UTC)

    for later in (timedelta(0), timedelta(hours=23), timedelta(hours=25)):
        training.look(now=now + later)
        finished(training, now=now + later)

    assert mark.read_text() == "xx"


def test_a_failed_training_is_said_and_not_repeated_at_once(home: Path, store: Store) -> None:
    launched(store, {**FILES, "recommenders.yaml": RECOMMENDERS})
    put(store, *a_week(per_day=1))
    training = a_training(home, store, "raise SystemExit(4)")
    now = datetime.now(UTC)
    training.look(now=now)

    with pytest.raises(TrainingError, match="4"):
        finished(training, now=now)

    training.look(now=now)
    assert training._child is None


def test_without_a_model_to_serve_nothing_is_trained(home: Path, store: Store) -> None:
    launched(store)
    put(store, *a_week(per_day=1))

    a_training(home, store, "raise SystemExit(4)").look(now=datetime.now(UTC))

    assert not (home / ATTEMPT).exists()


def test_a_training_under_way_is_ended_with_the_worker(home: Path, store: Store) -> None:
    launched(store, {**FILES, "recommenders.yaml": RECOMMENDERS})
    put(store, *a_week(per_day=1))
    training = a_training(home, store, "import time; time.sleep(600)")
    training.look(now=START + timedelta(days=9_000))
    assert training._child is not None
    child = training._child.pid

    training.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_training_that_was_cut_short_is_started_again_at_once(home: Path, store: Store) -> None:
    launched(store, {**FILES, "recommenders.yaml": RECOMMENDERS})
    put(store, *a_week(per_day=1))
    now = datetime.now(UTC)
    cut = a_training(home, store, "import time; time.sleep(600)")
    cut.look(now=now)
    cut.stop()
    mark = home / "trained"
    training = a_training(home, store, f"open({str(mark)!r}, 'a').write('x')")

    training.look(now=now)
    finished(training, now=now)

    assert mark.read_text() == "x"


def test_a_training_that_had_ended_when_the_worker_stops_was_an_attempt(home: Path, store: Store) -> None:
    launched(store, {**FILES, "recommenders.yaml": RECOMMENDERS})
    put(store, *a_week(per_day=1))
    training = a_training(home, store, "raise SystemExit(4)")
    training.look(now=datetime.now(UTC))
    child = training._child
    assert child is not None
    child.wait()

    training.stop()

    assert (home / ATTEMPT).exists()
