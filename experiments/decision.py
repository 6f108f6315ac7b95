"""From readings to one word: the order in which the rules are asked is the whole policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from experiments.checks.finding import CheckState, Finding
from experiments.decision_rules import ROLLBACK_WHEN, SHIP_WHEN, asked, holds
from experiments.decision_rules import Rule as Expression
from experiments.definitions import Direction, Experiment, Metric
from experiments.estimates import Reading
from experiments.evidence import Evidence
from experiments.lifecycle import Status
from experiments.states import MetricState, Role


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
    SHIP_WHEN = "ship_when"
    ROLLBACK_WHEN = "rollback_when"
    RULES_NOT_MET = "rules_not_met"
    PRIMARY_NOT_PLANNED = "primary_not_planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInput:
    """One thing that a rule looked at.

    Attributes
    ----------
    rule : str
        ``ship_when``, ``rollback_when``, ``no_effect``, ``min_runtime`` or ``checks``.
    variant : str or None
        The treatment that was asked about.
    subject : str
        What the rule names: ``primary``, ``any_guardrail``, the key of a metric, a check, ``runtime_s``.
    wanted : tuple of str or int
        The states that it asks for; of a runtime the least, in seconds.
    values : mapping of str to str or int
        What was seen there.
    holds : bool
        Whether this part of the rule holds.
    """

    rule: str
    variant: str | None
    subject: str
    wanted: tuple[str | int, ...]
    values: Mapping[str, str | int]
    holds: bool

    def members(self) -> dict[str, object]:
        """Return one entry of a verdict's ``rule_inputs``."""
        return {
            "rule": self.rule,
            "variant": self.variant,
            "subject": self.subject,
            "wanted": list(self.wanted),
            "values": dict(self.values),
            "holds": self.holds,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """The word, the treatment it is about, the rule that fired, and what that rule looked at."""

    decision: Decision
    variant: str | None
    rule: str
    inputs: tuple[RuleInput, ...] = field(default=())


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

    @property
    def is_planned(self) -> bool:
        """Whether the primary metric is the one that the phase was begun with: no rule looks at another."""
        return self.primary.key not in self.evidence.exploratory

    def guardrails(self, variant: str) -> tuple[Reading, ...]:
        """Return the planned guardrails of one treatment."""
        return tuple(
            r
            for r in self.readings
            if r.role is Role.GUARDRAIL and r.variant == variant and not r.exploratory
        )

    def roles(self) -> dict[str, Role]:
        """Return what each metric is for that rules look at: the primary, and the planned ones."""
        roles = self.experiment.metrics.roles()
        return {
            key: r for key, r in roles.items() if key not in self.evidence.exploratory or r is Role.PRIMARY
        }

    def states(self, variant: str) -> dict[str, MetricState]:
        """Return what is known of each metric for one treatment; nothing of a primary that is not planned."""
        found: dict[str, MetricState] = {}
        for reading in self.readings:
            if reading.variant == variant:
                known = self.is_planned or reading.role is not Role.PRIMARY
                found.setdefault(reading.metric.key, reading.state if known else MetricState.NOT_YET_KNOWN)
        return found

    def meets(self, rule: Expression, variant: str) -> bool:
        """Return whether a rule of the plan holds for a treatment."""
        return holds(rule, self.states(variant), self.roles())

    def leaves(self, name: str, rule: Expression, variant: str) -> tuple[RuleInput, ...]:
        """Return what a rule of the plan looks at, for one treatment."""
        return tuple(
            RuleInput(
                rule=name,
                variant=variant,
                subject=one.leaf.subject,
                wanted=tuple(state.value for state in one.leaf.states),
                values={key: state.value for key, state in one.seen.items()},
                holds=one.holds,
            )
            for one in asked(rule, self.states(variant), self.roles())
        )

    def harm(self, variant: str) -> Rule | None:
        """Return why a treatment must be rolled back, or None."""
        rule = self.experiment.decide.rollback_when
        if not self.meets(rule, variant):
            return None
        if rule != ROLLBACK_WHEN:
            return Rule.ROLLBACK_WHEN
        worse = any(r.state is MetricState.WORSE for r in self.guardrails(variant))
        return Rule.GUARDRAIL_WORSE if worse else Rule.PRIMARY_WORSE

    def focus(self, among: Sequence[str] = ()) -> str:
        """Return the treatment with the best estimate of the primary metric, the first one on a tie."""
        sign = 1 if self.primary.direction is Direction.UP else -1

        def worth(variant: str) -> float:
            estimate = self.reading(variant).estimate
            return -float("inf") if estimate is None else sign * estimate

        return max(among or self.treatments, key=worth)

    @property
    def runtime_s(self) -> int:
        """Whole seconds since the first exposure; 0 before it."""
        first = self.evidence.first_exposure_at
        return 0 if first is None else (self.evidence.as_of - first) // timedelta(seconds=1)

    @property
    def has_run_long_enough(self) -> bool:
        """Whether the plan's shortest runtime has passed since the first exposure."""
        started = self.evidence.first_exposure_at is not None
        return started and self.runtime_s >= self.experiment.decide.min_runtime_s

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

    1. A check alarms: untrustworthy. 2. `ship_when` holds for a treatment, `rollback_when` does not, and it
    has run long enough: ship the best one. 3. `rollback_when` holds for a treatment: roll back. 4. Every lift
    lies within the smallest effect of interest: no effect. 5. Nothing more will come: inconclusive. 6. Keep
    running. Unless the plan says otherwise, its two rules ask the guardrails first, then the primary metric.

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
    alarms = [finding for finding in case.findings if finding.state is CheckState.ALARM]
    if alarms:
        inputs = tuple(_alarmed(finding) for finding in alarms)
        return Outcome(Decision.UNTRUSTWORTHY, None, alarms[0].check, inputs)
    plan = case.experiment.decide
    good = [v for v in case.treatments if case.meets(plan.ship_when, v) and case.harm(v) is None]
    if good and case.has_run_long_enough:
        best = case.focus(good)
        rule = Rule.PRIMARY_BETTER if plan.ship_when == SHIP_WHEN else Rule.SHIP_WHEN
        return Outcome(
            Decision.SHIP, best, rule, (*case.leaves("ship_when", plan.ship_when, best), _runtime(case))
        )
    for variant in case.treatments:
        harm = case.harm(variant)
        if harm is not None:
            leaves = case.leaves("rollback_when", plan.rollback_when, variant)
            return Outcome(Decision.ROLLBACK, variant, harm, leaves)
    states = {variant: case.states(variant)[case.primary.key] for variant in case.treatments}
    if set(states.values()) == {MetricState.NO_EFFECT} and case.has_run_long_enough:
        return Outcome(Decision.NO_EFFECT, None, Rule.WITHIN_MDE, (*_without_effect(case), _runtime(case)))
    return _unanswered(case, set(states.values()), waiting=bool(good))


def _unanswered(case: Case, states: set[MetricState], *, waiting: bool) -> Outcome:
    if case.evidence.first_exposure_at is None:
        return Outcome(Decision.KEEP_RUNNING, None, Rule.NO_DATA)
    plan, variant = case.experiment.decide, case.focus()
    inputs = case.leaves("ship_when", plan.ship_when, variant)
    inputs += case.leaves("rollback_when", plan.rollback_when, variant)
    if case.has_ended:
        return Outcome(Decision.INCONCLUSIVE, None, Rule.ENDED, inputs)
    shown = states & {MetricState.BETTER, MetricState.WORSE}
    if not case.is_planned:
        rule = Rule.PRIMARY_NOT_PLANNED
    elif states == {MetricState.BURN_IN}:
        rule = Rule.BURN_IN
    elif (waiting or MetricState.NO_EFFECT in states) and not case.has_run_long_enough:
        rule, inputs = Rule.MIN_RUNTIME, (*inputs, _runtime(case))
    else:
        rule = Rule.RULES_NOT_MET if shown else Rule.NOT_YET_KNOWN
    return Outcome(Decision.KEEP_RUNNING, None, rule, inputs)


def _alarmed(finding: Finding) -> RuleInput:
    state = finding.state.value
    return RuleInput(
        rule="checks",
        variant=None,
        subject=finding.check,
        wanted=(state,),
        values={finding.check: state},
        holds=True,
    )


def _runtime(case: Case) -> RuleInput:
    return RuleInput(
        rule="min_runtime",
        variant=None,
        subject="runtime_s",
        wanted=(case.experiment.decide.min_runtime_s,),
        values={"runtime_s": case.runtime_s},
        holds=case.has_run_long_enough,
    )


def _without_effect(case: Case) -> tuple[RuleInput, ...]:
    state = MetricState.NO_EFFECT.value
    return tuple(
        RuleInput(
            rule="no_effect",
            variant=variant,
            subject="primary",
            wanted=(state,),
            values={case.primary.key: state},
            holds=True,
        )
        for variant in case.treatments
    )
