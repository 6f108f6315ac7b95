"""The steps of the analysis bench; each runs in a process of its own."""

import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from scripts.bench.analysis_lake import DAY_US, Maker, Shop
from scripts.bench.analysis_shop import KEYS, NOW, a_store, plan, settings_in
from service.app import build_services, create_app, shut_down
from service.cli.setup import new_sign_in_link
from service.clock import to_micros
from service.lake import read_manifest
from service.lake.engines import open_engine
from service.lake.flat import amount_column, fact_column
from service.lake.manifest import EVENTS, EXPOSURES
from service.lake.moments import LakeReader, open_lake
from service.use_cases.judge import refresh_verdict, refresh_verdicts

READS = 200
OK = 200
UNTIL_US = to_micros(NOW) - to_micros(NOW) % DAY_US - 1
NEEDED = {
    EXPOSURES: ("experiment_key", "phase", "variant_key", "unit_id", "occurred_us", "source"),
    EVENTS: ("type", "occurred_us", fact_column("currency"), amount_column("revenue")),
}


def generate(home: Path, shop: Shop) -> int:
    """Fill the lake of a home; return its bytes."""
    return sum(file.size for file in Maker(shop).fill(home / "lake").files)


def read_columns(home: Path, unit: str) -> tuple[int, int]:
    """Read what the moments of one experiment need, with the same filters; return rows and bytes."""
    lake, (experiment, metrics) = home / "lake", plan(unit)
    needed = {EXPOSURES: NEEDED[EXPOSURES], EVENTS: (*NEEDED[EVENTS], unit)}
    where = {EXPOSURES: f"experiment_key = '{experiment.key}'", EVENTS: f"type = '{metrics[0].event}'"}
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "1GB"})
    rows = size = 0
    for dataset, columns in needed.items():
        files = [str(lake / file.path) for file in read_manifest(lake).of(dataset)]
        # A maximum makes DuckDB decode every value that passes the filter.
        asked = ", ".join(f"max({column})" for column in columns)
        told = connection.execute(
            f"SELECT count(*), {asked} FROM read_parquet(?) WHERE {where[dataset]}",  # noqa: S608 - own words
            [files],
        ).fetchone()
        rows += told[0] if told else 0
        size += sum(_bytes(Path(file), columns) for file in files)
    return rows, size


def full_moments(home: Path, unit: str) -> int:
    """Sum up one experiment from nothing; return how many units it has."""
    experiment, metrics = plan(unit)
    with open_lake(home / "lake") as reader:
        facts = reader.facts(experiment, metrics, until_us=UNTIL_US)
    return sum(units.exposed for units in facts.units.values())


def moments_on(home: Path, engine: str, unit: str) -> tuple[str, float]:
    """Sum up one experiment on an engine; return a digest of the facts, and seconds once it has started."""
    experiment, metrics = plan(unit)
    settings = settings_in(home)
    with open_engine(settings, name=engine) as opened:
        opened.rows(opened.exposures().limit(1))
        started = time.perf_counter()
        facts = LakeReader(opened).facts(experiment, metrics, until_us=UNTIL_US)
        taken_s = time.perf_counter() - started
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12], taken_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """Seconds that each verdict took: the first of an experiment, then those after some new events."""

    first_s: float
    again_s: Sequence[float]
    all_s: float
    n_new: int


def refreshes(home: Path, shop: Shop, unit: str, *, n_new: int, rounds: int) -> Refreshed:
    """Judge one experiment, then again after each of several exports of `n_new` events; at last all ten."""
    maker, settings, key = Maker(shop), settings_in(home), KEYS[unit]
    with a_store(home) as store:

        def judge() -> None:
            refresh_verdict(store, settings.lake, key, now=NOW, partials=settings.partials)

        first_s = _seconds(judge)
        again = []
        for _ in range(rounds):
            maker.add(settings.home / "lake", n_new)
            again.append(_seconds(judge))
        every = partial(refresh_verdicts, store, settings.lake, now=NOW, partials=settings.partials)
        every()
        maker.add(settings.home / "lake", n_new)
        all_s = _seconds(every)
    return Refreshed(first_s=first_s, again_s=again, all_s=all_s, n_new=n_new)


def page_reads(home: Path, unit: str) -> dict[str, float]:
    """Return the median milliseconds of the point read, of the JSON and of the page of one verdict."""
    settings, key = settings_in(home), KEYS[unit]
    services = build_services(settings)
    try:
        browser = create_app(services).test_client()
        browser.post(new_sign_in_link(settings, ""))

        def ask(path: str) -> None:
            answer = browser.get(path)
            if answer.status_code != OK:
                raise RuntimeError(f"GET {path} answered {answer.status_code}: {answer.text[:200]}")

        doors: dict[str, Callable[[], object]] = {
            "point read of the snapshot": partial(services.store.latest_verdict, key),
            "JSON over the API": partial(ask, f"/v1/experiments/{key}/verdict"),
            "HTML page": partial(ask, f"/experiments/{key}"),
        }
        return {name: _median_ms(door) for name, door in doors.items()}
    finally:
        shut_down(services)


def _bytes(path: Path, columns: Sequence[str]) -> int:
    metadata = pq.ParquetFile(path).metadata
    return sum(
        chunk.total_compressed_size
        for group in range(metadata.num_row_groups)
        for chunk in map(metadata.row_group(group).column, range(metadata.num_columns))
        if chunk.path_in_schema.split(".")[0] in columns
    )


def _median_ms(door: Callable[[], object]) -> float:
    door()
    return statistics.median(_seconds(door) for _ in range(READS)) * 1e3


def _seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started
