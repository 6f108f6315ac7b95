"""scripts/simulate.py against a real server and a real worker, on the demo catalog: few people, few days."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import DEMO_CATALOG, REPOSITORY, child_environment
from tests.server import Server, free_port, running_server
from tests.worker import environment_of, worker_of

SCRIPT = REPOSITORY / "scripts" / "simulate.py"
CROWD = ("--people", "2000", "--days", "9", "--lift", "1.5")

pytestmark = pytest.mark.e2e


def simulate(server: Server, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *CROWD, *options],
        env=environment_of(server),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_replay_seals_the_lift_shows_every_day_and_opens_the_envelope(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", DEMO_CATALOG) as server, worker_of(server):
        done = simulate(server)
        again = simulate(server)

    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    sealed = re.search(r"Sealed envelope: sha256 ([0-9a-f]{64})", out)
    opened = re.search(r"The envelope held (\{.*\})", out)
    assert sealed
    assert opened
    assert hashlib.sha256(opened[1].encode()).hexdigest() == sealed[1]
    assert out.index(sealed[0]) < out.index("day  1") < out.index(opened[0])
    assert re.findall(r"^day +(\d+) ", out, re.MULTILINE) == [str(day) for day in range(1, 10)]
    assert "the accounts      add up" in out
    # A day is closed when the next one has begun: each row counts up to the day before its own, once.
    days = re.findall(r"^day .*judged up to (\d{4}-\d\d-\d\d)", out, re.MULTILINE)
    assert len(set(days)) == len(days) - out.count("(earlier)")
    assert re.search(r"check +split ok: banner \d\d\.\d %, control \d\d\.\d %, p [0-9.]+$", out, re.MULTILINE)
    assert not re.search(r"[{}]", out.split("The envelope held")[0])
    assert "quarantined" not in out.split("Sent in all:")[1].splitlines()[0]
    assert "NOT sales uplift" in out
    assert again.returncode == 2
    assert "has" in again.stderr
    assert "--again" in again.stderr


def test_without_a_server_it_says_so_in_one_line(tmp_path: Path) -> None:
    environment = child_environment(
        OPPORTUNE_HOME=str(tmp_path),
        PORT=str(free_port()),
        OPPORTUNE_CLIENT_KEY="ck_" + "0" * 32,
        OPPORTUNE_SERVER_KEY="sk_" + "0" * 32,
        OPPORTUNE_ANALYST_KEY="rk_" + "0" * 32,
    )
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Is `make run` running?" in done.stderr
    assert "Sealed envelope" not in done.stdout


def test_without_keys_it_says_where_they_come_from(tmp_path: Path) -> None:
    names = ("OPPORTUNE_CLIENT_KEY", "OPPORTUNE_SERVER_KEY", "OPPORTUNE_ANALYST_KEY")
    environment = child_environment(OPPORTUNE_HOME=str(tmp_path), **dict.fromkeys(names, ""))
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "no client, server, analyst key" in done.stderr
    assert all(word in done.stderr for word in ("make run", "OPPORTUNE_HOME", *names))
    assert "Sealed envelope" not in done.stdout
