"""The server under test: the real gunicorn on a real port, which may be killed and started again there."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from service.settings import REPOSITORY, Settings, child_environment, load
from tests.server import CATALOG, free_port, new_keys, prepare, write_catalog

GIVE_UP_S = 120.0
"""Ends a broken run; nothing is measured against it."""
POLL_S = 0.01


@dataclass(slots=True)
class Subject:
    """One home and the server over it."""

    home: Path
    extra: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    keys: Mapping[str, str] = field(default_factory=new_keys)
    process: "subprocess.Popen[bytes] | None" = None
    kills: list[float] = field(default_factory=list)
    """When processes of it were killed."""

    @property
    def settings(self) -> Settings:
        """Return what the server is told by its environment."""
        return load(self._environment())

    @property
    def database(self) -> Path:
        """Return the SQLite file."""
        return self.home / "opportune.db"

    @property
    def log(self) -> Path:
        """Return the file that takes what the server says."""
        return self.home.parent / "server.log"

    @property
    def client_key(self) -> str:
        """Return the public key."""
        return self.keys["OPPORTUNE_CLIENT_KEY"]

    @property
    def server_key(self) -> str:
        """Return a backend's key."""
        return self.keys["OPPORTUNE_SERVER_KEY"]

    def make(self) -> None:
        """Make the home: migrate, store keys, apply the catalog."""
        write_catalog(self.home.parent / "catalog", CATALOG)
        self.home.mkdir(parents=True, exist_ok=True)
        prepare(self.settings)

    def start(self) -> None:
        """Start it; it need not answer yet. Its processes are a group of their own."""
        command = [sys.executable, "-m", "gunicorn", "-c", str(REPOSITORY / "service" / "gunicorn_conf.py")]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, "service.asgi:application"],
                env={**child_environment(**self._environment()), **self.extra},
                cwd=REPOSITORY,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def running(self) -> "subprocess.Popen[bytes]":
        """Return the process of the master."""
        assert self.process is not None, "the server was not started"
        return self.process

    def workers(self) -> list[int]:
        """Return the web workers that live now."""
        pid = self.running.pid
        try:
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def kill_worker(self, rng: random.Random) -> bool:
        """Kill a web worker; return False if none lives."""
        workers = self.workers()
        if workers:
            self.kills.append(time.monotonic())
            with suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
        return bool(workers)

    def kill_group(self) -> None:
        """Kill master and workers at once."""
        self.kills.append(time.monotonic())
        os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()
        self.wait_until(lambda: _is_gone(self.running.pid), "dead")

    def replace_master(self) -> float:
        """Kill the master alone and start another at once; return when the old workers had ended, too."""
        self.kills.append(time.monotonic())
        orphans = self.running.pid
        self.running.kill()
        self.running.wait()
        self.start()
        try:
            return self.wait_until(lambda: _is_gone(orphans), "rid of the old workers")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(orphans, signal.SIGKILL)

    def terminate(self) -> int:
        """Ask it to end and wait; return its exit code."""
        self.running.send_signal(signal.SIGTERM)
        try:
            return self.running.wait(GIVE_UP_S)
        finally:
            self.end()

    def end(self) -> None:
        """Leave no process behind."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def until_workers(self) -> None:
        """Wait until every worker is there again."""
        wanted = int(self._environment()["WEB_CONCURRENCY"])
        self.wait_until(lambda: len(self.workers()) >= wanted, "complete")

    def wait_until(self, condition: Callable[[], bool], what: str) -> float:
        """Wait for something that must happen; return how many seconds that took."""
        started = time.monotonic()
        while not condition():
            known_dead = self.running.returncode is not None
            assert known_dead or self.running.poll() is None, f"it ended by itself:\n{self.tail()}"
            assert time.monotonic() - started < GIVE_UP_S, f"not {what} after {GIVE_UP_S:g} s:\n{self.tail()}"
            time.sleep(POLL_S)
        return time.monotonic() - started

    def counted(self) -> tuple[int, int]:
        """Return how many events /metrics says were received, and of how many it says what became of them."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=GIVE_UP_S) as answer:
            lines = [line.rpartition(" ") for line in answer.read().decode().splitlines()]
        received = sum(float(n) for name, _, n in lines if name == "opportune_events_received_total")
        settled = sum(float(n) for name, _, n in lines if name.startswith("opportune_events_total{"))
        return int(received), int(settled)

    def tail(self) -> str:
        """Return the end of what the server said."""
        return self.log.read_text("utf-8", "replace")[-3_000:]

    def _environment(self) -> dict[str, str]:
        return {
            "OPPORTUNE_HOME": str(self.home),
            "OPPORTUNE_CATALOG": str(self.home.parent / "catalog"),
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            **self.keys,
            **{name: value for name, value in self.extra.items() if name.startswith("OPPORTUNE_")},
        }


def _is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
