"""How large the data is, how fast it grows, and when the disk will be full."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from service.settings import SQLITE, Settings
from service.storage.ports import Retention

FILE = "growth.json"
EVERY = timedelta(hours=1)
LOOK_BACK = timedelta(days=7)
LEAST_SPAN = timedelta(hours=6)
"""What grew in less time than this is not yet a pace."""
DAY = timedelta(days=1)


class Sample(NamedTuple):
    """The bytes that grow, at one moment."""

    at: datetime
    size: int


def sizes(store: Retention, settings: Settings) -> Mapping[str, int]:
    """Return the bytes of each part of the data: database, write_ahead_log (SQLite), lake, models.

    A lake in an object store takes no room of ours.

    Raises
    ------
    StoreUnavailableError
        If the database does not say how large it is.
    """
    return {
        **store.sizes(),
        "lake": _bytes_below(settings.lake) if isinstance(settings.lake, Path) else 0,
        "models": _bytes_below(settings.models),
    }


def free_bytes(settings: Settings) -> int:
    """Return what the service may still write on the disk of its home."""
    return shutil.disk_usage(settings.home).free


def note_growth(settings: Settings, parts: Mapping[str, int], *, now: datetime) -> None:
    """Remember the size of now, unless it was noted within the last hour.

    What grows on the disk of the home counts: the lake, and the database where it is a file.
    """
    own_database = settings.database_url.startswith(SQLITE)
    size = parts["lake"] + (parts["database"] if own_database else 0)
    known = [sample for sample in _samples(settings) if now - LOOK_BACK <= sample.at <= now]
    if known and now - known[-1].at < EVERY:
        return
    samples = [*known, Sample(now, size)]
    told = {
        "bytes_per_day": pace(samples),
        "samples": [[sample.at.isoformat(), sample.size] for sample in samples],
    }
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(told), "utf-8")
    fresh.replace(path)


def pace(samples: Sequence[Sample]) -> float | None:
    """Return the bytes a day by which the data grows; None before six hours were seen.

    The median of the slopes between all pairs of moments: one import or one purge does not move it.
    """
    if not samples or samples[-1].at - samples[0].at < LEAST_SPAN:
        return None
    return median(
        (later.size - earlier.size) / ((later.at - earlier.at) / DAY)
        for earlier, later in combinations(samples, 2)
    )


def daily_growth(settings: Settings) -> float | None:
    """Return the pace that was noted last, None before there is one."""
    noted = _noted(settings).get("bytes_per_day")
    return float(noted) if isinstance(noted, int | float) else None


def days_until_full(free: int, growth: float) -> float:
    """Return for how long `free` bytes last; infinite for what does not grow."""
    return free / growth if growth > 0 else math.inf


def _path(settings: Settings) -> Path:
    return settings.home / "run" / FILE


def _samples(settings: Settings) -> Sequence[Sample]:
    """Return what was noted, oldest first."""
    try:
        return [
            Sample(datetime.fromisoformat(at), int(size)) for at, size in _noted(settings).get("samples", ())
        ]
    except (ValueError, TypeError):
        return ()


def _noted(settings: Settings) -> Mapping[str, Any]:
    """Return what is in the file; a missing or damaged one holds nothing."""
    try:
        noted = json.loads(_path(settings).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _bytes_below(folder: Path) -> int:
    """Return the bytes of all files below `folder`; one that goes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
