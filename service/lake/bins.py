"""Bins of `experiments.histogram` for many values: guessed by a logarithm, decided by whole numbers."""

from math import log

import ibis
import ibis.expr.types as ir

from experiments.histogram import EDGES, N_BINS
from experiments.kinds import MAX_VALUE
from experiments.moments import SCALE

# Edges grow evenly but for their rounding: this is never wrong by more than one bin. Tests try every edge.
_PER_LOG = round(SCALE * (len(EDGES) - 2) / log(EDGES[-1] / EDGES[1]))
_LOWER = (-MAX_VALUE, *(edge + 1 for edge in EDGES))
_UPPER = (*EDGES, MAX_VALUE)


def binned(rows: ir.Table) -> ir.Table:
    """Add the `bin` of `value`, in micro-units within 10^15 either way; null where there is no value."""
    value = rows.value.cast("int64")
    steps = ((value / EDGES[1]).ln() * _PER_LOG / SCALE).floor().cast("int64")
    above_first = ibis.least(steps + 2, ibis.literal(N_BINS - 1))
    guess = ibis.cases((value <= 0, 0), (value <= EDGES[1], 1), else_=above_first)
    near = rows.mutate(guess=ibis.ifelse(value.isnull(), ibis.null("int64"), guess), whole=value)
    place = near.guess.cast("int32")
    upper, lower = (ibis.literal(ends, "array<int64>")[place] for ends in (_UPPER, _LOWER))
    wrong = ibis.cases((near.whole > upper, 1), (near.whole < lower, -1), else_=0)
    return near.select(*rows.columns, bin=near.guess + wrong)
