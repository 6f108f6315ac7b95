"""Health of covariates (CUPED): what was before the exposure cannot differ between variants but by chance."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from experiments.checks.finding import CheckState, Finding, defined, listed, titled
from experiments.definitions import Experiment, Metric, Test
from experiments.evidence import Evidence, cumulate
from experiments.inference.linear import MomentArrays, adjustment
from experiments.moments import NOTHING, Moments
from experiments.power import planned_total
from experiments.sequential import critical_value

NAME = "covariates"
LEVEL = 0.01  # of all comparisons of all covariates together
MIN_UNITS = 1_000  # in each variant, and
MIN_CARRIERS = 100  # units that carry the covariate's sum: the test is asymptotic
USELESS = 0.99
ADJUSTED = frozenset({Test.MEAN, Test.RATIO})
ADVICE = (
    "Check that the covariate's events are all from before the first exposure and that nothing sorts units "
    "into variants by what they did; until then remove `lookback` in a new phase."
)


def check(experiment: Experiment, metrics: Mapping[str, Metric], evidence: Evidence) -> Finding:
    """Compare each covariate between each treatment and control, and say how much variance it takes away.

    Parameters
    ----------
    experiment : Experiment
        Its plan names the metrics.
    metrics : mapping of str to Metric
        Those with a `lookback_s` have a covariate.
    evidence : Evidence
        Its closed periods are looked at.

    Returns
    -------
    Finding
        An alarm if a covariate differs by more than a boundary that holds at every look, at level 0.01 over
        all comparisons (Bonferroni): then it is not from before the exposure, or the split is broken. A
        covariate that takes away less than 1 % of the variance is only told of: it costs nothing.

    References
    ----------
    .. [1] Waudby-Smith et al. (2024), "Time-uniform central limit theory and asymptotic confidence
       sequences", Annals of Statistics 52(6), Theorem 2.2.

    Examples
    --------
    >>> LEVEL
    0.01
    """
    covered = [m for m in defined(experiment, metrics) if m.lookback_s and m.test in ADJUSTED]
    if not covered:
        return Finding(check=NAME, state=CheckState.OK, detail="No metric has a covariate.")
    compared = list(_compared(experiment, covered, evidence))
    if not compared:
        detail = "Too few units for the covariates to be compared."
        return Finding(check=NAME, state=CheckState.NOT_YET_KNOWN, detail=detail)
    level = LEVEL / (len(covered) * (len(experiment.variants) - 1))
    off = [one for one in compared if one.is_off(experiment, level)]
    facts = {"comparisons": [one.members() for one in compared]}
    if off:
        named = listed([f"{titled(one.metric)} with `{one.variant}` ({one.z:+.1f} s.e.)" for one in off])
        detail = f"Before their first exposure the variants already differed in {named}."
        return Finding(check=NAME, state=CheckState.ALARM, detail=detail, advice=ADVICE, facts=facts)
    told = listed([f"{titled(one.metric)} with `{one.variant}` {one.use}" for one in compared])
    detail = f"The variants were alike before the first exposure. Variance taken away: {told}."
    return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)


class _Comparison(NamedTuple):
    """The covariate of one metric, in one treatment against control."""

    metric: Metric
    variant: str
    n: int
    z: float
    variance_ratio: float

    @property
    def use(self) -> str:
        """How much variance the covariate takes away."""
        share = f"{100 * max(0.0, 1 - self.variance_ratio):.0f} %"
        return f"{share} (not worth its trouble)" if self.variance_ratio > USELESS else share

    def is_off(self, experiment: Experiment, level: float) -> bool:
        """Return whether the covariate differs by more than chance makes it at any look."""
        planned = planned_total(experiment, self.variant)
        return abs(self.z) >= critical_value(self.n, n_star=planned, alpha=level)

    def members(self) -> dict[str, object]:
        return {
            "metric": self.metric.key,
            "variant": self.variant,
            "imbalance_z": float(f"{self.z:.6g}"),
            "variance_ratio": float(f"{self.variance_ratio:.6g}"),
        }


def _compared(experiment: Experiment, covered: Sequence[Metric], evidence: Evidence) -> Iterator[_Comparison]:
    sums = cumulate(evidence.closed_periods())
    for metric in covered:
        is_ratio = metric.test is Test.RATIO
        control = sums.get((metric.key, experiment.control.key), NOTHING)
        for variant in experiment.variants[1:]:
            treatment = sums.get((metric.key, variant.key), NOTHING)
            if not _is_ready(treatment, control, 1 + is_ratio):
                continue
            seen = adjustment(MomentArrays.of([treatment]), MomentArrays.of([control]), is_ratio=is_ratio)
            z, ratio = float(seen.imbalance_z[0]), float(seen.variance_ratio[0])
            if math.isfinite(z) and math.isfinite(ratio):
                yield _Comparison(metric, variant.key, treatment.n + control.n, z, ratio)


def _is_ready(treatment: Moments, control: Moments, numbers: int) -> bool:
    """Return whether there are units enough, and enough of them in the covariate: the last number of each."""
    if min(treatment.n, control.n) < MIN_UNITS or len(treatment.others) < numbers:
        return False
    both = treatment + control
    total, total_sq = both.others[-1], both.products[-1]
    return total * total >= MIN_CARRIERS * total_sq > 0
