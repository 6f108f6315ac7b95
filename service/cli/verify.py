"""`opportune verify-moments`: compare what is kept for fast verdicts with the whole log."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from experiments.definitions import Catalog, Experiment
from service import settings as settings_module
from service.catalog.findings import did_you_mean
from service.cli.desk import store_of, tells

if TYPE_CHECKING:
    from service.use_cases.verify_moments import Verified

SHOWN = 10


@click.command(name="verify-moments")
@click.argument("key", required=False)
@click.option("--all", "every", is_flag=True, help="Verify every experiment that is judged.")
@click.option("--repair", is_flag=True, help="Make kept rows that differ again, and compare once more.")
@tells
def verify_moments(key: str | None, *, every: bool, repair: bool) -> None:
    """Compare the numbers kept of KEY with the whole log's.

    They are equal to the last digit, or the exit code is 1 and the first differences are printed.
    """
    if (key is None) is not every:
        raise click.UsageError("name one experiment, or say --all")
    # Ibis and DuckDB take a second to load.
    from service.lake import export_all, lake_at  # noqa: PLC0415
    from service.lake.partials import discard_kept  # noqa: PLC0415
    from service.use_cases.judge import judged_catalog  # noqa: PLC0415
    from service.use_cases.verify_moments import verify  # noqa: PLC0415

    settings = settings_module.load()
    with store_of(settings) as store:
        catalog = judged_catalog(store)[1].catalog
        lake = lake_at(settings.lake, store)
        experiments = _chosen(catalog, key)
        if not experiments:
            click.echo("no experiment is judged yet")
            return
        if store.last_seq():
            export_all(store, lake)

        def look(experiment: Experiment) -> "Verified":
            return verify(lake, settings.partials, catalog, experiment)

        def mend(experiment: Experiment) -> None:
            discard_kept(settings.partials, experiment)

        equal = [_verified(experiment, look, mend if repair else None) for experiment in experiments]
    if not all(equal):
        sys.exit(1)


def _verified(
    experiment: Experiment,
    look: "Callable[[Experiment], Verified]",
    mend: Callable[[Experiment], None] | None,
) -> bool:
    from service.lake.partials_folder import PartialsBusyError  # noqa: PLC0415 - as above

    try:
        found = look(experiment)
        _tell(found)
        if found.differences and mend is not None:
            mend(experiment)
            found = look(experiment)
            click.echo("made again:")
            _tell(found)
    except PartialsBusyError as error:
        click.echo(f"{experiment.key}: {error}; try again in a moment", err=True)
        return False
    return not found.differences


def _tell(found: "Verified") -> None:
    name = f"{found.experiment}.{found.phase}"
    if not found.differences:
        click.echo(f"{name}: {found.n_units:,} units, kept and whole are equal")
        return
    click.echo(f"{name}: {len(found.differences)} of its numbers differ")
    for one in found.differences[:SHOWN]:
        click.echo(f"  {one.place}\n    kept   {one.kept}\n    whole  {one.whole}")


def _chosen(catalog: Catalog, key: str | None) -> tuple[Experiment, ...]:
    from service.use_cases.judge import JUDGED  # noqa: PLC0415 - as above

    if key is None:
        return tuple(e for e in catalog.experiments.values() if e.status in JUDGED)
    if key not in catalog.experiments:
        hint = did_you_mean(key, catalog.experiments)
        click.echo(f"opportune: no experiment {key[:64]!r} is live{f'; {hint}' if hint else ''}", err=True)
        sys.exit(1)
    return (catalog.experiments[key],)


commands: tuple[click.Command, ...] = (verify_moments,)
