import csv
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import REPOSITORY


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"scripts.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )


@pytest.mark.statistical
def test_a_small_calibration_prints_its_tables_and_writes_them(tmp_path: Path) -> None:
    arguments = ("--runs", "20", "--only", "cuped", "--only", "agreement", "--write", str(tmp_path))

    done = run("calibrate", *arguments)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "All promises kept" in done.stdout
    with (tmp_path / "cuped_misses.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["true lift"] for row in rows] == ["0 %", "5 %", "10 %", "20 %"]
    written = (tmp_path / "calibration.md").read_text("utf-8")
    assert "### Adjusted mean (CUPED)" in written
    assert "| quantile" in written


@pytest.mark.statistical
def test_the_same_seed_gives_the_same_tables_on_one_process_or_two() -> None:
    arguments = ("--runs", "20", "--only", "ratio", "--seed", "7")

    one, two = (run("calibrate", *arguments, "--processes", n) for n in ("1", "2"))

    def tables(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("|")]

    assert tables(one.stdout) == tables(two.stdout)
    assert len(tables(one.stdout)) == 6


def test_the_bench_times_every_part_and_holds_the_sum_against_its_goal() -> None:
    done = run("bench_statistics", "--quick")

    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("conversion", "count", "mean", "mean with a covariate", "ratio", "guardrail", "all"):
        assert f"| {part} " in done.stdout
    assert "Goal: at most 0.2 s" in done.stdout
