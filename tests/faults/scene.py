"""Where faults happen: a server, its database, and whatever stands in between."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.faults.history import Blow
from tests.faults.power import PowerCut
from tests.faults.shim import Shim
from tests.faults.subject import Subject
from tests.postgres import Cluster, running_cluster
from tests.proxy import Proxy, in_front_of

SQLITE = frozenset({"sqlite"})
POSTGRESQL = frozenset({"postgresql"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a fault may touch. `database_url` leads to the database past every obstacle."""

    subject: Subject
    shim: Shim
    rng: random.Random
    database_url: str
    power: PowerCut | None = None
    cluster: Cluster | None = None
    proxy: Proxy | None = None

    def pause(self, shortest: float, longest: float) -> None:
        """Let the clients work on for a while."""
        time.sleep(self.rng.uniform(shortest, longest))

    def maybe_kill(self) -> str:
        """In the middle of another fault, sometimes, kill a worker too."""
        if self.rng.random() > 0.35 or not self.subject.kill_worker(self.rng):
            return ""
        return "; a worker was killed meanwhile"

    def of_cluster(self) -> Cluster:
        """Return the database server."""
        assert self.cluster is not None, "this fault is of PostgreSQL"
        return self.cluster

    def of_proxy(self) -> Proxy:
        """Return what stands before the database server."""
        assert self.proxy is not None, "this fault is of PostgreSQL"
        return self.proxy


Harm: TypeAlias = Callable[[Scene, Blow], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A way to do harm. `interrupts`: nobody listens for a moment, evaluations may be refused, too.

    `freezes`: a process that listens stands still, and whoever is connected to it waits.
    """

    do: Harm
    on: frozenset[str] = SQLITE | POSTGRESQL
    interrupts: bool = False
    moves_clock: bool = False
    kills: bool = False
    freezes: bool = False


@contextmanager
def scene_of(database: str, folder: Path, *, seed: int, tracing: bool = False) -> Iterator[Scene]:
    """Make a home with its database, and the scene over it; at the end no process is left."""
    subject = Subject(home=folder / "home")
    rng = random.Random(f"scene {seed}")
    with Shim(folder / "shim", subject.database, seed=seed, tracing=tracing) as shim:
        subject.extra = dict(shim.environment())
        try:
            if database == "sqlite":
                subject.make()
                power = PowerCut(subject.database, shim.folder)
                url = subject.settings.database_url
                yield Scene(subject=subject, shim=shim, rng=rng, power=power, database_url=url)
            else:
                with running_cluster(durable=True) as cluster, in_front_of(cluster.port) as proxy:
                    url = cluster.new_database()
                    through = cluster.url(url.rpartition("/")[2], port=proxy.port)
                    subject.extra["OPPORTUNE_DATABASE_URL"] = through
                    subject.make()
                    yield Scene(
                        subject=subject, shim=shim, rng=rng, cluster=cluster, proxy=proxy, database_url=url
                    )
        finally:
            subject.end()
