"""`make run` in a terminal: Ctrl-C is for the service, not for make, so the drain ends with exit code 0."""

import os
import pty
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The child only execs, so that a fork beside threads is harmless.
pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]

FILES = {
    "hello.yaml": "experiment: hi\nvariants: {control: bye, greeting: Hello}\nmetrics: {primary: purchase}\n",
    "metrics.yaml": "metrics:\n  purchase: {kind: conversion, event: Order Completed, window: 7d}\n",
}


def test_ctrl_c_in_a_terminal_drains_and_make_exits_with_zero(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    for name, text in FILES.items():
        (tmp_path / "catalog" / name).write_text(text, "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.environ.update(
            OPPORTUNE_HOME=str(tmp_path / "home"), OPPORTUNE_CATALOG=str(tmp_path / "catalog"), PORT=str(port)
        )
        os.execvp("make", ["make", "run"])

    said = read_until(terminal, b"Ctrl-C drains")
    os.write(terminal, b"\x03")
    said += read_until(terminal, None)
    _, status = os.waitpid(process, 0)

    assert os.waitstatus_to_exitcode(status) == 0, said.decode()
    assert b"draining" in said
    assert b"Traceback" not in said


def read_until(terminal: int, words: bytes | None) -> bytes:
    """Return what the terminal shows until `words`, or until it closes."""
    said = b""
    while words is None or words not in said:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux reports that the other side has closed
            part = b""
        if not part:
            assert words is None, said.decode()
            break
        said += part
    return said
