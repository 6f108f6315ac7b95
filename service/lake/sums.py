"""Moments per metric, variant and UTC day: one Ibis expression for any engine, all of it whole numbers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import combinations_with_replacement
from operator import add
from typing import Any

import ibis
import ibis.expr.types as ir

from experiments.definitions import Metric, MetricKind
from experiments.evidence import PeriodMoments
from experiments.moments import NOTHING, Moments
from service.lake.bins import binned
from service.lake.numbers import EXACT, n_others_of, window_of
from service.lake.unit_rows import NUMBERS, number_column
from service.lake.units import DAY_US, date_of

OTHERS = NUMBERS[1:]
PAIRS = tuple(combinations_with_replacement(NUMBERS, 2))[1:]
"""Every two numbers of a unit, row by row, but for the square of its value."""


def moments_of(clean: ir.Table, metrics: Sequence[Metric], *, until_us: int) -> ir.Table:
    """Sum up n, totals and products per metric, variant, UTC day in which the windows end, and bin.

    `clean` holds the rows of `unit_rows`, for the same metrics in the same order. Only quantiles have bins.
    `absent` units have an ended window and no part in the metric.
    """
    parts = [_metric_moments(clean, i, metric, until_us=until_us) for i, metric in enumerate(metrics)]
    whole = ibis.union(*parts) if len(parts) > 1 else parts[0]
    return whole.order_by("metric", "period", "variant", "bin")


def periods_of(rows: Iterable[Mapping[str, Any]]) -> tuple[PeriodMoments, ...]:
    """Return what the rows of `moments_of` hold, the bins of a quantile together."""
    found: dict[tuple[str, int, str], list[Moments]] = defaultdict(list)
    for row in rows:
        if row["n"]:
            found[row["metric"], int(row["period"]), row["variant"]].append(_moments(row))
    return tuple(
        PeriodMoments(metric, variant, date_of(period), reduce(add, parts, NOTHING))
        for (metric, period, variant), parts in found.items()
    )


def absent_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return by metric how many units took no part though their window has ended."""
    absent: dict[str, int] = defaultdict(int)
    for row in rows:
        absent[row["metric"]] += int(row["absent"])
    return {metric: n for metric, n in absent.items() if n}


def _metric_moments(clean: ir.Table, place: int, metric: Metric, *, until_us: int) -> ir.Table:
    units = _mature(clean, place, metric, until_us=until_us)
    binning = metric.kind is MetricKind.QUANTILE
    rows = binned(units) if binning else units
    totals = {name: _total(rows, name) for name in OTHERS}
    products = {f"{one}_{other}": _total(rows, one, other) for one, other in PAIRS}
    found = rows.group_by("variant", "period", *(["bin"] if binning else [])).aggregate(
        metric=ibis.literal(metric.key),
        n=rows.value.count(),
        absent=rows.value.isnull().sum(),
        total=_total(rows, "value"),
        total_sq=_total(rows, "value", "value"),
        **totals,
        **products,
    )
    whole = found if binning else found.mutate(bin=ibis.null("int64"))
    names = ("metric", "variant", "period", "bin", "n", "absent", "total", "total_sq", *totals, *products)
    return whole.select(*names)


def _mature(clean: ir.Table, place: int, metric: Metric, *, until_us: int) -> ir.Table:
    """One row per unit whose window has ended: `variant`, `period` and the numbers that the kind has."""
    window = window_of(metric)
    ended = clean.filter(clean.first_us + window.end <= until_us)
    numbers = {name: ended[number_column(place, name)] for name in NUMBERS[: 1 + n_others_of(metric)]}
    return ended.select("variant", period=(ended.first_us + window.end) // DAY_US, **numbers)


def _total(rows: ir.Table, *names: str) -> ir.Value:
    """Return the sum of a number, or of the product of two; null where a kind has no such number."""
    if any(name not in rows.columns for name in names):
        return ibis.null(EXACT)
    one, *other = (rows[name] for name in names)
    return ((one * other[0]).cast(EXACT) if other else one).sum().cast(EXACT)


def _moments(row: Mapping[str, Any]) -> Moments:
    n = int(row["n"])
    return Moments(
        n=n,
        total=int(row["total"]),
        total_sq=int(row["total_sq"]),
        others=tuple(int(row[name]) for name in OTHERS if row[name] is not None),
        products=tuple(int(row[f"{a}_{b}"]) for a, b in PAIRS if row[f"{a}_{b}"] is not None),
        bins=() if row["bin"] is None else ((int(row["bin"]), n),),
    )
