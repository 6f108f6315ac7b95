"""Measure assignment: in process, over HTTP, and beside slow routes and event streams.

    python -m scripts.bench_assign            # 3 interleaved rounds, some 3 minutes
    python -m scripts.bench_assign --quick    # one short round: does everything run?

Everything is public: wrk (else a generator in this repository; the output says which), GrowthBook's SDK for
Python from PyPI, gunicorn with service/gunicorn_conf.py and 2 workers. All servers are started first, answers
are compared, then rounds are interleaved: A B C A B C. Numbers are medians [range]; compare them inside one
run only, CPU time before throughput. An ASGI application that reads the body and answers with as many fixed
bytes as a bulk evaluation has shows what the server allows at most, once with our headers, which every answer
needs; the Flask path under gthread is service.wsgi.
"""

import hashlib
import json
import timeit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import orjson

from scripts.bench import in_process, load, mixed, shop
from scripts.bench.apps import BYTES, HEADERS
from scripts.bench.load import Ask, Load
from scripts.bench.table import Sample, table
from tests.server import AS_USUAL, Server, Start, running_server, write_catalog

BULK = "/ofrep/v1/evaluate/flags"
SINGLE = f"{BULK}/experiment-01"
GTHREAD = Start(command=("-k", "gthread", "--threads", "8", "service.wsgi:application"))
FIXED = Start(command=("scripts.bench.apps:fixed",), fresh=False)
SLOW = Start(command=("scripts.bench.apps:slow",))
N_COMPARED = 50
PARTS = ("in-process", "http", "beside")


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long to measure."""

    rounds: int
    seconds: float
    visitors: int
    warms: bool = True


FULL = Length(rounds=3, seconds=3.0, visitors=shop.N_VISITORS)
QUICK = Length(rounds=1, seconds=1.0, visitors=200, warms=False)


@dataclass(slots=True)
class Row:
    """One question to one server, and what its rounds measured."""

    name: str
    server: str
    ask: Ask
    pid: int
    loads: list[Load] = field(default_factory=list)

    def sample(self, name: str) -> Sample:
        """Return one figure over the rounds."""
        return Sample([getattr(one, name) for one in self.loads])


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="One short round: does everything run?")
@click.option("--only", type=click.Choice(PARTS), help="One part of it.")
def main(*, quick: bool, only: str | None) -> None:
    """Measure and print."""
    length = QUICK if quick else FULL
    speed = min(timeit.repeat(lambda: hashlib.sha256(b"x" * 40).digest(), number=100_000, repeat=5)) * 1e4
    print(
        f"This machine now: sha256 of 40 bytes takes {speed:,.0f} ns (idle, where the goals were set: 330).\n"
    )
    if only in (None, "in-process"):
        _tell_in_process(length)
    with TemporaryDirectory() as folder:
        if only in (None, "http"):
            _measure_http(Path(folder), length)
        if only in (None, "beside"):
            _measure_beside(Path(folder), length)


def _tell_in_process(length: Length) -> None:
    found = in_process.measure(rounds=max(2, length.rounds), n=length.visitors)
    rows = [(name, sample.told()) for name, sample in found.items()]
    print("In process, ns of CPU time; 20 definitions with targeting\n")
    print(table(("question", "ns, median [range]"), rows))
    for what in ("one flag", "bulk of 20"):
        ratio = found[f"GrowthBook SDK, {what}"].median / found[f"ours, {what}"].median
        print(f"\n{what}: {ratio:.1f} times as fast as GrowthBook's Python SDK", end="")
    print("\n")


def _measure_http(folder: Path, length: Length) -> None:
    visitors = shop.visitors(length.visitors)
    with ExitStack() as stack:
        start = stack.enter_context
        ours = start(_server(folder / "asgi", AS_USUAL))
        bodies = tuple(orjson.dumps({"context": visitor}) for visitor in visitors)
        etags, size = _etags(ours, bodies)
        fixed = start(_server(folder / "fixed", FIXED, **{BYTES: str(size)}))
        dressed = {BYTES: str(size), HEADERS: json.dumps(_answer_headers(ours, bodies[0]))}
        headed = start(_server(folder / "headed", FIXED, **dressed))
        gthread = start(_server(folder / "gthread", GTHREAD))
        _compare(ours, gthread, bodies[:N_COMPARED])
        rows = [
            _row("bulk-20", "fixed bytes", fixed, path=BULK, bodies=bodies),
            _row("bulk-20", "fixed bytes and our headers", headed, path=BULK, bodies=bodies),
            *_rows(ours, gthread, bodies, etags),
        ]
        print(
            f"Over HTTP: 2 workers, {load.CONNECTIONS} connections, generator {load.tool()}; "
            f"a bulk answer has {size:,} bytes\n"
        )
        for row in rows if length.warms else ():
            load.run(row.ask, row.pid, 1.0)
        for _ in range(length.rounds):
            for row in rows:
                row.loads.append(load.run(row.ask, row.pid, length.seconds))
        _tell_http(rows)


def _measure_beside(folder: Path, length: Length) -> None:
    bodies = tuple(orjson.dumps({"context": visitor}) for visitor in shop.visitors(length.visitors))
    with _server(folder / "slow", SLOW) as server:
        _tell_beside(server, bodies, length)


@contextmanager
def _server(home: Path, how: Start, **env: str) -> Iterator[Server]:
    with running_server(home / "home", write_catalog(home / "catalog", shop.FILES), how, **env) as server:
        yield server


def _headers(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.client_key}", "Content-Type": "application/json"}


def _etags(server: Server, bodies: tuple[bytes, ...]) -> tuple[tuple[str, ...], int]:
    """Return the entity tag of each visitor's bulk answer, and the size of a usual one."""
    answers = [server.post(BULK, data=body, headers=_headers(server)) for body in bodies[:500]]
    sizes = sorted(len(answer.content) for answer in answers)
    return tuple(answer.headers["ETag"] for answer in answers), sizes[len(sizes) // 2]


def _answer_headers(server: Server, body: bytes) -> dict[str, str]:
    """Return the headers of a bulk answer that the application sent, not the server."""
    answer = server.post(BULK, data=body, headers=_headers(server))
    of_server = {"date", "server", "connection", "content-length"}
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() not in of_server}


def _compare(one: Server, other: Server, bodies: tuple[bytes, ...]) -> None:
    """Refuse to compare servers that do not answer alike."""
    for body in bodies:
        flags = [
            server.post(BULK, data=body, headers=_headers(server)).json()["flags"] for server in (one, other)
        ]
        if flags[0] != flags[1]:
            raise SystemExit(f"the two doors answer {body!r} differently")


def _row(name: str, label: str, server: Server, **ask: Any) -> Row:  # noqa: ANN401 - members of an Ask
    made = Ask(port=server.port, headers=_headers(server), **ask)
    return Row(name=name, server=label, ask=made, pid=server.process.pid)


def _rows(ours: Server, gthread: Server, bodies: tuple[bytes, ...], etags: tuple[str, ...]) -> Iterator[Row]:
    for label, server in (("asgi", ours), ("Flask, gthread", gthread)):
        features = f"/api/features/{server.client_key}"
        yield _row("bulk-20", label, server, path=BULK, bodies=bodies)
        yield _row("single", label, server, path=SINGLE, bodies=bodies)
        if label == "asgi":
            yield _row("304", label, server, path=BULK, bodies=bodies[: len(etags)], etags=etags, expect=304)
        yield _row("SDK payload", label, server, path=features, method="GET")


def _tell_http(rows: list[Row]) -> None:
    limit = rows[0].sample("per_second").median
    flask = {row.name: row.sample("per_second").median for row in rows if row.server == "Flask, gthread"}
    lines = []
    for row in rows:
        rate = row.sample("per_second")
        under = flask.get(row.name)
        lines.append(
            (
                row.name,
                row.server,
                rate.told(),
                f"{rate.median / limit:.2f}",
                f"{rate.median / under:.2f}" if under else "-",
                row.sample("p50").told(2),
                row.sample("p99").told(2),
                row.sample("cpu").told(),
            )
        )
    header = ("question", "server", "answers/s", "x fixed bytes", "x gthread", "p50 ms", "p99 ms", "CPU us")
    print(table(header, lines) + "\n")


def _tell_beside(server: Server, bodies: tuple[bytes, ...], length: Length) -> None:
    hot = Ask(port=server.port, path=BULK, headers=_headers(server), bodies=bodies)
    stream = f"/sub/{server.client_key}"
    cases = {"alone": (0, 0), "48 slow": (48, 0), "48 slow, 50 streams": (48, 50)}
    found: dict[str, list[mixed.Beside]] = {name: [] for name in cases}
    for _ in range(length.rounds):
        for name, (slow, streams) in cases.items():
            found[name].append(mixed.run(hot, stream, slow=slow, streams=streams, seconds=length.seconds))
    print(
        f"Bulk-20 {mixed.PER_SECOND:,} times a second over {mixed.HOT} connections (generator in Python, on "
        "this\nmachine; counted from when it was due), beside connections that hold a 20 ms Flask route\n"
    )
    lines = [
        (
            name,
            *(Sample([getattr(one, what) for one in rounds]).told(digits) for what, digits in FIGURES),
        )
        for name, rounds in found.items()
    ]
    print(table(("beside", "p50 ms", "p99 ms", "answers/s", "slow answers/s", "streams live"), lines))


FIGURES = (("p50", 2), ("p99", 2), ("per_second", 0), ("slow_per_second", 0), ("streams", 0))

if __name__ == "__main__":
    main()
