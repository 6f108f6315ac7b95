"""Who has done what, for every fact that the live catalog asks: one Ibis expression over the lake.

Counts and sums are whole numbers (micro-units), so a limit is met or not, on any engine. An event that names
a visitor and a user counts for both. A window ends now and has no upper limit of its own: an event of a clock
that runs ahead, five minutes at most, has just happened.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from experiments.definitions import Experiment
from experiments.membership import Fingerprints, Masks, fingerprints, frozen_name, person_of, unit_name
from experiments.moments import SCALE
from experiments.targeting.conditions import Behaviour
from service.lake.engine import ALWAYS
from service.lake.engines.duckdb import DuckDBEngine
from service.lake.manifest import EVENTS, EXPOSURES
from service.lake.numbers import EXACT
from service.lake.rows import canonical_json

UNITS = ("anonymous_id", "user_id")
UNIT_NAMES = tuple(unit_name(unit) for unit in UNITS)
FACT = "fact_"
LARGEST = 10**37


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """What a membership file is made of; see `experiments.membership.tables`."""

    names: tuple[str, ...]
    prints: Fingerprints
    masks: Masks


def holders(
    lake: DuckDBEngine, facts: Sequence[Behaviour], frozen: Sequence[Experiment], *, now_us: int
) -> Holders:
    """Find everybody for whom a fact holds at `now_us`, and every unit exposed to one of `frozen`."""
    keys = tuple(fact.key for fact in facts)
    names = (*UNIT_NAMES, *keys, *(frozen_name(e.key, e.phase) for e in frozen))
    empty = (fingerprints(()), np.zeros((0, -(-len(names) // 8)), np.uint8))
    found = chain((empty,), _by_facts(lake, facts, names, now_us), _by_exposures(lake, frozen, names))
    prints, masks = zip(*found, strict=True)
    return Holders(names=names, prints=np.concatenate(prints), masks=np.concatenate(masks))


def people_with(events: ir.Table, facts: Sequence[Behaviour], *, now_us: int) -> ir.Table:
    """One row per person for whom a fact holds: `unit`, `unit_id`, and for each fact whether it does."""
    columns = [f"{FACT}{i}" for i in range(len(facts))]
    of_interest = events.filter(events.type.isin(sorted({fact.event for fact in facts})))
    # People are few beside their events: the events are read and added up once, for both ids together.
    pairs = of_interest.group_by(*UNITS).aggregate(
        **{c: _measure(of_interest, fact, now_us).sum() for c, fact in zip(columns, facts, strict=True)}
    )
    sides = [
        pairs.filter(pairs[unit].notnull()).select(*columns, unit=ibis.literal(unit), unit_id=pairs[unit])
        for unit in UNITS
    ]
    people = ibis.union(*sides)
    summed = people.group_by("unit", "unit_id").aggregate(**{c: people[c].sum() for c in columns})
    held = summed.select(
        "unit",
        "unit_id",
        **{c: summed[c].fill_null(0) >= _limit(fact) for c, fact in zip(columns, facts, strict=True)},
    )
    return held.filter(ibis.or_(*(held[c] for c in columns)))


def oldest_us(facts: Sequence[Behaviour], *, now_us: int) -> int:
    """Return from when on events matter at all."""
    windows = [fact.within_s for fact in facts if fact.within_s is not None]
    return now_us - max(windows) * 1_000_000 if len(windows) == len(facts) else ALWAYS[0]


Found = tuple[Fingerprints, Masks]


def _by_facts(
    lake: DuckDBEngine, facts: Sequence[Behaviour], names: Sequence[str], now_us: int
) -> Iterator[Found]:
    if not facts:
        return
    events = lake.table(EVENTS, first_us=oldest_us(facts, now_us=now_us))
    for batch in lake.batches(people_with(events, facts, now_us=now_us)):
        units = batch.column("unit").to_pylist()
        ids = batch.column("unit_id").to_pylist()
        columns = [np.array([unit == one for unit in units], bool) for one in UNITS]
        columns += [_booleans(batch.column(f"{FACT}{i}")) for i in range(len(facts))]
        yield fingerprints(map(person_of, units, ids)), _masks(columns, len(names))


def _by_exposures(lake: DuckDBEngine, frozen: Sequence[Experiment], names: Sequence[str]) -> Iterator[Found]:
    seen = lake.table(EXPOSURES)
    for experiment in frozen:
        units = seen.filter(
            seen.experiment_key == experiment.key,
            seen.phase == experiment.phase,
            seen.unit_type == experiment.unit,
        )
        mine = (unit_name(experiment.unit), frozen_name(experiment.key, experiment.phase))
        row = _masks([np.array([name in mine]) for name in names], len(names))
        for batch in lake.batches(units.select("unit_id").distinct()):
            ids = batch.column("unit_id").to_pylist()
            people = (person_of(experiment.unit, unit_id) for unit_id in ids)
            yield fingerprints(people), np.repeat(row, len(ids), axis=0)


def _measure(events: ir.Table, fact: Behaviour, now_us: int) -> ir.DecimalValue:
    counts = [events.type == fact.event]
    counts += [events.facts.get(name) == canonical_json(wanted) for name, wanted in fact.where]
    if fact.within_s is not None:
        counts.append(events.occurred_us > now_us - fact.within_s * 1_000_000)
    amount = events.amounts.get(fact.property) if fact.measure == "sum" else ibis.literal(1)
    return ibis.cases((ibis.and_(*counts), amount.cast(EXACT)), else_=ibis.null(EXACT))


def _limit(fact: Behaviour) -> ir.DecimalValue:
    scale = SCALE if fact.measure == "sum" else 1
    least = math.ceil(Decimal(repr(fact.at_least)) * scale)
    return ibis.literal(Decimal(max(-LARGEST, min(LARGEST, least))), EXACT)


def _booleans(column: pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), bool)


def _masks(columns: Sequence[np.ndarray], n_names: int) -> Masks:
    flags = np.zeros((len(columns[0]), n_names), bool)
    for i, column in enumerate(columns):
        flags[:, i] = column
    return np.packbits(flags, axis=1, bitorder="little")
