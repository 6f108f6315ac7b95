"""A sign of life of the worker: one small file in home, replaced every second."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

FILE = "worker.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What the worker says of itself. `problems` maps a duty to what is wrong with it.

    `at` is ISO 8601 in UTC, `lake_offset` the newest event of the log in the lake. `stand_by` says that a
    worker of another home exports, judges and trains for both, until it ends.
    """

    process_id: int
    at: str
    lake_offset: int
    problems: dict[str, str]
    stand_by: bool = False

    def age_s(self, now: datetime) -> float:
        """Return how long ago the worker was seen."""
        return (now - datetime.fromisoformat(self.at)).total_seconds()


def beat(home: Path, heartbeat: Heartbeat) -> None:
    """Replace the file; a reader sees the old one or the new one."""
    temporary = home / f"{FILE}.tmp"
    temporary.write_text(json.dumps(asdict(heartbeat)), "utf-8")
    temporary.replace(home / FILE)


def last_beat(home: Path) -> Heartbeat | None:
    """Return the newest sign of life, None if there never was one."""
    try:
        return Heartbeat(**json.loads((home / FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
