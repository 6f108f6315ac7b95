"""What the disk does: its own rate of fdatasync, and how often some processes asked for one."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

BLOCK = b"x" * 4096
EVENTS = ("syscalls:sys_enter_fdatasync", "syscalls:sys_enter_fsync")
ATTACH_S = 0.2
LOOK_S = 0.1
AT_ONCE = 2**24


def syncs_per_second(folder: Path, seconds: float = 0.5) -> float:
    """Write 4 KiB and fdatasync, again and again, into a file in `folder`; return how often a second."""
    with TemporaryFile(dir=folder, buffering=0) as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, BLOCK * 256, 0)
        os.fsync(descriptor)
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            os.pwrite(descriptor, BLOCK, done % 256 * len(BLOCK))
            os.fdatasync(descriptor)
            done += 1
        return done / (time.perf_counter() - began)


def read_through(path: Path) -> None:
    """Read a file once from end to end, so that its pages are in memory."""
    with path.open("rb") as file:
        while file.read(AT_ONCE):
            pass


@dataclass(slots=True)
class Syncs:
    """How many calls of fdatasync and fsync were counted; None where perf cannot count."""

    n: int | None = None


@contextmanager
def counted(pids: Sequence[int]) -> Iterator[Syncs]:
    """Count what these processes and their threads sync inside the block, by `perf stat` (needs root)."""
    syncs = Syncs()
    if shutil.which("perf") is None or not pids:
        yield syncs
        return
    command = ["perf", "stat", "-x,", "-e", ",".join(EVENTS), "-p", ",".join(map(str, pids))]
    perf = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(ATTACH_S)
    try:
        yield syncs
    finally:
        perf.send_signal(signal.SIGINT)
        told = perf.communicate()[1]
    counts = [line.split(",")[0] for line in told.splitlines() if "sys_enter" in line]
    if counts and all(count.isdecimal() for count in counts):
        syncs.n = sum(map(int, counts))


@dataclass(slots=True)
class Largest:
    """The largest size that a file has had, in bytes."""

    size: int = 0


@contextmanager
def watched(path: Path) -> Iterator[Largest]:
    """Look at the size of a file, which may come and go, ten times a second inside the block."""
    largest, ended = Largest(), threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_S):
            with suppress(OSError):
                largest.size = max(largest.size, path.stat().st_size)

    thread = threading.Thread(target=watch, name="watch")
    thread.start()
    try:
        yield largest
    finally:
        ended.set()
        thread.join()
