"""A variant without any event of a metric that the others have: broken tracking, or a broken variant."""

from collections.abc import Mapping, Sequence

from experiments.checks.finding import CheckState, Finding, defined, listed, titled
from experiments.checks.reporting import reporting_units
from experiments.checks.srm import planned_shares
from experiments.comparisons import ByDay, by_day
from experiments.definitions import Direction, Experiment, Metric, MetricKind, Test
from experiments.evidence import Evidence, PeriodMoments
from experiments.moments import Moments

NAME = "silent_variant"
# Where 50 units are expected, none comes once in 5e21 cases; where a third as many are, once in 2e7.
EXPECTED = 50.0
ADVICE = (
    "Check that the event is still sent from that variant, mend it and start a new phase; if the variant "
    "itself makes the event impossible, choose another metric."
)


def check(experiment: Experiment, metrics: Mapping[str, Metric], evidence: Evidence) -> Finding:
    """Look for a variant that has been silent up to the newest closed day where 50 units should have spoken.

    Parameters
    ----------
    experiment : Experiment
        Its plan names the metrics; its bucket ranges tell how many events to expect.
    metrics : mapping of str to Metric
        Definitions.
    evidence : Evidence
        Its closed periods are looked at.

    Returns
    -------
    Finding
        An alarm if a variant has fallen silent and that makes a treatment look better in the primary metric
        or in a guardrail. A silence that looks like harm is only a warning: if the variant did it, it must be
        possible to roll it back. So is a silence from the first day on, which may be meant: nobody clicks on
        a button that control does not have.

    Notes
    -----
    The chance that a fair experiment is ever called silent is below (units with events) * exp(-50).

    Examples
    --------
    >>> EXPECTED
    50.0
    """
    decisive = {experiment.metrics.primary, *(g.metric for g in experiment.metrics.guardrails)}
    alarm, named, pairs = False, [], []
    periods = evidence.closed_periods()
    # A variant that gets everybody has no others to be measured by.
    shares = {variant: share for variant, share in planned_shares(experiment).items() if share < 1}
    for metric in defined(experiment, metrics):
        days = _newest_first(metric, periods)
        for variant, share in shares.items():
            expected, has_spoken = _missed(days, metric=metric, variant=variant, share=share)
            if expected >= EXPECTED:
                flatters = _flatters(metric, is_control=variant == experiment.control.key)
                alarm |= has_spoken and flatters and metric.key in decisive
                named.append(f"{titled(metric)} with `{variant}` ({expected:,.0f} units were to be expected)")
                pairs.append([metric.key, variant])
    facts = {"silent": pairs}
    if not named:
        detail = "No variant has stopped reporting a metric."
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    state = CheckState.ALARM if alarm else CheckState.WARNING
    detail = f"No unit has lately had an event of {listed(named)}."
    return Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts=facts)


def _newest_first(metric: Metric, periods: Sequence[PeriodMoments]) -> list[dict[str, Moments]]:
    """Return the moments of each closed period by variant, newest first."""
    rows: dict[str, ByDay] = {
        variant: days for (key, variant), days in by_day(periods).items() if key == metric.key
    }
    newest_first = sorted({day for days in rows.values() for day in days}, reverse=True)
    return [{variant: days[day] for variant, days in rows.items() if day in days} for day in newest_first]


def _missed(
    days: Sequence[Mapping[str, Moments]], *, metric: Metric, variant: str, share: float
) -> tuple[float, bool]:
    """Return how many units of `variant` should have spoken since it last did, and whether it ever did."""
    missed = 0.0
    for day in days:
        own = day.get(variant)
        if own is not None and reporting_units(metric, own) > 0:
            return missed, True
        if own is not None or metric.test is Test.QUANTILE:
            others = sum(reporting_units(metric, m) for key, m in day.items() if key != variant)
            missed += others * share / (1 - share) if others else 0.0
    return missed, False


def _flatters(metric: Metric, *, is_control: bool) -> bool:
    """Return whether the silence makes a treatment look better; of ratios and quantiles it does not say."""
    if metric.test in (Test.RATIO, Test.QUANTILE):
        return False
    silence_is_good = (metric.direction is Direction.DOWN) is not (metric.kind is MetricKind.CHURN)
    return silence_is_good is not is_control
