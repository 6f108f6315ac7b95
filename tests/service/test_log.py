"""The log: JSON lines on standard error, which is never a reason to fail."""

import os
import subprocess
import sys
from pathlib import Path

from service.settings import REPOSITORY

SAY = """
from service import log
log.configure()
log.logger().error("first", secret=b"x")
print("still here")
"""


def test_a_log_that_cannot_be_written_fails_nothing() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", SAY],
            stdout=subprocess.PIPE,
            stderr=full,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            check=False,
        )

    assert done.stdout == b"still here\n"
