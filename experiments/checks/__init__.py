"""Data-quality checks: one file each, this tuple is the registry."""

from experiments.checks import accounting, contamination, crossover, quarantine, srm
from experiments.checks.finding import Check

CHECKS: tuple[Check, ...] = (
    srm.check,
    accounting.check,
    crossover.check,
    contamination.check,
    quarantine.check,
)
