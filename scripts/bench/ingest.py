"""One question to a running server: so many clients with batches of so many events."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from scripts.bench import clients, disk
from scripts.bench.clients import Ask, Round
from scripts.bench.events import FROM_SERVER, TIME_ORDERED, Source
from scripts.bench.load import cpu_seconds
from scripts.bench.processes import family
from scripts.bench.table import Sample
from tests.server import AS_USUAL, Server, running_server, write_catalog

MOST_PER_SECOND = {1: 15_000, 20: 60_000, 500: 90_000}
"""Events that are made for a second; a round whose bodies are used up ends early."""
WARM_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """So many clients with batches of so many events, with ids of a kind."""

    clients: int
    batch: int
    ids: str = TIME_ORDERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one round measured; CPU time of the service and its database in microseconds an event."""

    round: Round
    disk: float
    cpu: float
    syncs: int | None

    @property
    def per_sync(self) -> float:
        """Return durable events a call of fdatasync or fsync, 0 where they were not counted."""
        return self.round.events / self.syncs if self.syncs else 0.0


Results = dict[Cell, list[Found]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running server and the database process beside it, if there is one."""

    server: Server
    database: int | None = None

    def ask(self, cell: Cell, seconds: float, *, known: int = 0) -> Found:
        """Warm up, take the disk's own rate, send and count."""
        self._send(cell, WARM_S)
        bodies = _bodies(cell, seconds, known=known)
        baseline = disk.syncs_per_second(self.server.home)
        roots = [pid for pid in (self.server.process.pid, self.database) if pid is not None]
        before = sum(map(cpu_seconds, roots))
        with disk.counted([pid for root in roots for pid in family(root)]) as syncs:
            found = self._run(cell, bodies, seconds)
        cpu = 1e6 * (sum(map(cpu_seconds, roots)) - before) / max(1, found.events)
        return Found(round=found, disk=baseline, cpu=cpu, syncs=syncs.n)

    def _send(self, cell: Cell, seconds: float) -> None:
        self._run(cell, _bodies(cell, seconds), seconds)

    def _run(self, cell: Cell, bodies: Sequence[bytes], seconds: float) -> Round:
        key = self.server.server_key if cell.batch >= FROM_SERVER else self.server.client_key
        ask = Ask(
            port=self.server.port,
            workers=family(self.server.process.pid)[1:],
            key=key,
            bodies=bodies,
            batch=cell.batch,
            clients=cell.clients,
        )
        return clients.run(ask, seconds)


@contextmanager
def target(home: Path, *, url: str = "", database: int | None = None) -> Iterator[Target]:
    """Start the service with two web workers, on the SQLite file in its home or on the database at `url`."""
    env = {"OPPORTUNE_DATABASE_URL": url} if url else {}
    with running_server(home, write_catalog(home.with_name("catalog")), AS_USUAL, **env) as server:
        yield Target(server=server, database=database)


def sample(found: Sequence[Found], name: str) -> Sample:
    """Return one figure of the rounds of a cell; `name` is a member of Found or of Round."""
    of = [one if hasattr(one, name) else one.round for one in found]
    return Sample([float(getattr(one, name) or 0) for one in of])


def _bodies(cell: Cell, seconds: float, *, known: int = 0) -> list[bytes]:
    n = max(cell.clients, int(MOST_PER_SECOND[cell.batch] * seconds / cell.batch))
    return list(islice(Source(cell.ids, known=known).bodies(cell.batch), n))
