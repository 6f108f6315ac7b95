"""Who was exposed, when first, to which variant and through which door: expressions over the exposures."""

from datetime import date, timedelta

import ibis
import ibis.expr.types as ir

from experiments.definitions import Experiment
from service.clock import EPOCH

DAY_US = 86_400_000_000


def exposures_of(exposures: ir.Table, experiment: Experiment) -> ir.Table:
    """Keep the exposures of one experiment and phase."""
    mine = exposures.filter(exposures.experiment_key == experiment.key, exposures.phase == experiment.phase)
    return mine.select("unit_id", "variant_key", "occurred_us", source=mine.source.fill_null(""))


def units_of(seen: ir.Table) -> ir.Table:
    """One row per unit: `first_us`, the `variant` and door (`source`) of then, and all that it saw.

    `least` and `greatest` are variants: two different ones where it saw several. `n_seen` counts exposures.
    Of equal moments the least variant and the least door come first: the order of rows says nothing.
    """
    keys = ("unit_id", "variant_key", "source")
    per_variant = seen.group_by(*keys).aggregate(first_us=seen.occurred_us.min(), n=seen.count())
    of_unit = ibis.window(group_by="unit_id")
    order = ibis.window(group_by="unit_id", order_by=["first_us", "variant_key", "source"])
    variant = per_variant.variant_key
    ranked = per_variant.mutate(
        place=ibis.row_number().over(order),
        least=variant.min().over(of_unit),
        greatest=variant.max().over(of_unit),
        n_seen=per_variant.n.sum().over(of_unit),
    )
    first = ranked.filter(ranked.place == 0)
    return first.select("unit_id", "first_us", "source", "least", "greatest", "n_seen", variant="variant_key")


def clean_of(units: ir.Table) -> ir.Table:
    """Keep the units that saw one variant only."""
    return units.filter(units.least == units.greatest)


def unit_counts(units: ir.Table) -> ir.Table:
    """Count exposed units and those that saw several variants, by the variant seen first."""
    several = units.least != units.greatest
    return (
        units.group_by("variant").aggregate(exposed=units.count(), several=several.sum()).order_by("variant")
    )


def arrivals_of(clean: ir.Table) -> ir.Table:
    """Count first exposures per variant, UTC day and door."""
    dated = clean.mutate(period=clean.first_us // DAY_US)
    keys = ("period", "variant", "source")
    return dated.group_by(*keys).aggregate(n=dated.count()).order_by(*keys)


def date_of(days: int) -> date:
    """Return the UTC day that is so many days after the beginning of time."""
    return EPOCH.date() + timedelta(days=int(days))
