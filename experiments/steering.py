"""What was decided about experiments while they run, beside what their catalog says of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from experiments.definitions import Catalog, Experiment
from experiments.lifecycle import Status, limit_of


class Decided(Protocol):
    """What holds for the units of one phase.

    Attributes
    ----------
    shipped : str
        The variant that everybody gets; empty: as assigned.
    ramp_steps : int or None
        How many steps of the ramp could open when its last gate was opened; None: none was.
    ramp_share_bp : int or None
        The share of that gate.
    """

    @property
    def shipped(self) -> str:
        """The variant, or nothing."""
        ...

    @property
    def ramp_steps(self) -> int | None:
        """The number of steps."""
        ...

    @property
    def ramp_share_bp(self) -> int | None:
        """The basis points."""
        ...


def steer(catalog: Catalog, decided: Mapping[tuple[str, int], Decided]) -> Catalog:
    """Return the catalog with what was decided about its experiments, in the phase that each is in.

    What is decided of another phase, of another experiment or for a variant that there is not counts nothing,
    and whoever stops an experiment ends what was shipped.

    Parameters
    ----------
    catalog : Catalog
        One revision; what it was steered by before is forgotten.
    decided : mapping of (experiment, phase) to Decided
        All that holds.

    Returns
    -------
    Catalog
        The same object where nothing changes.
    """
    steered = {key: steered_experiment(one, decided) for key, one in catalog.experiments.items()}
    if all(steered[key] is one for key, one in catalog.experiments.items()):
        return catalog
    return replace(catalog, experiments=steered)


def steered_experiment(one: Experiment, decided: Mapping[tuple[str, int], Decided]) -> Experiment:
    """Return one experiment as `steer` does."""
    found = decided.get((one.key, one.phase))
    shipped = found.shipped if found and one.status is not Status.STOPPED else ""
    if all(variant.key != shipped for variant in one.variants):
        shipped = ""
    limit = limit_of(one.ramp, found.ramp_steps, found.ramp_share_bp) if found else None
    if (one.shipped, one.ramp_limit) == (shipped, limit):
        return one
    return replace(one, shipped=shipped, ramp_limit=limit)
