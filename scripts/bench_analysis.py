"""How long the analysis of a busy shop takes: whole, after new events, and beside reading its columns alone.

    .venv/bin/python -m scripts.bench_analysis [--quick] [--events 30000000] [--keep FOLDER]

A lake of exposures and orders is made up in a temporary folder, or in FOLDER, where the next run finds it
again. Each step runs in a process of its own, whose CPU time and peak memory are told.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.bench import analysis_steps as steps
from scripts.bench.analysis_lake import Shop
from scripts.bench.analysis_shop import KEYS
from scripts.bench.child import measured
from service.lake import read_manifest

DEFAULT, QUICK = 30_000_000, 300_000
N_NEW, ROUNDS = 10_000, 5


def main() -> None:
    """Make the lake, do every step, print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--events", type=int, default=DEFAULT, help="a third are exposures, the others orders"
    )
    parser.add_argument("--quick", action="store_true", help=f"the same with {QUICK:,} events")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the lake here and leave it")
    parser.add_argument("--engines", action="store_true", help="instead compare DuckDB and Spark on the lake")
    asked = parser.parse_args()
    n_events = QUICK if asked.quick else asked.events
    shop, steps_of = Shop.of(n_events), engines if asked.engines else run
    if asked.keep:
        make(asked.keep.resolve(), shop)
        steps_of(asked.keep.resolve(), shop)
        return
    with TemporaryDirectory(prefix="bench-analysis-", dir="/var/tmp") as folder:
        make(Path(folder), shop)
        steps_of(Path(folder), shop)


def make(home: Path, shop: Shop) -> None:
    """Fill the lake of `home` if it is empty."""
    offset = read_manifest(home / "lake").offset
    if offset:
        print(f"{offset:,} events are in {home} already")
    else:
        made = measured(steps.generate, home, shop)
        told = f"{shop.n_events:,} events, {shop.n_units:,} visitors made up"
        print(f"{told}: {made.told()}; {made.value:,} bytes")


def engines(home: Path, _shop: Shop) -> None:
    """Sum up the same experiments on every engine that reads the lake."""
    for unit in KEYS:
        for name in ("duckdb", "spark"):
            taken = measured(steps.moments_on, home, name, unit)
            digest, seconds = taken.value
            print(f"{name} by {unit}: {seconds:.2f} s once started, facts {digest}; {taken.told()}")


def run(home: Path, shop: Shop) -> None:
    """Do every step over the lake of `home`."""
    for unit in KEYS:
        alone = measured(steps.read_columns, home, unit)
        rows, size = alone.value
        print(f"by {unit}: reading the columns alone ({rows:,} rows, {size:,} bytes): {alone.told()}")
        full = measured(steps.full_moments, home, unit)
        print(f"by {unit}: moments of one experiment, past and days ({full.value:,} units): {full.told()}")
        print(f"by {unit}: ratio to reading the columns alone: {full.cpu_s / alone.cpu_s:.2f} (CPU)")
    for unit in KEYS:
        fresh = measured(steps.refreshes, home, shop, unit, n_new=N_NEW, rounds=ROUNDS).value
        again = ", ".join(f"{seconds:.2f}" for seconds in fresh.again_s)
        print(f"by {unit}: first verdict {fresh.first_s:.2f} s; after {N_NEW:,} new events: {again} s")
        print(f"all ten verdicts after {N_NEW:,} new events: {fresh.all_s:.2f} s")
    for name, ms in measured(steps.page_reads, home, "user_id").value.items():
        print(f"{name}: {ms:.2f} ms")


if __name__ == "__main__":
    main()
