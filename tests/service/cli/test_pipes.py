"""`opportune ... | head` ends without a word: the reader has what it wanted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli.main import GONE, cli
from tests.service.use_cases.shops import FILES, a_store, launched


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["status"], ["--help"], ["peeking", "--days", "1", "--experiments", "2"]], ids=" ".join
)
def test_a_command_whose_reader_has_gone_ends_quietly(
    tmp_path: Path, arguments: list[str], buffered: str
) -> None:
    with a_store(tmp_path / "home") as store:
        launched(store, FILES)
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"OPPORTUNE_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": buffered}

    done = subprocess.run(
        [sys.executable, "-m", "service.cli.main", *arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (GONE, b"")


def test_a_misspelt_command_is_told_a_near_one() -> None:
    near = CliRunner().invoke(cli, ["verdit", "x"])
    far = CliRunner().invoke(cli, ["qqq"])

    assert near.exit_code == far.exit_code == 2
    assert "No such command 'verdit': did you mean 'verdict'?" in near.output
    assert "No such command 'qqq': `opportune --help` lists them" in far.output


def test_a_command_whose_reader_stays_says_all() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "--help"], capture_output=True, check=True, text=True
    )

    assert done.stdout.startswith("Usage: opportune")
    assert done.stdout.rstrip().splitlines()[-1].strip().startswith("peeking")
