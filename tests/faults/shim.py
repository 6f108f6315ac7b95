"""Steers `shim.c`, the faults that are preloaded under a real process."""

import hashlib
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

SOURCE = Path(__file__).with_name("shim.c")
FIELDS = (
    "clock_offset_us",
    "sync_errno",
    "sync_ppm",
    "sync_delay_us",
    "write_errno",
    "write_ppm",
    "short_ppm",
    "read_errno",
    "read_ppm",
    "tracing",
    "sequence",
    "draws",
    "fired",
    "synced",
)
"""The members of `struct control`, in its order."""

ROOM = 16
CALM = {name: 0 for name in FIELDS if name not in {"tracing", "sequence", "draws", "fired", "synced"}}


def library() -> Path:
    """Return the compiled shim, compiled once for each state of its source."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"opportune-faults-{digest}.so"
    if not built.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        assert compiler, "tests/faults need a C compiler, as `make setup` does"
        options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        fresh = built.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *options, "-o", str(fresh), str(SOURCE), "-ldl"], check=True)
        fresh.replace(built)
    return built


class Shim:
    """The page of memory that a server's processes share with the test; faults begin when a field is set."""

    def __init__(self, folder: Path, database: Path, *, seed: int = 0, tracing: bool = False) -> None:
        self.folder = folder
        self.database = database
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "control"
        self._path.write_bytes(bytes(8 * ROOM))
        with self._path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8 * ROOM)
        self.set(draws=seed % 2**40, tracing=int(tracing))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._page.close()

    def environment(self) -> Mapping[str, str]:
        """Return what a process needs in its environment to be reached."""
        return {
            "LD_PRELOAD": str(library()),
            "FAULTS_CONTROL": str(self._path),
            "FAULTS_DATABASE": str(self.database),
            "FAULTS_TRACE": str(self.folder),
        }

    def set(self, **values: int) -> None:
        """Set fields; the processes see them with their next call."""
        for name, value in values.items():
            struct.pack_into("=q", self._page, 8 * FIELDS.index(name), value)

    def get(self, name: str) -> int:
        """Return a field, such as how often a fault has fired."""
        value: int = struct.unpack_from("=q", self._page, 8 * FIELDS.index(name))[0]
        return value

    def calm(self) -> None:
        """End every fault; the clock is right again."""
        self.set(**CALM)
