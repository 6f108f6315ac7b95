"""Bins of `experiments.histogram` for many values: guessed by a logarithm, decided by whole numbers."""

from math import log

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from experiments.histogram import EDGES, N_BINS
from experiments.kinds import MAX_VALUE
from experiments.moments import SCALE

# Edges grow evenly but for their rounding: this is never wrong by more than one bin. Tests try every edge.
_PER_LOG = round(SCALE * (len(EDGES) - 2) / log(EDGES[-1] / EDGES[1]))


def binned(rows: ir.Table) -> ir.Table:
    """Add the `bin` of `value`, in micro-units within 10^15 either way; null where there is no value."""
    value = rows.value.cast("int64")
    steps = ((value / EDGES[1]).ln() * _PER_LOG / SCALE).floor().cast("int64")
    above_first = ibis.least(steps + 2, ibis.literal(N_BINS - 1))
    guess = ibis.cases((value <= 0, 0), (value <= EDGES[1], 1), else_=above_first)
    guessed = rows.mutate(guess=ibis.ifelse(value.isnull(), ibis.null("int64"), guess))
    near = guessed.left_join(_edges(), "guess")
    above, below = near.value > near.upper, near.value < near.lower
    return near.select(*rows.columns, bin=near.guess + above.cast("int64") - below.cast("int64"))


def _edges() -> ir.Table:
    lower = [-MAX_VALUE, *(edge + 1 for edge in EDGES)]
    return ibis.memtable(
        pa.table({"guess": list(range(N_BINS)), "lower": lower, "upper": [*EDGES, MAX_VALUE]})
    )
