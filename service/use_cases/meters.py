"""Approximate counters that several web processes share through small files; never a lock on the event loop.

Each process counts in memory, one table a thread, and publishes its sums by rename: a reader never
meets half a file, and an unreadable one costs its own counts only, not the page.
The master folds the file of a worker that ended into one file of the past, so that sums do not fall.
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

PAST = "past.json"
MINUTE = "minute:"
MINUTES_KEPT = 10

CounterKey: TypeAlias = tuple[str, str]
"""Name of the counter, value of its one label (may be empty)."""


class Meters:
    """Counts of this process."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._tables: list[Counter[CounterKey]] = []
        self._gauges: dict[str, float] = {}

    def count(self, name: str, label: str = "", *, by: int = 1) -> None:
        """Add to one counter; cheap, and safe in any thread."""
        try:
            table: Counter[CounterKey] = self._local.table
        except AttributeError:
            table = self._local.table = Counter()
            self._tables.append(table)
        table[name, label] += by

    def count_in(self, minute: int, label: str, *, by: int) -> None:
        """Add to a counter of one minute (since 1970); it is forgotten after some more minutes."""
        self.count(f"{MINUTE}{minute}", label, by=by)
        if getattr(self._local, "minute", minute) != minute:
            # Only its own thread changes a table.
            for key in [key for key in self._local.table if _is_past(key, minute)]:
                del self._local.table[key]
        self._local.minute = minute

    def totals(self) -> Counter[CounterKey]:
        """Return the sums over all threads."""
        total: Counter[CounterKey] = Counter()
        for table in tuple(self._tables):
            total.update(table.copy())
        return total

    def publish(self, folder: Path, process_id: int) -> None:
        """Write this process's sums for the others to read; a full disk is no reason to stop."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_totals(folder / f"{process_id}.json", self.totals())
        except OSError:
            return


def write_totals(path: Path, totals: Mapping[CounterKey, int]) -> None:
    """Replace `path` in one step."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([[name, label, n] for (name, label), n in totals.items()]), "utf-8")
    fresh.replace(path)


def read_totals(path: Path) -> Counter[CounterKey]:
    """Return the sums in one file; a missing or damaged file holds nothing."""
    try:
        rows = json.loads(path.read_text("utf-8"))
        return Counter({(str(name), str(label)): int(n) for name, label, n in rows})
    except (OSError, ValueError, TypeError):
        return Counter()


def in_minute(totals: Mapping[CounterKey, int], minute: int) -> Counter[str]:
    """Return what was counted in one minute, by label."""
    name = f"{MINUTE}{minute}"
    return Counter({label: n for (counter, label), n in totals.items() if counter == name})


def _is_past(key: CounterKey, minute: int) -> bool:
    counted_in = _minute_of(key)
    return counted_in is not None and counted_in < minute - MINUTES_KEPT


def _minute_of(key: CounterKey) -> int | None:
    digits = key[0].removeprefix(MINUTE)
    return int(digits) if key[0].startswith(MINUTE) and digits.isdecimal() else None


def _recent(totals: Mapping[CounterKey, int]) -> Counter[CounterKey]:
    """Return the sums without the minutes that are long past."""
    newest = max((_minute_of(key) or 0 for key in totals), default=0)
    return Counter({key: n for key, n in totals.items() if not _is_past(key, newest)})


def all_totals(folder: Path) -> Counter[CounterKey]:
    """Return the sums over every process, past and present."""
    total: Counter[CounterKey] = Counter()
    for path in sorted(folder.glob("*.json")):
        total.update(read_totals(path))
    return total


def clear(folder: Path) -> None:
    """Forget everything: called once, by the master, before any worker exists."""
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)


def retire(folder: Path, process_id: int) -> None:
    """Fold the file of a process that ended into the past; called by the master alone."""
    path = folder / f"{process_id}.json"
    if path.is_file():
        write_totals(folder / PAST, _recent(read_totals(folder / PAST) + read_totals(path)))
        path.unlink(missing_ok=True)
