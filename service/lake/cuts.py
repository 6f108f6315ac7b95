"""Results by groups of units: a property of the first exposure tells to which group a unit belongs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import ibis
import ibis.expr.types as ir

from experiments.definitions import Experiment, Metric
from experiments.evidence import PeriodMoments
from experiments.metrics import OTHER, UNKNOWN, Dimension, group_name
from service.lake.columns import Wanted
from service.lake.engine import Engine
from service.lake.rows import canonical_json
from service.lake.sums import moments_of, periods_of
from service.lake.unit_rows import unit_rows
from service.lake.units import clean_of
from service.storage.interactions import EXPOSURE_EVENT

_BETWEEN = "/"
"""Stands between a variant and a group: no variant has it in its name."""


def cut_moments(
    engine: Engine,
    experiment: Experiment,
    metrics: Sequence[Metric],
    dimension: Dimension,
    *,
    until_us: int,
) -> Mapping[str, tuple[PeriodMoments, ...]]:
    """Return the moments of each group of units, over windows that ended by `until_us`.

    Every unit is in one group, so the groups together are the whole, to the last digit.
    """
    # In steps: a database that guesses at so many joins at once may take for ever.
    with (
        engine.kept(_first_exposures(engine, experiment)) as first,
        engine.kept(_groups(engine, first, dimension)) as groups,
        engine.kept(clean_of(unit_rows(engine, experiment, metrics))) as rows,
    ):
        told = rows.left_join(groups, "unit_id")
        variant = told.variant + _BETWEEN + ibis.coalesce(told.group, ibis.literal(UNKNOWN))
        others = (name for name in rows.columns if name != "variant")
        parted = told.select(*others, variant=variant)
        found = periods_of(engine.rows(moments_of(parted, metrics, until_us=until_us)))
    parts: dict[str, list[PeriodMoments]] = defaultdict(list)
    for row in found:
        variant, _, name = row.variant.partition(_BETWEEN)
        parts[name].append(replace(row, variant=variant))
    return {name: tuple(parts[name]) for name in dimension.groups()}


def _first_exposures(engine: Engine, experiment: Experiment) -> ir.Table:
    """Return `unit_id` and `seq` of the exposure that is the first one in `units_of`, too."""
    exposures = engine.exposures()
    mine = exposures.filter(
        exposures.experiment_key == experiment.key, exposures.phase == experiment.phase
    ).select("seq", "unit_id", "variant_key", "occurred_us", source=exposures.source.fill_null(""))
    order = ibis.window(group_by="unit_id", order_by=["occurred_us", "variant_key", "source", "seq"])
    ranked = mine.mutate(place=ibis.row_number().over(order))
    return ranked.filter(ranked.place == 0).select("seq", "unit_id")


def _groups(engine: Engine, first: ir.Table, dimension: Dimension) -> ir.Table:
    """Return `unit_id` and `group` of the units."""
    wanted = Wanted(facts=(dimension.property,), types=(EXPOSURE_EVENT,))
    events = engine.events(wanted)
    facts = events.select(event_seq="seq", fact=events[wanted.fact(dimension.property)])
    told = first.inner_join(facts, first.seq == facts.event_seq)
    null = canonical_json(None)
    known = [(told.fact == canonical_json(value), group_name(value)) for value in dimension.values]
    group = ibis.cases((ibis.or_(told.fact.isnull(), told.fact == null), UNKNOWN), *known, else_=OTHER)
    return told.select("unit_id", group=group)
