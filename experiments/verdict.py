"""The verdict: checks, guardrails, then the primary metric. A pure function, so that it can be replayed."""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from experiments.checks import CHECKS
from experiments.checks.finding import CheckState, Finding
from experiments.decision import Case, Decision, Outcome, RuleInput, decide
from experiments.decision_rules import ROLLBACK_WHEN, SHIP_WHEN
from experiments.definitions import Experiment, Metric, MetricPlan
from experiments.estimates import Adjusted, BurnIn, Estimate, Reading
from experiments.evidence import Arrivals, Evidence, ExposureAccount, PeriodMoments
from experiments.lifecycle import Status
from experiments.money import PER_UNIT, PROJECTED_DAYS, Money, money_of
from experiments.power import planned_total, sequential_n
from experiments.readings import read_metrics
from experiments.series import SeriesPoint, series
from experiments.states import DECIDED, MetricState
from experiments.wording import beside, paragraph
from experiments.wording.en import ENGLISH

__all__ = [
    "Arrivals",
    "Decision",
    "Evidence",
    "ExposureAccount",
    "PeriodMoments",
    "SeriesPoint",
    "Verdict",
    "judge",
    "series",
]

SCHEMA = "verdict/1"
RATE_DAYS = 7
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rules say about one phase at one look, with everything it rests on."""

    experiment: str
    phase: int
    decision: Decision
    variant: str | None
    rule: str
    rule_inputs: tuple[RuleInput, ...]
    as_of: datetime
    account: ExposureAccount
    findings: tuple[Finding, ...]
    readings: tuple[Reading, ...]
    forecast: Mapping[str, object]
    changed: Mapping[str, int]
    money: Money | None
    final: bool
    text: str
    warnings: tuple[str, ...]

    def members(self) -> dict[str, object]:
        """Return the members of ``verdict/1`` that follow from the inputs, in their order."""
        return {
            "schema": SCHEMA,
            "experiment": self.experiment,
            "phase": self.phase,
            "decision": self.decision.value,
            "variant": self.variant,
            "rule": str(self.rule),
            "rule_inputs": [found.members() for found in self.rule_inputs],
            "as_of": self.as_of.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "exposure": self.account.members(),
            "checks": [finding.members() for finding in self.findings],
            "metrics": [_reading_members(reading, self.changed) for reading in self.readings],
            "money": None if self.money is None else _money_members(self.money),
            "final": self.final,
            "forecast": dict(self.forecast),
            "text": self.text,
            "warnings": list(self.warnings),
        }


def judge(experiment: Experiment, metrics: Mapping[str, Metric], evidence: Evidence) -> Verdict:
    """Judge one phase of an experiment at one look; looking more often never makes it wrong more often.

    It does not act, and it remembers nothing: the same inputs give the same verdict to the last byte.

    Parameters
    ----------
    experiment : Experiment
        The plan, fixed before launch.
    metrics : mapping of str to Metric
        Definitions of at least the metrics the plan names.
    evidence : Evidence
        Moments and arrivals per day, the exposure account; only days closed at `as_of` count.

    Returns
    -------
    Verdict
        With `text`, one paragraph in plain English.

    Raises
    ------
    InvalidParameterError
        If a metric has no definition or the plan is outside its domain.

    References
    ----------
    .. [1] docs/decisions/0003-statistics.md

    Examples
    --------
    >>> from experiments.definitions import MetricKind, MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="buy"))
    >>> buy = Metric(key="buy", kind=MetricKind.CONVERSION, event="Order Completed", window_s=86_400)
    >>> nothing = Evidence(periods=(), arrivals=(), account=ExposureAccount(),
    ...     as_of=datetime(2027, 1, 1, tzinfo=UTC), first_exposure_at=None)
    >>> judge(e, {"buy": buy}, nothing).text.partition("Why: ")[2]
    'no unit has been exposed yet.'
    """
    planned = _planned(experiment, evidence.exploratory)
    case = Case(
        experiment=experiment,
        metrics=metrics,
        evidence=evidence,
        findings=tuple(check(planned, metrics, evidence) for check in CHECKS),
        readings=read_metrics(experiment, metrics, evidence),
    )
    outcome = decide(case)
    forecast = _forecast(case, outcome)
    money = None if outcome.decision is Decision.UNTRUSTWORTHY else money_of(case)
    final = _is_final(case)
    return Verdict(
        experiment=experiment.key,
        phase=experiment.phase,
        decision=outcome.decision,
        variant=outcome.variant,
        rule=outcome.rule,
        as_of=evidence.as_of,
        account=evidence.account,
        findings=case.findings,
        readings=case.readings,
        rule_inputs=outcome.inputs,
        forecast=forecast,
        changed=evidence.changed,
        money=money,
        final=final,
        text=paragraph(case, outcome, forecast, money=money, final=final),
        warnings=_warnings(case, outcome),
    )


def _planned(experiment: Experiment, exploratory: Set[str]) -> Experiment:
    """Return the experiment as it was planned: what checks look at, so that no other metric blocks it."""
    plan = experiment.metrics
    metrics = MetricPlan(
        primary=plan.primary,
        secondary=tuple(key for key in plan.secondary if key not in exploratory),
        guardrails=tuple(g for g in plan.guardrails if g.metric not in exploratory),
    )
    # A rule may name what is left out, and a gate of the ramp may wait for it; no check asks for either.
    decide_by = replace(experiment.decide, ship_when=SHIP_WHEN, rollback_when=ROLLBACK_WHEN)
    return replace(experiment, metrics=metrics, decide=decide_by, ramp=())


def _is_final(case: Case) -> bool:
    """Return whether nothing more will come: stopped, and no unit is inside any window."""
    seen = case.evidence.first_exposure_at is not None
    return case.experiment.status is Status.STOPPED and seen and not case.evidence.windows_open


def _reading_members(reading: Reading, changed: Mapping[str, int]) -> dict[str, object]:
    members: dict[str, object] = {
        "metric": reading.metric.key,
        "role": reading.role.value,
        "variant": reading.variant,
        "n": reading.n,
        "estimate": _rounded(reading.estimate),
        "lift": _estimate_members(reading.lift),
        "effect": _estimate_members(reading.effect),
        "p_value": _rounded(reading.p_value),
        "e_value": _rounded(reading.e_value),
        "state": reading.state.value,
        "test": reading.metric.test.value,
        "level": _rounded(reading.level),
        "adjusted": _adjusted_members(reading.adjusted),
        "burn_in": _burn_in_members(reading.burn_in),
        "exploratory": reading.exploratory,
        "changed_since": changed.get(reading.metric.key),
    }
    if reading.margin is not None:
        members["margin"] = {"value": reading.margin.margin, "relative": reading.margin.relative}
    return members


def _estimate_members(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {
        "estimate": _rounded(estimate.estimate),
        "lower": _rounded(estimate.lower),
        "upper": _rounded(estimate.upper),
    }


def _money_members(money: Money) -> dict[str, object]:
    return {
        "metric": money.metric.key,
        "currency": money.metric.currency,
        "declared": money.declared,
        "costs": dict(money.costs),
        "pace": {"days": PROJECTED_DAYS, "units": money.pace_units},
        "variants": [
            {
                "variant": earned.variant,
                "extra_cost": earned.extra_cost,
                "units": earned.units,
                "level": _rounded(earned.level),
                "per_unit": _estimate_members(earned.per_unit),
                "so_far": _estimate_members(earned.so_far),
                "projected": _estimate_members(earned.projected),
            }
            for earned in money.earned
        ],
        "included": list(beside.included(ENGLISH, money)),
        "not_included": list(beside.not_included(ENGLISH, money)),
    }


def _adjusted_members(adjusted: Adjusted | None) -> dict[str, object] | None:
    if adjusted is None:
        return None
    return {
        "variance_ratio": _rounded(adjusted.variance_ratio),
        "unadjusted_lift": _estimate_members(adjusted.lift),
        "unadjusted_effect": _estimate_members(adjusted.effect),
    }


def _burn_in_members(missing: BurnIn | None) -> dict[str, object] | None:
    if missing is None:
        return None
    return {"needed": missing.needed, "so_far": missing.so_far, "of": missing.of.value}


def _rounded(value: float | None) -> float | None:
    """Keep 9 digits: mathematical libraries may differ after them, and a digest must not."""
    return None if value is None else float(f"{value:.9g}")


def _forecast(case: Case, outcome: Outcome) -> dict[str, object]:
    """Say how far along the plan the leading treatment is, and what could be seen by now."""
    variant = outcome.variant or case.focus()
    control, treatment = case.reading(case.experiment.control.key), case.reading(variant)
    analysed, needed = (
        control.n + treatment.n,
        sequential_n(case.experiment, variant, test=case.primary.test),
    )
    decided = treatment.state in DECIDED
    running = outcome.decision is Decision.KEEP_RUNNING and analysed < needed and not decided
    return {
        "variant": variant,
        "planned_units": planned_total(case.experiment, variant),
        "needed_units": needed,
        "analysed_units": analysed,
        "detectable_lift": _half_width(treatment.lift),
        "primary_decided": decided,
        "days_left": _days_left(case, variant, needed) if running else None,
    }


def _half_width(shown: Estimate | None) -> float | None:
    if shown is None or shown.lower is None or shown.upper is None:
        return None
    return _rounded((shown.upper - shown.lower) / 2)


def _days_left(case: Case, variant: str, needed: int) -> int | None:
    """Return days until the needed units are analysed, at the pace of the last closed week."""
    pair = {case.experiment.control.key, variant}
    arrivals = [a for a in case.evidence.closed_arrivals() if a.variant in pair]
    if not arrivals:
        return None
    last = arrivals[-1].period
    span = min(RATE_DAYS, (last - arrivals[0].period).days + 1)
    pace = sum(a.n for a in arrivals if (last - a.period).days < span) / span
    missing = max(0, needed - sum(a.n for a in arrivals))
    if not pace:
        return None
    return math.ceil(missing / pace) + math.ceil(case.primary.window_s / DAY_S)


def _warnings(case: Case, outcome: Outcome) -> tuple[str, ...]:
    codes = [f.check for f in case.findings if f.state is CheckState.WARNING]
    codes += [
        f"guardrail_not_yet_known:{r.metric.key}"
        for r in case.guardrails(outcome.variant or case.focus())
        if r.state in (MetricState.NOT_YET_KNOWN, MetricState.BURN_IN)
    ]
    codes += [f"metric_changed:{key}" for key in sorted(case.evidence.changed)]
    codes += [] if case.is_planned else [f"primary_not_planned:{case.primary.key}"]
    codes += [
        f"harmful_variant:{variant}"
        for variant in case.treatments
        if variant != outcome.variant and case.harm(variant) is not None
    ]
    codes += [
        f"uncapped_mean:{key}"
        for key in case.experiment.metrics.keys()  # noqa: SIM118 - a method of MetricPlan, no mapping
        if case.metrics[key].kind in PER_UNIT and case.metrics[key].cap is None
    ]
    return tuple(dict.fromkeys(codes))
