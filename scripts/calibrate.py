"""Measure what docs/statistics.md promises: error rates under constant looking, misses, stopping times.

    python -m scripts.calibrate                       # everything, 10,000 runs each
    python -m scripts.calibrate --only conversion     # one part: see --help
    python -m scripts.calibrate --quick               # 300 runs: does everything run?

Prints each table when it is done; --write puts them all into a folder, as Markdown and CSV. All of it follows
from the seed. Ends with 1 when a promise is not kept; a goal of speed that is missed is printed, no more.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from scripts.calibration import agreement, conversion, guardrails, quantiles, srm, units
from scripts.calibration.figures import ENOUGH_RUNS, Report, write
from scripts.calibration.runs import Bench

QUICK_RUNS = 300
PARTS: Mapping[str, Callable[[Bench], Iterable[Report]]] = {
    "conversion": conversion.reports,
    "mean": units.mean_reports,
    "ratio": units.ratio_reports,
    "cuped": units.cuped_reports,
    "count": units.count_reports,
    "quantile": quantiles.reports,
    "guardrail": guardrails.reports,
    "agreement": agreement.reports,
    "srm": srm.reports,
}


@click.command()
@click.option(
    "--runs", default=ENOUGH_RUNS, show_default=True, type=click.IntRange(min=10), help="Of each row."
)
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True, help="Part to run; may be repeated.")
@click.option("--quick", is_flag=True, help=f"{QUICK_RUNS} runs of each row.")
@click.option("--seed", default=20_270_104, show_default=True, type=click.IntRange(min=0))
@click.option("--processes", default=2, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--write", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder for the tables."
)
def main(
    *, runs: int, only: tuple[str, ...], quick: bool, seed: int, processes: int, folder: Path | None
) -> None:
    """Simulate experiments and count what the statistics get wrong."""
    runs = QUICK_RUNS if quick else runs
    heading = f"Seed {seed}, {runs:,} runs of each row"
    click.echo(f"{heading}, {processes} processes\n")
    done: list[Report] = []
    started = time.monotonic()
    with threadpool_limits(1), ProcessPoolExecutor(processes) as pool:
        bench = Bench(runs=runs, seed=seed, pool=pool)
        for part in only or PARTS:
            before = time.monotonic()
            for report in PARTS[part](bench):
                done.append(report)
                click.echo(report.told())
                if folder:
                    write(done, folder, heading=f"{heading}; `python -m scripts.calibrate` prints them.\n")
            click.echo(f"{part}: {time.monotonic() - before:.0f} s\n")
    violated = sum(len(report.violated) for report in done)
    missed = sum(len(report.missed) for report in done)
    said = f"{violated} PROMISES VIOLATED" if violated else "All promises kept"
    click.echo(f"{said}, {missed} goals missed ({time.monotonic() - started:.0f} s)")
    sys.exit(1 if violated else 0)


if __name__ == "__main__":
    main()
