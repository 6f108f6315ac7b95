"""What simulated people do to an experiment's moments, without a server: what the lake would count.

The rules are those of service/lake/moments.py: a window is half open and begins with the first exposure, a
unit enters the UTC day in which its window ends, sums are whole micro-units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from experiments.definitions import Experiment, Metric, MetricKind
from experiments.errors import InvalidParameterError
from experiments.moments import SCALE, Moments
from experiments.verdict import Arrivals, Evidence, ExposureAccount, PeriodMoments
from service.use_cases.demo_data import CUTOFF, MICROS
from service.use_cases.demo_people import DAY_US, BoolArray, IntArray, Lives, People, World, loses_purchases

SUMMED = frozenset({MetricKind.CONVERSION, MetricKind.COUNT, MetricKind.MEAN})


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One experiment on one draw of people; `variant[i]` is the place of person `i`'s variant, or -1."""

    experiment: Experiment
    primary_window_us: int
    people: People
    variant: IntArray
    periods: tuple[PeriodMoments, ...]

    def evidence(self, n_days: int) -> Evidence:
        """Return what a judge knows `n_days` days after the cut-off, at midnight."""
        until_us = n_days * DAY_US
        last = (CUTOFF + timedelta(days=n_days)).date()
        enrolled = self.variant >= 0
        seen = enrolled & (self.people.arrival_us < until_us)
        first_us = self.people.arrival_us[enrolled].min(initial=until_us)
        return Evidence(
            periods=tuple(p for p in self.periods if p.period < last),
            arrivals=tuple(self._arrivals(seen)),
            account=self._account(seen, until_us),
            as_of=CUTOFF + timedelta(days=n_days),
            first_exposure_at=CUTOFF + timedelta(microseconds=int(first_us)) if seen.any() else None,
        )

    def primary_totals(self, n_days: int) -> list[tuple[int, int]]:
        """Return the primary's conversions and mature units for each variant, `n_days` after the cut-off."""
        last = (CUTOFF + timedelta(days=n_days)).date()
        totals = {v.key: (0, 0) for v in self.experiment.variants}
        for p in self.periods:
            if p.metric == self.experiment.metrics.primary and p.period < last:
                x, n = totals[p.variant]
                totals[p.variant] = (x + p.moments.total // SCALE, n + p.moments.n)
        return list(totals.values())

    def _arrivals(self, seen: BoolArray) -> list[Arrivals]:
        days = self.people.arrival_us // DAY_US
        keys = [v.key for v in self.experiment.variants]
        return [
            Arrivals(period=(CUTOFF + timedelta(days=int(day))).date(), variant=key, n=int(n))
            for i, key in enumerate(keys)
            for day, n in enumerate(np.bincount(days[seen & (self.variant == i)]))
            if n
        ]

    def _account(self, seen: BoolArray, until_us: int) -> ExposureAccount:
        again = seen & (self.people.return_us >= 0) & (self.people.return_us < until_us)
        mature = seen & (self.people.arrival_us + self.primary_window_us < until_us)
        keys = [v.key for v in self.experiment.variants]
        first, repeats = int(seen.sum()), int(again.sum())
        return ExposureAccount(
            events=first + repeats,
            first=first,
            repeats=repeats,
            quarantined={},
            exposed_units={key: int((seen & (self.variant == i)).sum()) for i, key in enumerate(keys)},
            excluded={"multiple_variants": 0, "immature": int((seen & ~mature).sum())},
            analysed={key: int((mature & (self.variant == i)).sum()) for i, key in enumerate(keys)},
        )


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Who lives what in which variant; `lost` tells whose purchases the planted lift takes away."""

    world: World
    people: People
    lives: Lives
    variant: IntArray
    lost: BoolArray

    @classmethod
    def of(cls, world: World, people: People, *, variant: IntArray, lift: float) -> "Scene":
        """Plant `lift` between variant 0, the control, and all others."""
        lost = loses_purchases(people.coin, is_control=variant == 0, is_treatment=variant > 0, lift=lift)
        return cls(world=world, people=people, lives=Lives.of(world, people), variant=variant, lost=lost)

    def values(self, metric: Metric) -> IntArray:
        """Return each person's value of `metric` in micro-units, over the whole window; shape (n_people,).

        Raises
        ------
        InvalidParameterError
            If the metric asks for events that the demo's orders do not hold.
        """
        refund = _is_refund(metric)
        person = self.lives.person
        age_us = self.lives.occurred_us - self.people.arrival_us[person]
        counts = (age_us >= 0) & (age_us < metric.window_s * MICROS)
        counts &= self.world.later_refund[self.lives.order_index] == refund
        if not refund:
            counts &= ~self.lost[person]
        amounts = np.full(len(person), SCALE, np.int64)
        if metric.kind is MetricKind.MEAN:
            amounts = self.world.later_revenue[self.lives.order_index]
        total = np.zeros(len(self.people), np.int64)
        np.add.at(total, person[counts], amounts[counts])
        cap = SCALE if metric.kind is MetricKind.CONVERSION else _cap(metric)
        return total if cap is None else np.minimum(total, cap)

    def periods(self, metric: Metric, variants: Sequence[str]) -> list[PeriodMoments]:
        """Sum the values per variant and UTC day in which the window ends."""
        values = self.values(metric)
        day = (self.people.arrival_us + metric.window_s * MICROS) // DAY_US
        found = []
        for i, key in enumerate(variants):
            mine = self.variant == i
            counts = np.bincount(day[mine])
            for period in np.flatnonzero(counts):
                # Squares of micro-units overflow 64 bits, so they are added up as Python's integers.
                rows = values[mine & (day == period) & (values != 0)].tolist()
                moments = Moments(n=int(counts[period]), total=sum(rows), total_sq=sum(v * v for v in rows))
                when = (CUTOFF + timedelta(days=int(period))).date()
                found.append(PeriodMoments(metric=metric.key, variant=key, period=when, moments=moments))
        return found

    def stream(self, experiment: Experiment, metrics: Sequence[Metric]) -> Stream:
        """Return the experiment's moments; `metrics` are its own, in any order."""
        variants = [v.key for v in experiment.variants]
        primary = next(m for m in metrics if m.key == experiment.metrics.primary)
        return Stream(
            experiment=experiment,
            primary_window_us=primary.window_s * MICROS,
            people=self.people,
            variant=self.variant,
            periods=tuple(p for metric in metrics for p in self.periods(metric, variants)),
        )


def _is_refund(metric: Metric) -> bool:
    kinds = {"Order Completed": False, "Order Refunded": True}
    known = metric.event in kinds and metric.kind in SUMMED and not (metric.where or metric.lookback_s)
    if not known or (metric.kind is MetricKind.MEAN and metric.value != "revenue"):
        raise InvalidParameterError(f"metric {metric.key!r} cannot be computed from the demo's orders alone")
    return kinds[metric.event]


def _cap(metric: Metric) -> int | None:
    return None if metric.cap is None else round(metric.cap * MICROS)
