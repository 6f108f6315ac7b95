"""Sample ratio mismatch: whether units arrive in the planned shares. Valid however often one looks."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from operator import add
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

from experiments.allocation import bucket_ranges
from experiments.checks.finding import CheckState, Finding
from experiments.definitions import Experiment, Metric
from experiments.errors import InvalidParameterError
from experiments.evidence import Arrivals, Evidence

NAME = "srm"
ALARM_LEVEL = 0.01  # of this check, `srm_days` and `srm_sources` together
OVERALL_LEVEL = ALARM_LEVEL / 2
# How far from the plan a broken split is expected: Dirichlet concentrations per variant with their weights.
# Most broken splits are off by little and seen late; those that are off by much must be seen among few units.
PRIORS = ((10.0, 0.2), (100.0, 0.2), (1_000.0, 0.6))
ADVICE = (
    "Find what loses or adds units of one variant (a redirect, a crash, a slow page, an exposure sent too "
    "late, a filter), mend it, then start a new phase."
)

Key = TypeVar("Key")


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

    Once low it stays low: a broken split does not heal by waiting. The evidence is a fixed mixture of Bayes
    factors (`PRIORS`), and so a martingale as each of them is: a prior of concentration c expects a broken
    share s of one of k variants to be off by about ``sqrt(s * (1 - s) / (k * c + 1))``.

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

    What a single prior of concentration 1,000 would call p = 0.04:

    >>> srm_p_value([[274, 149]], [0.5, 0.5]) < 1e-6
    True
    """
    if not shares or min(shares) <= 0:
        raise InvalidParameterError(f"{shares=}")
    if not counts:
        return 1.0
    planned = np.asarray(shares, dtype=np.float64) / math.fsum(shares)
    looks = np.asarray(counts, dtype=np.float64)
    parts = [
        math.log(weight) + log_bayes_factor(looks, planned, concentration * len(shares) * planned)
        for concentration, weight in PRIORS
    ]
    evidence = logsumexp(parts, axis=0)
    return min(1.0, math.exp(-max(0.0, float(evidence.max()))))


def check(
    experiment: Experiment,
    metrics: Mapping[str, Metric],  # noqa: ARG001 - the signature of a check
    evidence: Evidence,
) -> Finding:
    """Look at the split of all units after each closed day.

    Parameters
    ----------
    experiment : Experiment
        Its bucket ranges are the plan.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        Its `arrivals` are looked at, sources added up.

    Returns
    -------
    Finding
        An alarm below p = 0.005. With a quarter of the 1 % each, `srm_days` and `srm_sources` look at parts.

    Examples
    --------
    >>> ALARM_LEVEL, OVERALL_LEVEL
    (0.01, 0.005)
    """
    planned = planned_shares(experiment)
    looks = running(by(evidence.closed_arrivals(), tuple(planned), lambda row: row.period).values())
    if not looks:
        return Finding(check=NAME, state=CheckState.NOT_YET_KNOWN, detail="No day has closed yet.")
    p_value = srm_p_value(looks, tuple(planned.values()))
    seen = dict(zip(planned, looks[-1], strict=True))
    text, plan = shares_of(looks[-1]), plan_of(planned.values())
    facts = {"p_value": float(f"{p_value:.6g}"), "counts": seen, "planned": planned}
    if p_value < OVERALL_LEVEL:
        detail = f"The split is not as planned: {text} instead of {plan} (SRM p = {p_value:.2g})."
        return Finding(check=NAME, state=CheckState.ALARM, detail=detail, advice=ADVICE, facts=facts)
    detail = (
        f"The split is not shown to differ from the plan ({text}, planned {plan}, SRM p = {p_value:.2g})."
    )
    return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)


def by(
    arrivals: Iterable[Arrivals], variants: Sequence[str], part: Callable[[Arrivals], Key]
) -> dict[Key, list[int]]:
    """Add up the units of each part, by variant.

    Parameters
    ----------
    arrivals : iterable of Arrivals
        In any order.
    variants : sequence of str
        Whose units count.
    part : function of Arrivals
        To which part a row belongs.

    Returns
    -------
    dict of part to list of int
        In the order in which the parts occur; the counts in the order of `variants`.

    Examples
    --------
    >>> from datetime import date
    >>> rows = [Arrivals(date(2027, 1, 1), "a", 3, "web"), Arrivals(date(2027, 1, 1), "a", 2, "import")]
    >>> by(rows, ["a", "b"], lambda row: row.period.day)
    {1: [5, 0]}
    """
    place = {key: i for i, key in enumerate(variants)}
    parts: dict[Key, list[int]] = {}
    for row in arrivals:
        counts = parts.setdefault(part(row), [0] * len(place))
        if row.variant in place:
            counts[place[row.variant]] += row.n
    return parts


def running(days: Iterable[Sequence[int]]) -> list[list[int]]:
    """Return the units so far after each day, by variant.

    Parameters
    ----------
    days : iterable of sequences of int
        Units of each day, oldest first.

    Returns
    -------
    list of lists of int

    Examples
    --------
    >>> running([[1, 2], [3, 4]])
    [[1, 2], [4, 6]]
    """
    return [list(so_far) for so_far in accumulate(days, lambda one, other: list(map(add, one, other)))]


def shares_of(counts: Sequence[int]) -> str:
    """Return a split in per cent.

    Parameters
    ----------
    counts : sequence of int
        Units by variant.

    Returns
    -------
    str

    Examples
    --------
    >>> shares_of([1, 3]), shares_of([0, 0])
    ('25.0/75.0', 'none')
    """
    n = sum(counts)
    return "/".join(f"{100 * count / n:.1f}" for count in counts) if n else "none"


def plan_of(shares: Iterable[float]) -> str:
    """Return a planned split in per cent.

    Parameters
    ----------
    shares : iterable of float
        By variant.

    Returns
    -------
    str

    Examples
    --------
    >>> plan_of([0.25, 0.75])
    '25.0/75.0'
    """
    return "/".join(f"{100 * share:.1f}" for share in shares)


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
