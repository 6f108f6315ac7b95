"""How many people an experiment needs, said honestly: a plan is a chance, not a promise."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from experiments.definitions import Experiment
from experiments.lifecycle import TOTAL_BP
from experiments.power import planned_total, sequential_n


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """People in all variants together by which a true effect of the planned size is found.

    `half`: in about half of the cases (0003-statistics.md measured .48), `planned`: with the planned power.
    """

    half: int
    planned: int


def needed(experiment: Experiment) -> Needed:
    """Return how many units all variants need until each treatment has its pair with the control."""
    control, *treatments = experiment.variants

    def total(count: Callable[[Experiment, str], int]) -> int:
        shares = {t.key: (control.weight_bp + t.weight_bp) / TOTAL_BP for t in treatments}
        return max(math.ceil(count(experiment, key) / share) for key, share in shares.items() if share)

    return Needed(half=total(planned_total), planned=total(sequential_n))
