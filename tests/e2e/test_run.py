"""`opportune run`, as `make run` starts it: a real supervisor, a real web process, a real worker."""

import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CATALOG = """\
experiment: hello
variants: {control: "", greeting: "Hello"}
metrics: {primary: purchase}
"""
METRICS = """\
metrics:
  purchase: {kind: conversion, event: Order Completed, window: 7d, direction: up}
"""

pytestmark = pytest.mark.e2e


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "hello.yaml").write_text(CATALOG, "utf-8")
    (folder / "metrics.yaml").write_text(METRICS, "utf-8")
    return folder


@pytest.fixture
def port() -> int:
    return free_port()


def wait_until_locked(path: Path) -> None:
    while True:
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path, catalog: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPPORTUNE_")}
    return {**kept, "OPPORTUNE_HOME": str(home), "OPPORTUNE_CATALOG": str(catalog), "PORT": str(port)}


@contextmanager
def running(env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli.main", "run"],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()


def wait_for(log: Path, words: str, process: subprocess.Popen[bytes]) -> str:
    while words not in (text := log.read_text("utf-8")):
        assert process.poll() is None, text
        time.sleep(0.1)
    return text


def test_run_sets_up_serves_and_stops_with_exit_code_zero(tmp_path: Path, catalog: Path, port: int) -> None:
    home, log = tmp_path / "home", tmp_path / "run.log"

    with running(environment(home, catalog, port), log) as process:
        text = wait_for(log, "Ctrl-C drains", process)
        ready = urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").status
        process.send_signal(signal.SIGINT)
        code = process.wait()

    assert ready == 200
    assert code == 0, log.read_text("utf-8")
    assert re.search(rf"http://127\.0\.0\.1:{port}/sign-in/\S+", text)
    assert "Traceback" not in log.read_text("utf-8")
    keys = home / "keys.env"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    names = [line.split("=")[0] for line in keys.read_text("utf-8").splitlines()]
    assert sorted(names) == [
        "OPPORTUNE_ADMIN_KEY",
        "OPPORTUNE_ANALYST_KEY",
        "OPPORTUNE_CLIENT_KEY",
        "OPPORTUNE_SERVER_KEY",
        "OPPORTUNE_SIGNING_SECRET",
    ]


def test_a_second_run_keeps_keys_and_data(tmp_path: Path, catalog: Path, port: int) -> None:
    home, log = tmp_path / "home", tmp_path / "run.log"
    env = environment(home, catalog, port)
    with running(env, log) as process:
        wait_for(log, "Ctrl-C drains", process)
    keys = (home / "keys.env").read_text("utf-8")

    with running(env, log) as process:
        wait_for(log, "Ctrl-C drains", process)

    assert (home / "keys.env").read_text("utf-8") == keys


def test_a_worker_that_dies_is_replaced(tmp_path: Path, catalog: Path, port: int) -> None:
    home, log = tmp_path / "home", tmp_path / "run.log"

    with running(environment(home, catalog, port), log) as process:
        wait_for(log, "Ctrl-C drains", process)
        worker = child_running(process.pid, "worker")
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        wait_for(log, "starting another", process)
        while (replacement := child_running(process.pid, "worker", wait=False)) in {None, worker}:
            time.sleep(0.1)

    assert replacement is not None


def test_a_second_run_on_the_same_home_ends_with_one_line(tmp_path: Path, catalog: Path, port: int) -> None:
    home, log = tmp_path / "home", tmp_path / "run.log"

    with running(environment(home, catalog, port), log) as process:
        text = wait_for(log, "Ctrl-C drains", process)
        while not (home / "worker.lock").exists():
            time.sleep(0.1)
        wait_until_locked(home / "worker.lock")
        second = subprocess.run(
            [sys.executable, "-m", "service.cli.main", "run"],
            cwd=ROOT,
            env=environment(home, catalog, free_port()),
            capture_output=True,
            text=True,
            check=False,
        )
        process.send_signal(signal.SIGTERM)
        process.wait()

    assert f"export OPPORTUNE_HOME={home} OPPORTUNE_CATALOG={catalog} PORT={port}" in text
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "another Opportune uses this home" in second.stderr
    assert "SIGTERM: draining" in log.read_text("utf-8")


def test_a_worker_that_finds_its_home_taken_ends_the_run(tmp_path: Path, catalog: Path, port: int) -> None:
    home, log = tmp_path / "home", tmp_path / "run.log"

    with running(environment(home, catalog, port), log) as process:
        wait_for(log, "Ctrl-C drains", process)
        worker = child_running(process.pid, "worker")
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        with (home / "worker.lock").open("ab") as taken:
            fcntl.flock(taken, fcntl.LOCK_EX)
            code = process.wait()

    assert code == 1
    assert log.read_text("utf-8").count("another Opportune uses this home") == 1


def test_a_busy_port_is_one_clear_line(tmp_path: Path, catalog: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])

        done = subprocess.run(
            [sys.executable, "-m", "service.cli.main", "run"],
            cwd=ROOT,
            env=environment(tmp_path / "home", catalog, port),
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"port {port} is in use" in done.stderr


def test_a_bad_setting_is_one_clear_line(tmp_path: Path, catalog: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "run"],
        cwd=ROOT,
        env={**environment(tmp_path / "home", catalog, 8000), "PORT": "eighty"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == "opportune: PORT='eighty': expected a whole number from 1 to 65535\n"


def child_running(parent: int, word: str, *, wait: bool = True) -> int | None:
    """Return the direct child of `parent` whose command line names `word`."""
    while True:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in children:
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and word in command.read_bytes().decode().split("\0"):
                return int(pid)
        if not wait:
            return None
        time.sleep(0.1)
