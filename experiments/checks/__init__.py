"""Data-quality checks: one file each, this tuple is the registry.

The order is that of the page, and the first alarm names the verdict's rule.
"""

from experiments.checks import (
    accounting,
    bots,
    contamination,
    covariates,
    crossover,
    missing_days,
    missing_events,
    outliers,
    quarantine,
    silent_variant,
    srm,
    srm_days,
    srm_sources,
    stale,
    traffic,
    unassigned,
    weekdays,
)
from experiments.checks.finding import Check

CHECKS: tuple[Check, ...] = (
    srm.check,
    srm_days.check,
    srm_sources.check,
    accounting.check,
    crossover.check,
    unassigned.check,
    silent_variant.check,
    covariates.check,
    contamination.check,
    missing_days.check,
    missing_events.check,
    weekdays.check,
    outliers.check,
    stale.check,
    bots.check,
    quarantine.check,
    traffic.check,
)
