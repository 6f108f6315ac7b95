"""Compare every door on random catalogs and people, and print the figure.

    python -m scripts.differential --n 200000

The engine, OFREP, GrowthBook's Python SDK (PyPI) and GrowthBook's JavaScript SDK (npm, tests/clients; run
`make setup-clients` once) decide every definition of a random catalog for 250 random people, with emoji,
combining characters and values of the wrong type among ids and attributes. Exit code 1 if any two differ.
"""

import os
import sys
import time

import click

from tests.agreement import compare


@click.command(help=__doc__)
@click.option("--n", default=200_000, show_default=True, help="Triples of catalog, person and attributes.")
@click.option("--seed", default=0, show_default=True, help="The first catalog's.")
@click.option("--processes", default=os.cpu_count() or 1, show_default="cores")
def main(n: int, seed: int, processes: int) -> None:
    """Compare and print."""
    began = time.monotonic()
    found = compare(n, first_seed=seed, processes=processes)
    print(found.told())
    print(f"{time.monotonic() - began:,.0f} s in {processes} processes")
    for difference in found.differences:
        print(difference)
    sys.exit(bool(found.differences))


if __name__ == "__main__":
    main()
