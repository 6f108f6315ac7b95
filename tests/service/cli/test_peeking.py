import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.peeking import RacePlan, Tally, run
from service.cli.main import cli

OPPORTUNE = Path(sys.executable).parent / "opportune"
SMALL = ("--experiments", "20", "--days", "10", "--visitors", "200")
PLAN = RacePlan(experiments=20, days=10, visitors=200)


def peeking(*arguments: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(cli, ["peeking", *arguments])
    return done.exit_code, done.output.splitlines()


def test_the_command_tells_each_day_and_then_what_it_showed() -> None:
    done = subprocess.run([OPPORTUNE, "peeking"], capture_output=True, text=True, check=True)

    lines, end = done.stdout.splitlines(), " ".join(done.stdout.split())
    looks = list(run(RacePlan(), np.random.default_rng(1)))
    classical, ours = (
        Tally.of(np.stack([getattr(x, name) for x in looks])) for name in ("classical", "ours")
    )
    assert [int(line.split()[0]) for line in lines[2:30]] == list(range(1, 29))
    assert lines[29].split()[:3] == ["28", f"{looks[-1].visitors:,}", str(classical.ever[-1])]
    assert f"looked at every day: {classical.ever[-1]} false winners; about 27.5 were to be expected" in end
    assert f"Opportune, looked at every day: {ours.ever[-1]} false winner" in end
    assert "at most 5 are promised" in end
    assert done.stderr == ""


def test_every_day_is_told_before_the_next_is_computed() -> None:
    process = subprocess.Popen(
        [OPPORTUNE, "peeking", "--days", "365", "--visitors", "100000", "--experiments", "999"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        # The whole race would take hours.
        first = [process.stdout.readline() for _ in range(2)]
    finally:
        process.terminate()
        process.communicate()

    assert first[0].endswith("of 999; seed 1\n")


def test_a_reader_that_leaves_early_is_no_error_to_talk_about() -> None:
    command = f"{OPPORTUNE} peeking --days 200 --visitors 50 --experiments 5 | head -n 3"

    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)

    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""


def test_on_a_terminal_it_says_the_same_at_a_pace_for_eyes() -> None:
    arguments = ("peeking", "--days", "2", "--visitors", "50", "--experiments", "5")
    leader, follower = pty.openpty()
    with subprocess.Popen([OPPORTUNE, *arguments], stdout=follower) as process:
        os.close(follower)
        told = b""
        # Linux ends the reading of a terminal that nobody writes to any more with an error.
        with suppress(OSError):
            while part := os.read(leader, 1 << 16):
                told += part
    os.close(leader)

    piped = subprocess.run([OPPORTUNE, *arguments], capture_output=True, text=True, check=True).stdout
    assert process.returncode == 0
    assert told.decode().replace("\r\n", "\n") == piped


def test_the_bars_count_what_the_race_counts() -> None:
    code, lines = peeking(*SMALL, "--seed", "4")

    looks = list(run(PLAN, np.random.default_rng(4)))
    classical, ours = (
        Tally.of(np.stack([getattr(x, name) for x in looks])) for name in ("classical", "ours")
    )
    days = [line.replace("#", "").split() for line in lines[2:12]]
    assert code == 0
    assert [(int(c), int(o)) for _, _, c, o in days] == list(
        zip(classical.ever.tolist(), ours.ever.tolist(), strict=True)
    )
    assert lines[11].count("#") == -(-36 * int(classical.ever[-1]) // 20) + -(-36 * int(ours.ever[-1]) // 20)


def test_a_seed_is_a_race_and_the_next_is_another() -> None:
    assert peeking(*SMALL, "--seed", "7") == peeking(*SMALL, "--seed", "7")
    assert peeking(*SMALL, "--seed", "7")[1][2:12] != peeking(*SMALL, "--seed", "8")[1][2:12]
    assert peeking(*SMALL)[1][-1].endswith("Other visitors: --seed 2")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rate", "0"),
        ("--rate", "1"),
        ("--days", "366"),
        ("--experiments", "1000"),
        ("--visitors", "0"),
        ("--seed", "-1"),
        ("--seed", "one"),
    ],
)
def test_a_race_that_cannot_be_run_is_refused_in_one_line(arguments: tuple[str, str]) -> None:
    code, lines = peeking(*arguments)

    assert code == 2
    assert lines[-1].startswith(f"Error: Invalid value for '{arguments[0]}'")


def test_no_visitor_and_no_winner_are_words_too() -> None:
    code, lines = peeking(
        "--experiments", "1", "--days", "1", "--visitors", "1", "--rate", "0.5", "--seed", "2"
    )

    assert code == 0
    assert "0 false winners" in " ".join(lines)
