"""Who descends from whom, and whose a connection is: read from /proc."""

from collections.abc import Sequence
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        name, _, rest = text.rpartition(")")
        parents[int(name.split()[0])] = int(rest.split()[1])
    found = [pid]
    for one in found:
        found += (child for child, parent in parents.items() if parent == one)
    return found


def holder(port: int, pids: Sequence[int]) -> int | None:
    """Return which of these processes holds the end of a local TCP connection that faces `port`."""
    facing = f":{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2].endswith(facing) and fields[9] != "0":
            return next((pid for pid in pids if _holds(pid, f"socket:[{fields[9]}]")), None)
    return None


def _holds(pid: int, what: str) -> bool:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(descriptor.readlink()) == what:
                return True
        except FileNotFoundError:  # closed meanwhile
            continue
    return False
