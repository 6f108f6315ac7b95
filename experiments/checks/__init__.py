"""Data-quality checks: one file each, this tuple is the registry."""

from experiments.checks import accounting, crossover, quarantine, srm
from experiments.checks.finding import Check

CHECKS: tuple[Check, ...] = (srm.check, accounting.check, crossover.check, quarantine.check)
