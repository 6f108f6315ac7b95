"""From readings to one word: the order in which the rules are asked is the whole policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from experiments.checks.finding import CheckState, Finding
from experiments.definitions import Direction, Experiment, Metric
from experiments.evidence import Evidence
from experiments.lifecycle import Status
from experiments.readings import MetricState, Reading, Role


class Decision(StrEnum):
    """What the rules say."""

    SHIP = "ship"
    ROLLBACK = "rollback"
    KEEP_RUNNING = "keep_running"
    NO_EFFECT = "no_effect"
    INCONCLUSIVE = "inconclusive"
    UNTRUSTWORTHY = "untrustworthy"


class Rule(StrEnum):
    """Which rule fired; a failing check fires under its own name (`srm`, `accounting`)."""

    GUARDRAIL_WORSE = "guardrail_worse"
    PRIMARY_WORSE = "primary_worse"
    PRIMARY_BETTER = "primary_better"
    WITHIN_MDE = "within_mde"
    ENDED = "ended_without_answer"
    NO_DATA = "no_data"
    BURN_IN = "burn_in"
    MIN_RUNTIME = "min_runtime"
    NOT_YET_KNOWN = "not_yet_known"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The word, the treatment it is about, and the rule that fired."""

    decision: Decision
    variant: str | None
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything a decision and its explanation look at."""

    experiment: Experiment
    metrics: Mapping[str, Metric]
    evidence: Evidence
    findings: tuple[Finding, ...]
    readings: tuple[Reading, ...]

    @property
    def primary(self) -> Metric:
        """The metric that decides."""
        return self.metrics[self.experiment.metrics.primary]

    @property
    def treatments(self) -> tuple[str, ...]:
        """Every variant but control, in order."""
        return tuple(variant.key for variant in self.experiment.variants[1:])

    def reading(self, variant: str) -> Reading:
        """Return the primary metric of one variant."""
        return next(r for r in self.readings if r.role is Role.PRIMARY and r.variant == variant)

    def guardrails(self, variant: str) -> tuple[Reading, ...]:
        """Return the guardrails of one treatment."""
        return tuple(r for r in self.readings if r.role is Role.GUARDRAIL and r.variant == variant)

    def harm(self, variant: str) -> Rule | None:
        """Return why a treatment must be rolled back, or None."""
        if any(r.state is MetricState.WORSE for r in self.guardrails(variant)):
            return Rule.GUARDRAIL_WORSE
        return Rule.PRIMARY_WORSE if self.reading(variant).state is MetricState.WORSE else None

    def focus(self, among: Sequence[str] = ()) -> str:
        """Return the treatment with the best estimate of the primary metric, the first one on a tie."""
        sign = 1 if self.primary.direction is Direction.UP else -1

        def worth(variant: str) -> float:
            estimate = self.reading(variant).estimate
            return -float("inf") if estimate is None else sign * estimate

        return max(among or self.treatments, key=worth)

    @property
    def has_run_long_enough(self) -> bool:
        """Whether the plan's shortest runtime has passed since the first exposure."""
        first = self.evidence.first_exposure_at
        if first is None:
            return False
        return self.evidence.as_of - first >= timedelta(seconds=self.experiment.decide.min_runtime_s)

    @property
    def has_ended(self) -> bool:
        """Whether nothing that is still to come can change the numbers."""
        if self.experiment.status is Status.STOPPED:
            return self.evidence.account.excluded.get("immature", 0) == 0
        end_at = self.experiment.schedule.end_at
        if end_at is None:
            return False
        # The period in which the last window closes must itself be closed: one day more.
        return self.evidence.as_of >= end_at + timedelta(seconds=self.primary.window_s, days=1)


def decide(case: Case) -> Outcome:
    """Apply the rules in order; the first that fires decides.

    1. A check alarms: untrustworthy. 2. A treatment is better, worsens no guardrail and has run long enough:
    ship the best one. 3. A guardrail is worse, or the primary is: roll back. 4. Every lift lies within the
    smallest effect of interest: no effect. 5. Nothing more will come: inconclusive. 6. Keep running.

    Parameters
    ----------
    case : Case
        Findings and readings at one look.

    Returns
    -------
    Outcome
        A pure function of `case`: no decision remembers an earlier one.

    Examples
    --------
    >>> Decision.SHIP.value
    'ship'
    """
    for finding in case.findings:
        if finding.state is CheckState.ALARM:
            return Outcome(Decision.UNTRUSTWORTHY, None, finding.check)
    better = [
        variant
        for variant in case.treatments
        if case.reading(variant).state is MetricState.BETTER and case.harm(variant) is None
    ]
    if better and case.has_run_long_enough:
        return Outcome(Decision.SHIP, case.focus(better), Rule.PRIMARY_BETTER)
    for variant in case.treatments:
        harm = case.harm(variant)
        if harm is not None:
            return Outcome(Decision.ROLLBACK, variant, harm)
    states = {case.reading(variant).state for variant in case.treatments}
    if states == {MetricState.NO_EFFECT} and case.has_run_long_enough:
        return Outcome(Decision.NO_EFFECT, None, Rule.WITHIN_MDE)
    return _unanswered(case, states)


def _unanswered(case: Case, states: set[MetricState]) -> Outcome:
    if case.evidence.first_exposure_at is not None and case.has_ended:
        return Outcome(Decision.INCONCLUSIVE, None, Rule.ENDED)
    if case.evidence.first_exposure_at is None:
        rule = Rule.NO_DATA
    elif states == {MetricState.BURN_IN}:
        rule = Rule.BURN_IN
    elif states & {MetricState.BETTER, MetricState.NO_EFFECT} and not case.has_run_long_enough:
        rule = Rule.MIN_RUNTIME
    else:
        rule = Rule.NOT_YET_KNOWN
    return Outcome(Decision.KEEP_RUNNING, None, rule)
