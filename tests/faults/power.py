"""A power cut, played afterwards: what was synced is there, of everything else only a random part."""

import random
import shutil
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, UNLINK = 1, 2, 3, 4, 5
SUFFIXES = ("", "-wal", "-journal")
MAGIC = 0xFA017
SECTOR = 512
_HEAD = struct.Struct("=IIiiqqq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call that changed a file, or its sync."""

    sequence: int
    kind: int
    file: int
    offset: int
    data: bytes


class PowerCut:
    """Remembers how the files were before any process ran, so that it can make them anew after a cut."""

    def __init__(self, database: Path, traces: Path) -> None:
        self._database = database
        self._traces = traces
        self._base = traces / "base"
        self.remember()

    def remember(self) -> None:
        """Take the files as they are: nobody has them open, all of it counts as synced."""
        shutil.rmtree(self._base, ignore_errors=True)
        self._base.mkdir(parents=True)
        for path in self._files():
            if path.exists():
                shutil.copy(path, self._base / path.name)
        for trace in self._traces.glob("*.trace"):
            trace.unlink()

    def strike(self, rng: random.Random) -> str:
        """Put the files into a state that a power cut may leave; say what was lost. No process lives."""
        steps = sorted(
            (step for trace in self._traces.glob("*.trace") for step in read_trace(trace.read_bytes())),
            key=lambda step: step.sequence,
        )
        lost = 0
        unsynced = 0
        for number, path in enumerate(self._files()):
            mine = [step for step in steps if step.file == number]
            durable, volatile = split(mine)
            survivors = [kept for step in volatile if (kept := _survivor(step, rng)) is not None]
            unsynced += len(volatile)
            lost += len(volatile) - len(survivors)
            base = self._base / path.name
            content = rebuilt(base.read_bytes() if base.exists() else None, [*durable, *survivors])
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        # The index of the log is memory, not a file: a machine that starts anew has none.
        Path(f"{self._database}-shm").unlink(missing_ok=True)
        self.remember()
        return f"{len(steps)} calls recorded, {unsynced} changes not synced, {lost} of them lost"

    def _files(self) -> list[Path]:
        return [Path(f"{self._database}{suffix}") for suffix in SUFFIXES]


def read_trace(raw: bytes) -> Iterator[Step]:
    """Read one process's records; its last one may be cut off, since the process was killed."""
    place = 0
    while place + _HEAD.size <= len(raw):
        magic, kind, file, _, sequence, offset, length = _HEAD.unpack_from(raw, place)
        assert magic == MAGIC, f"no record at byte {place}"
        place += _HEAD.size
        if place + length > len(raw):
            return
        yield Step(sequence=sequence, kind=kind, file=file, offset=offset, data=raw[place : place + length])
        place += length


def split(steps: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    """Part the changes of one file into those that a finished sync covers, and the others.

    A removed file is gone at once: SQLite removes its log only after everything in it is in the database.
    """
    durable: list[Step] = []
    covered: list[Step] = []
    later: list[Step] = []
    for step in steps:
        if step.kind == SYNC_BEGIN:
            covered += later
            later = []
        elif step.kind == SYNC_END:
            durable += covered
            covered = []
        elif step.kind == UNLINK:
            durable, covered, later = [*durable, *covered, *later, step], [], []
        else:
            later.append(step)
    return durable, [*covered, *later]


def rebuilt(base: bytes | None, steps: Iterable[Step]) -> bytes | None:
    """Return the content after these changes; None if there is no file."""
    content = None if base is None else bytearray(base)
    for step in steps:
        if step.kind == UNLINK:
            content = None
            continue
        content = bytearray() if content is None else content
        end = step.offset + len(step.data)
        if step.kind == TRUNCATE:
            del content[step.offset :]
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if step.kind == WRITE:
            content[step.offset : end] = step.data
    return None if content is None else bytes(content)


def _survivor(step: Step, rng: random.Random) -> Step | None:
    """Return what is left of a change that was not synced: all, nothing, or its first sectors."""
    fate = rng.randrange(3)
    if fate == 0:
        return None
    if fate == 1 or step.kind != WRITE or len(step.data) <= SECTOR:
        return step
    whole = SECTOR * rng.randrange(1, (len(step.data) + SECTOR - 1) // SECTOR)
    return Step(
        sequence=step.sequence, kind=step.kind, file=step.file, offset=step.offset, data=step.data[:whole]
    )
