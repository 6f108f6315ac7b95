"""Sample ratio mismatch: whether units arrive in the planned shares. Valid however often one looks."""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from experiments.allocation import bucket_ranges
from experiments.checks.finding import CheckState, Finding
from experiments.definitions import Experiment
from experiments.errors import InvalidParameterError
from experiments.evidence import Arrivals, Evidence

NAME = "srm"
ALARM_LEVEL = 0.01
CONCENTRATION = 1_000.0  # per variant: how near to the plan a broken split is expected to be


def log_bayes_factor(
    counts: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the evidence for "some other split" against the planned one, after each row of counts.

    Parameters
    ----------
    counts : array, shape (n_looks, n_variants)
        Units so far, by variant.
    shares : array, shape (n_variants,)
        Planned; each above 0, sum 1.
    prior : array, shape (n_variants,)
        Dirichlet concentrations; each above 0.

    Returns
    -------
    array, shape (n_looks,)
        Natural logarithms. Under the plan the exponential is a martingale that starts at 1.

    References
    ----------
    .. [1] Lindon & Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS 35.

    Examples
    --------
    >>> halves = np.array([0.5, 0.5])
    >>> round(float(np.exp(log_bayes_factor(np.array([[10.0, 0.0]]), halves, np.ones(2)))[0]), 4)
    93.0909
    """
    mixed = gammaln(prior + counts).sum(axis=1) - gammaln(prior.sum() + counts.sum(axis=1))
    start = gammaln(prior).sum() - gammaln(prior.sum())
    result: npt.NDArray[np.float64] = mixed - start - (counts * np.log(shares)).sum(axis=1)
    return result


def srm_p_value(counts: Sequence[Sequence[int]], shares: Sequence[float]) -> float:
    """Return the anytime-valid p-value of a split: the smallest over all looks.

    Once low it stays low: a broken split does not heal by waiting.

    Parameters
    ----------
    counts : sequence of sequences of int, shape (n_looks, n_variants)
        Units so far, at each look.
    shares : sequence of float, shape (n_variants,)
        Planned; each above 0. They are scaled to sum 1.

    Returns
    -------
    float
        In [0, 1]; falls below p at any look, ever, with probability at most p under the plan.

    Raises
    ------
    InvalidParameterError
        If a share is not above zero.

    References
    ----------
    .. [1] Lindon & Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS 35.

    Examples
    --------
    >>> srm_p_value([[500, 500]], [0.5, 0.5]), srm_p_value([[5000, 4000]], [0.5, 0.5]) < 1e-9
    (1.0, True)
    """
    if not shares or min(shares) <= 0:
        raise InvalidParameterError(f"{shares=}")
    if not counts:
        return 1.0
    planned = np.asarray(shares, dtype=np.float64) / math.fsum(shares)
    prior = CONCENTRATION * len(shares) * planned
    evidence = log_bayes_factor(np.asarray(counts, dtype=np.float64), planned, prior)
    return min(1.0, math.exp(-max(0.0, float(evidence.max()))))


def check(experiment: Experiment, evidence: Evidence) -> Finding:
    """Look at the split after each closed day.

    Parameters
    ----------
    experiment : Experiment
        Its bucket ranges are the plan.
    evidence : Evidence
        Its `arrivals` are looked at.

    Returns
    -------
    Finding
        An alarm below p = 0.01.

    Examples
    --------
    >>> ALARM_LEVEL
    0.01
    """
    planned = planned_shares(experiment)
    looks = _cumulative(evidence.closed_arrivals(), tuple(planned))
    if not looks:
        return Finding(check=NAME, state=CheckState.NOT_YET_KNOWN, detail="No day has closed yet.")
    p_value = srm_p_value(looks, tuple(planned.values()))
    seen = dict(zip(planned, looks[-1], strict=True))
    n = sum(looks[-1])
    text = "/".join(f"{100 * count / n:.1f}" for count in seen.values()) if n else "none"
    plan = "/".join(f"{100 * share:.1f}" for share in planned.values())
    facts = {"p_value": float(f"{p_value:.6g}"), "counts": seen, "planned": planned}
    if p_value < ALARM_LEVEL:
        detail = f"The split is not as planned: {text} instead of {plan} (SRM p = {p_value:.2g})."
        return Finding(check=NAME, state=CheckState.ALARM, detail=detail, facts=facts)
    detail = f"The split is as planned ({text}, SRM p = {p_value:.2g})."
    return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)


def planned_shares(experiment: Experiment) -> dict[str, float]:
    """Return the share of enrolled units that each variant should get, without variants that get none.

    Whole buckets decide, not weights: at an allocation of 0.05 % the two can differ.

    Parameters
    ----------
    experiment : Experiment
        Any experiment.

    Returns
    -------
    dict of variant key to share
        Sum 1.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> arms = (Variant(key="a", value=1, weight_bp=9000), Variant(key="b", value=2, weight_bp=1000))
    >>> planned_shares(Experiment(key="x", variants=arms, metrics=MetricPlan(primary="m")))
    {'a': 0.9, 'b': 0.1}
    """
    widths = {key: end - start for start, end, key in bucket_ranges(experiment)}
    if not sum(widths.values()):
        widths = {variant.key: variant.weight_bp for variant in experiment.variants}
    total = sum(widths.values())
    return {key: width / total for key, width in widths.items() if width}


def _cumulative(arrivals: Iterable[Arrivals], variants: tuple[str, ...]) -> list[list[int]]:
    """Return the units so far after each day, by variant; `arrivals` come oldest first."""
    so_far = dict.fromkeys(variants, 0)
    looks = []
    for _, day in groupby(arrivals, key=lambda a: a.period):
        for row in day:
            if row.variant in so_far:
                so_far[row.variant] += row.n
        looks.append(list(so_far.values()))
    return looks
