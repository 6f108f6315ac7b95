"""Who descends from whom, and whose a connection is: read from /proc."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
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


def holders(pids: Sequence[int]) -> dict[int, int]:
    """Return the process among these that has each TCP connection, by the port at the client's end."""
    owner = {inode: pid for pid in pids for inode in _sockets(pid)}
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return {int(row[2].rpartition(":")[2], 16): owner[row[9]] for row in rows if row[9] in owner}


def _sockets(pid: int) -> Iterator[str]:
    """Give the inodes of the sockets that a process has open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            name = str(descriptor.readlink())
            if name.startswith("socket:["):
                yield name[len("socket:[") : -1]
