"""What `make` says when a machine lacks something: one clear line, and nothing half-made."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def setup(venv: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "scripts" / "setup.sh"), str(venv), str(ROOT / "requirements.txt")],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_compiler_is_one_clear_line(tmp_path: Path) -> None:
    done = setup(tmp_path / "venv", CC="no-such-compiler")

    assert done.returncode == 1
    assert done.stderr.startswith("setup: no C compiler ('no-such-compiler')")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


def test_a_missing_python_is_one_clear_line(tmp_path: Path) -> None:
    done = setup(tmp_path / "venv", PYTHON="python0")

    assert done.returncode == 1
    assert done.stderr.startswith("setup: 'python0' is not installed")
    assert done.stderr.count("\n") == 1
