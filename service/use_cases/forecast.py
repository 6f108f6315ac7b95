"""How many people an experiment needs, said honestly: a plan is a chance, not a promise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.definitions import Experiment, Metric
from experiments.lifecycle import TOTAL_BP
from experiments.power import sequential_n

HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """People in all variants together by which a true effect of the planned size is found.

    `half`: in half of the cases, `planned`: with the planned power.
    """

    half: int
    planned: int


def needed(experiment: Experiment, metrics: Mapping[str, Metric]) -> Needed:
    """Return how many units all variants need until each treatment has its pair with the control."""
    control, *treatments = experiment.variants
    test = metrics[experiment.metrics.primary].test
    shares = {t.key: (control.weight_bp + t.weight_bp) / TOTAL_BP for t in treatments}

    def total(chance: float) -> int:
        return max(
            math.ceil(sequential_n(experiment, key, test=test, chance=chance) / share)
            for key, share in shares.items()
            if share
        )

    return Needed(half=total(HALF), planned=total(experiment.analysis.power))
