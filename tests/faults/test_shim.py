"""The injected faults do what they say; a power cut takes what was not synced and nothing else."""

import errno
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.power import SYNC_BEGIN, SYNC_END, TRUNCATE, UNLINK, WRITE, PowerCut, Step, rebuilt, split
from tests.faults.shim import Shim

COMMIT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA synchronous=" + sys.argv[2])
for n in range(int(sys.argv[3])):
    try:
        connection.execute("INSERT INTO t (text) VALUES (?)", ("x" * 900,))
    except sqlite3.OperationalError as error:
        print(n, error, flush=True)
print("done", flush=True)
sys.stdin.read()
"""
DAY_S = 86_400


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
    return path


def commits(shim: Shim, synchronous: str, n: int = 200) -> str:
    """Commit `n` rows in a process that is killed; return what it said."""
    command = [sys.executable, "-c", COMMIT, str(shim.database), synchronous, str(n)]
    said = []
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **shim.environment()},
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    for line in process.stdout:
        said.append(line)
        if line == "done\n":
            break
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    return "".join(said)


def rows(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_power_cut_takes_nothing_that_was_synced(database: Path, tmp_path: Path, seed: int) -> None:
    with Shim(tmp_path / "shim", database, tracing=True) as shim:
        power = PowerCut(database, shim.folder)
        commits(shim, "FULL")
        assert shim.get("synced") >= 200

        power.strike(random.Random(seed))

    assert rows(database) == 200


def test_a_power_cut_takes_what_was_committed_without_a_sync(database: Path, tmp_path: Path) -> None:
    with Shim(tmp_path / "shim", database, tracing=True) as shim:
        power = PowerCut(database, shim.folder)
        commits(shim, "NORMAL")

        said = power.strike(random.Random(1))

    assert rows(database) < 200
    assert not said.endswith(" 0 of them lost")


def test_a_second_cut_begins_where_the_first_ended(database: Path, tmp_path: Path) -> None:
    with Shim(tmp_path / "shim", database, tracing=True) as shim:
        power = PowerCut(database, shim.folder)
        for seed in range(3):
            commits(shim, "FULL", 50)
            power.strike(random.Random(seed))

    assert rows(database) == 150


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sync_errno": errno.EIO, "sync_ppm": 1_000_000}, "disk I/O error"),
        ({"write_errno": errno.ENOSPC, "write_ppm": 1_000_000}, "database or disk is full"),
    ],
)
def test_a_fault_fires_only_for_the_database(
    database: Path, tmp_path: Path, fields: dict[str, int], said: str
) -> None:
    with Shim(tmp_path / "shim", database) as shim:
        shim.set(**fields)

        heard = commits(shim, "FULL", 3)

        assert heard.count(said) == 3
        assert shim.get("fired") >= 3
        shim.calm()
        assert commits(shim, "FULL", 3) == "done\n"
    assert rows(database) >= 3


def test_short_writes_are_continued(database: Path, tmp_path: Path) -> None:
    with Shim(tmp_path / "shim", database, seed=7) as shim:
        shim.set(short_ppm=500_000)

        assert commits(shim, "FULL", 50) == "done\n"
        assert shim.get("fired") > 10
    assert rows(database) == 50


def test_the_wall_clock_jumps_and_the_other_clock_goes_on(database: Path, tmp_path: Path) -> None:
    tell = "import time; print(time.time(), time.monotonic())"
    with Shim(tmp_path / "shim", database) as shim:
        shim.set(clock_offset_us=-2 * DAY_S * 1_000_000)
        told = subprocess.run(
            [sys.executable, "-c", tell],
            env={**os.environ, **shim.environment()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    now = subprocess.run(
        [sys.executable, "-c", tell], capture_output=True, text=True, check=True
    ).stdout.split()
    assert DAY_S < float(now[0]) - float(told[0]) < 3 * DAY_S
    assert 0 <= float(now[1]) - float(told[1]) < DAY_S


def a_step(kind: int, offset: int = 0, data: bytes = b"") -> Step:
    return Step(sequence=0, kind=kind, file=0, offset=offset, data=data)


def test_a_sync_covers_what_was_written_before_it_began() -> None:
    early, late, after = a_step(WRITE, 0, b"a"), a_step(WRITE, 1, b"b"), a_step(WRITE, 2, b"c")
    steps = [early, a_step(SYNC_BEGIN), late, a_step(SYNC_END), after]

    assert split(steps) == ([early], [late, after])


def test_a_sync_that_did_not_finish_covers_nothing_until_the_next_one_does() -> None:
    first, second = a_step(WRITE, 0, b"a"), a_step(WRITE, 1, b"b")
    unfinished = [first, a_step(SYNC_BEGIN), second]

    assert split(unfinished) == ([], [first, second])
    assert split([*unfinished, a_step(SYNC_BEGIN), a_step(SYNC_END)]) == ([first, second], [])


def test_a_file_is_rebuilt_from_its_changes() -> None:
    steps = [a_step(WRITE, 4, b"ef"), a_step(WRITE, 0, b"AB"), a_step(TRUNCATE, 5)]

    assert rebuilt(b"ab", steps) == b"AB\0\0e"
    assert rebuilt(None, [a_step(TRUNCATE, 2)]) == b"\0\0"
    assert rebuilt(b"ab", [a_step(UNLINK)]) is None
    assert rebuilt(b"ab", [a_step(UNLINK), a_step(WRITE, 0, b"new")]) == b"new"
