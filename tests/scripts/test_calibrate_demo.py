import subprocess
import sys

import pytest

from service.settings import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "calibrate_demo.py"


@pytest.mark.statistical
def test_a_small_calibration_keeps_its_bounds_and_prints_the_classical_count_beside() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--seeds", "12", "--people", "8000"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "false ship or rollback" in done.stdout
    assert "classical p < alpha, looked at every day" in done.stdout
    assert "covered at the stop" in done.stdout
    assert "All bounds hold" in done.stdout
