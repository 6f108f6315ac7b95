"""What one metric says of one variant at one look, as numbers for people."""

from dataclasses import dataclass
from enum import StrEnum

from experiments.definitions import Guardrail, Metric
from experiments.states import MetricState, Role


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the set of values that the data do not rule out; None is "without bound" or "undefined".

    Attributes
    ----------
    estimate : float or None
        None when it does not exist, as a lift over a mean of zero.
    lower, upper : float or None
        None where the set has no end on that side; both None when nothing can be said.
    """

    estimate: float | None
    lower: float | None = None
    upper: float | None = None


class Scarce(StrEnum):
    """What a burn-in counts, and what there is too little of during it."""

    UNITS = "units in each variant"
    VALUES = "units with a value in each variant"
    CARRIERS = "units that carry the sum, expected in the smaller variant"
    DENOMINATORS = "units that carry the denominator, expected in the smaller variant"
    REST = "cases that do not count, expected in the smaller variant"


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnIn:
    """What is still missing before a metric has an interval: `so_far` of the `needed` are there."""

    needed: int
    so_far: int
    of: Scarce


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """What covariates did to a comparison (CUPED), and what it would be without them.

    Attributes
    ----------
    variance_ratio : float
        Variance of the adjusted difference over that of the plain one: 0.6 takes 40 % of the chance away.
    effect, lift : Estimate
        Unadjusted, at the same level.
    """

    variance_ratio: float
    effect: Estimate
    lift: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One metric of one variant; a treatment is compared with control.

    Attributes
    ----------
    n : int
        Units of this variant.
    estimate : float or None
        The metric of this variant in its unit, as it is: never adjusted. None without units.
    effect, lift : Estimate or None
        Two-sided for primary and secondary; for a guardrail each end is a one-sided bound. None for control.
    p_value, e_value : float or None
        Of "no difference", valid at every look; None for control and guardrails, and before the burn-in.
    margin : Guardrail or None
        The limit of a guardrail.
    level : float or None
        Share of runs in which the interval (of a guardrail: each of its ends) ever misses. None for control.
    adjusted : Adjusted or None
        None where no covariate was used.
    burn_in : BurnIn or None
        What is missing before there is an interval; None behind the burn-in, and of control.
    exploratory : bool
        Whether it was not planned when the phase was begun: then no rule looks at it.
    """

    metric: Metric
    role: Role
    variant: str
    n: int
    estimate: float | None
    state: MetricState
    effect: Estimate | None = None
    lift: Estimate | None = None
    p_value: float | None = None
    e_value: float | None = None
    margin: Guardrail | None = None
    level: float | None = None
    adjusted: Adjusted | None = None
    burn_in: BurnIn | None = None
    exploratory: bool = False
