"""One plain paragraph that an analyst can paste: the same inputs give the same words."""

from collections.abc import Callable

from experiments.checks import contamination
from experiments.checks.finding import CheckState, counted
from experiments.decision import Case, Decision, Outcome, Rule
from experiments.definitions import Guardrail, Metric, MetricKind
from experiments.effect import Estimate
from experiments.power import alpha_per_treatment
from experiments.readings import MetricState, Reading


def paragraph(case: Case, outcome: Outcome) -> str:
    """Return the verdict in words.

    Parameters
    ----------
    case : Case
        What was seen.
    outcome : Outcome
        What was decided.

    Returns
    -------
    str
        Sentences in one line; variant names in back-quotes, as in Markdown.

    Examples
    --------
    >>> percent(0.0531, signed=True), percent(0.0419)
    ('+5.3 %', '4.2 %')
    """
    variant = outcome.variant or case.focus()
    parts = [_headline(case, outcome)]
    if outcome.decision is Decision.UNTRUSTWORTHY:
        parts += [_alarms(case), "No result is read from it until the cause is found."]
    elif outcome.rule == Rule.NO_DATA:
        parts.append("No unit has been exposed yet.")
    else:
        parts += [_numbers(case, variant), _guardrails(case, variant), _split(case)]
    parts += [_rule(case, outcome), _left_out(case), _contaminated(case)]
    return " ".join(part for part in parts if part)


def percent(value: float, *, signed: bool = False, digits: int = 1) -> str:
    """Return a fraction as a percentage.

    Parameters
    ----------
    value : float
        A fraction.
    signed : bool
        Whether a plus is written.
    digits : int
        After the point.

    Returns
    -------
    str

    Examples
    --------
    >>> percent(0.5)
    '50.0 %'
    """
    text = f"{100 * value:+,.{digits}f}" if signed else f"{100 * value:,.{digits}f}"
    return f"{text} %"


def short_percent(value: float) -> str:
    """Return a fraction as a percentage without useless zeros.

    Parameters
    ----------
    value : float
        A fraction.

    Returns
    -------
    str

    Examples
    --------
    >>> short_percent(0.975), short_percent(0.1)
    ('97.5 %', '10 %')
    """
    return f"{100 * value:.4g} %"


def _amount(metric: Metric, value: float) -> str:
    """Return a mean per unit: a share, money, or a plain number."""
    if metric.kind is MetricKind.CONVERSION:
        return percent(value, digits=2)
    return f"{value:,.2f} {metric.currency}" if metric.currency else f"{value:,.4g}"


def _difference(metric: Metric, value: float) -> str:
    """Return a difference of means with its sign; shares differ by percentage points, not by percent."""
    if metric.kind is MetricKind.CONVERSION:
        return f"{100 * value:+,.2f} percentage points"
    return f"{'+' if value >= 0 else '-'}{_amount(metric, abs(value))}"


def _name(metric: Metric) -> str:
    return metric.label or metric.key


def _headline(case: Case, outcome: Outcome) -> str:
    mde = short_percent(case.experiment.analysis.mde)
    lines: dict[Decision, str] = {
        Decision.SHIP: f"Ship `{outcome.variant}`.",
        Decision.ROLLBACK: f"Roll back `{outcome.variant}`.",
        Decision.KEEP_RUNNING: "Keep running.",
        Decision.NO_EFFECT: f"No effect as large as {mde}.",
        Decision.INCONCLUSIVE: "Inconclusive.",
        Decision.UNTRUSTWORTHY: "These data cannot be trusted.",
    }
    return lines[outcome.decision]


def _alarms(case: Case) -> str:
    return " ".join(f.detail for f in case.findings if f.state is CheckState.ALARM)


def _numbers(case: Case, variant: str) -> str:
    control, treatment = case.reading(case.experiment.control.key), case.reading(variant)
    n = sum(case.reading(v.key).n for v in case.experiment.variants)
    since = f"After {_days(case)} and {counted(n, 'analysed unit')}"
    if control.estimate is None or treatment.estimate is None:
        return f"{since}, {_name(case.primary)} has no closed day yet."
    means = (
        f"{_name(case.primary)} is {_amount(case.primary, treatment.estimate)} with `{variant}` and "
        f"{_amount(case.primary, control.estimate)} with `{control.variant}`"
    )
    if treatment.state is MetricState.BURN_IN:
        return f"{since}, {means}; that is too few for an interval."
    level = short_percent(1 - alpha_per_treatment(case.experiment))
    return (
        f"{since}, {means}: {_interval(case.primary, treatment, level)}. "
        "This interval stays valid however often you look."
    )


def _interval(metric: Metric, reading: Reading, level: str) -> str:
    if reading.lift is not None and reading.lift.estimate is not None:
        return _range(reading.lift, level, lambda value: percent(value, signed=True))
    text = _range(reading.effect or Estimate(None), level, lambda value: _difference(metric, value))
    return f"{text} in absolute terms (a lift over nothing is undefined)"


def _range(interval: Estimate, level: str, write: Callable[[float], str]) -> str:
    centre = "unknown" if interval.estimate is None else write(interval.estimate)
    if interval.lower is None and interval.upper is None:
        return f"{centre} (no interval: nothing varies yet)"
    low = "no lower limit" if interval.lower is None else write(interval.lower)
    high = "no upper limit yet" if interval.upper is None else write(interval.upper)
    return f"{centre} ({level} confidence sequence {low} to {high})"


def _days(case: Case) -> str:
    first = case.evidence.first_exposure_at
    days = 0 if first is None else max(0, (case.evidence.as_of - first).days)
    return counted(days, "day")


def _guardrails(case: Case, variant: str) -> str:
    words = {
        MetricState.WORSE: "is worse than its limit",
        MetricState.SAFE: "is within its limit",
        MetricState.NOT_YET_KNOWN: "is not yet known to be within its limit",
        MetricState.BURN_IN: "has too few data",
    }
    said = [
        f"{_name(r.metric)} {words[r.state]} ({_limit(r.metric, r.margin)})"
        for r in case.guardrails(variant)
        if r.margin is not None
    ]
    return f"Guardrails: {'; '.join(said)}." if said else ""


def _limit(metric: Metric, margin: Guardrail) -> str:
    if margin.relative:
        return f"{short_percent(margin.margin)} relative"
    return _difference(metric, margin.margin).removeprefix("+")


def _split(case: Case) -> str:
    return next(f.detail for f in case.findings if f.check == "srm")


def _rule(case: Case, outcome: Outcome) -> str:
    runtime = case.experiment.decide.min_runtime_s / 86_400
    days = f"{runtime:.3g} {'day has' if runtime == 1 else 'days have'} passed"
    reasons = {
        Rule.GUARDRAIL_WORSE: "Rule: a guardrail is worse than its limit.",
        Rule.PRIMARY_WORSE: "Rule: the primary metric is worse than control.",
        Rule.PRIMARY_BETTER: "Rule: the primary metric is better, no guardrail is worse, "
        f"and at least {days}.",
        Rule.WITHIN_MDE: "Rule: the whole interval lies within the smallest effect of interest.",
        Rule.ENDED: "Rule: the experiment has ended without an answer; "
        f"planned for this case: {case.experiment.decide.at_end_otherwise.replace('_', ' ')}.",
        Rule.NO_DATA: "",
        Rule.BURN_IN: "Rule: nothing is concluded before the burn-in.",
        Rule.MIN_RUNTIME: f"Rule: nothing is concluded before {days}.",
        Rule.NOT_YET_KNOWN: "Rule: neither a difference nor its absence is shown yet.",
    }
    return reasons[Rule(outcome.rule)] if outcome.rule in set(Rule) else f"Rule: check `{outcome.rule}`."


def _left_out(case: Case) -> str:
    account = case.evidence.account
    several, immature = account.excluded.get("multiple_variants", 0), account.excluded.get("immature", 0)
    parts = []
    if several:
        share = percent(several / account.n_exposed) if account.n_exposed else "all"
        were = "was" if several == 1 else "were"
        parts.append(f"{counted(several, 'unit')} ({share}) saw several variants and {were} left out")
    if immature:
        are = "is" if immature == 1 else "are"
        parts.append(f"{counted(immature, 'unit')} {are} still inside the metric's window")
    return f"Not known: {'; '.join(parts)}." if parts else ""


def _contaminated(case: Case) -> str:
    found = next(f for f in case.findings if f.check == contamination.NAME)
    return f"Beware: {found.detail}" if found.state is CheckState.WARNING else ""
