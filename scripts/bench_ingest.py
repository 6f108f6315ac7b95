"""Measure how fast events become durable: over HTTP, with the real server and two web workers.

    python -m scripts.bench_ingest               # 1, 8, 64 clients x batches of 1, 20, 500, each database
    python -m scripts.bench_ingest --stored 10000000 --keep /var/tmp/filled    # SQLite: empty against full
    python -m scripts.bench_ingest --through 10000000     # SQLite: how large does the write-ahead log get?
    python -m scripts.bench_ingest --quick       # one short round: does everything run?

Every round starts with a new database and a new server. An event counts once its answer says `accepted`,
which is sent after the commit. The generator (plain sockets, bodies made beforehand) shares the machine. The
disk's own rate of fdatasync is taken right before each figure; the calls of fdatasync and fsync that the
web workers (with PostgreSQL: its processes, too) make are counted by `perf stat` (root; `-` without it).
Batches of 1 and 20 are a browser's, with a client key, of one visitor each; batches of 500 come with a server
key and hold 5 events of each visitor. Each worker gets half of the connections. A filled store is read
through once before each round: one that has served for a while has its pages in memory, one that was just
copied has not, and random ids then wait for the disk. Numbers are medians [range]; compare them inside one
run only.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from scripts.bench import disk, stored
from scripts.bench.events import IDS
from scripts.bench.ingest import MOST_PER_SECOND, Cell, Found, Results, Target, sample, target
from scripts.bench.table import table
from service.storage.migrate import migrate
from tests.postgres import Cluster, running_cluster

SQLITE, POSTGRESQL = "sqlite", "postgresql"
DATABASES = (SQLITE, POSTGRESQL)
FILE = "opportune.db"
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long to measure what."""

    rounds: int
    seconds: float
    cells: Sequence[Cell]
    stored: Sequence[Cell]


ALL = [Cell(clients=n, batch=batch) for batch in MOST_PER_SECOND for n in (1, 8, 64)]
BOTH_IDS = [Cell(clients=8, batch=batch, ids=ids) for batch in (20, 500) for ids in IDS]
BULK = Cell(clients=8, batch=500)
FULL = Length(rounds=3, seconds=4.0, cells=ALL, stored=BOTH_IDS)
QUICK = Length(rounds=1, seconds=0.3, cells=[ALL[0], ALL[4], ALL[7]], stored=BOTH_IDS[2:])


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="One short round: does everything run?")
@click.option("--only", type=click.Choice(DATABASES), help="One database.")
@click.option("--stored", "n_stored", type=int, help="SQLite: an empty store against one of so many events.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Fill the store in this folder, or use it again."
)
@click.option("--through", type=int, help="SQLite: send so many events into one store.")
def main(
    *, quick: bool, only: str | None, n_stored: int | None, keep: Path | None, through: int | None
) -> None:
    """Measure and print."""
    length = QUICK if quick else FULL
    with TemporaryDirectory() as made:
        folder = Path(made)
        if n_stored is not None:
            _compare_stored(folder, keep or folder / "filled", n_stored, length)
        elif through is not None:
            _send_through(folder, through, length)
        else:
            for database in DATABASES if only is None else (only,):
                _measure(folder / database, database, length)


def _measure(folder: Path, database: str, length: Length) -> None:
    results: Results = {}
    largest = 0
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster(durable=True)) if database == POSTGRESQL else None
        for number in range(length.rounds):
            with _new(folder / str(number), cluster) as asked, _wal(asked) as wal:
                for cell in length.cells:
                    results.setdefault(cell, []).append(asked.ask(cell, length.seconds))
            largest = max(largest, wal.size)
    print(f"{database}, two web workers, {length.rounds} rounds of {length.seconds:g} s\n")
    print(table(HEADER, [_line(cell, found) for cell, found in results.items()]))
    if database == SQLITE:
        print(f"\nThe largest write-ahead log: {largest / MB:,.0f} MB")
    print()


@contextmanager
def _new(folder: Path, cluster: Cluster | None = None) -> Iterator[Target]:
    """Start the service on a new, empty database: in the cluster, if there is one, or else a file."""
    folder.mkdir(parents=True)
    if cluster is None:
        with target(folder / "home") as asked:
            yield asked
        return
    url = cluster.new_database(migrated=False)
    with target(folder / "home", url=url, database=cluster.process.pid if cluster.process else None) as asked:
        yield asked
    cluster.drop(url)


def _wal(asked: Target) -> AbstractContextManager[disk.Largest]:
    return disk.watched(asked.server.home / f"{FILE}-wal")


HEADER = (
    "clients x batch",
    "ids",
    "events/s",
    "p50 ms",
    "p99 ms",
    "events a sync",
    "disk: syncs/s",
    "CPU us an event",
    "of the generator",
    "told to wait",
)


def _line(cell: Cell, found: Sequence[Found]) -> tuple[str, ...]:
    counted = all(one.syncs for one in found)
    return (
        f"{cell.clients} x {cell.batch}",
        cell.ids,
        sample(found, "per_second").told(),
        sample(found, "p50").told(1),
        sample(found, "p99").told(1),
        sample(found, "per_sync").told(1) if counted else "-",
        sample(found, "disk").told(),
        sample(found, "cpu").told(),
        sample(found, "generator").told(1),
        sample(found, "busy").told(),
    )


def _compare_stored(folder: Path, filled: Path, n: int, length: Length) -> None:
    """Ask the same of an empty store and of a filled one, round by round."""
    filled.mkdir(parents=True, exist_ok=True)
    migrate(f"sqlite:///{filled / FILE}")
    known = stored.fill(filled / FILE, n)
    empty: Results = {}
    full: Results = {}
    largest = 0
    for number in range(length.rounds):
        for home, results in ((folder / str(number) / "home", empty), (filled, full)):
            home.parent.mkdir(parents=True, exist_ok=True)
            if results is full:
                disk.read_through(filled / FILE)
            with target(home) as asked, _wal(asked) as wal:
                for cell in length.stored:
                    results.setdefault(cell, []).append(asked.ask(cell, length.seconds, known=known))
            largest = max(largest, wal.size)
    print(
        f"SQLite with {n:,} events or more in it against an empty one; every second visitor is known to it\n"
    )
    header = (*HEADER[:2], "store", *HEADER[2:], "x empty")
    lines = []
    for cell in length.stored:
        ratio = sample(full[cell], "per_second").median / sample(empty[cell], "per_second").median
        for name, results, told in (("empty", empty, ""), (f"{n:,}", full, f"{ratio:.2f}")):
            line = _line(cell, results[cell])
            lines.append((*line[:2], name, *line[2:], told))
    print(table(header, lines))
    print(f"\nThe largest write-ahead log: {largest / MB:,.0f} MB\n")


def _send_through(folder: Path, n: int, length: Length) -> None:
    """Send `n` events into one store, a few seconds at a time."""
    found: list[Found] = []
    with _new(folder / "through") as asked, _wal(asked) as wal:
        while sum(one.round.events for one in found) < n:
            found.append(asked.ask(BULK, length.seconds))
        size = (asked.server.home / FILE).stat().st_size
    sent = sum(one.round.events for one in found)
    print(f"{sent:,} events through one store, {len(found)} rounds\n")
    print(table(HEADER, [_line(BULK, found)]))
    print(f"\nThe largest write-ahead log: {wal.size / MB:,.0f} MB; the database: {size / MB:,.0f} MB\n")


if __name__ == "__main__":
    main()
