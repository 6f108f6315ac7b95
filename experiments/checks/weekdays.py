"""Whether the analysed units came on all days of the week: people on Sundays are not those on Mondays."""

from collections.abc import Mapping
from datetime import timedelta

from experiments.checks.finding import CheckState, Finding, advised, listed
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "weekdays"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ADVICE = "Wait until a whole week is analysed before you ship; let `min_runtime` be 7 days or more."


def check(
    experiment: Experiment,
    metrics: Mapping[str, Metric],  # noqa: ARG001 - the signature of a check
    evidence: Evidence,
) -> Finding:
    """Look at the weekdays of the closed days that the primary metric has units of.

    Parameters
    ----------
    experiment : Experiment
        Its primary metric and its shortest runtime are looked at.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        Its closed periods are looked at.

    Returns
    -------
    Finding
        A warning that names the days missing, once the shortest runtime has passed; never an alarm, since
        harm must not wait for a Sunday. All windows are equally long, so the days on which they close are as
        many weekdays as those on which the units came.

    Examples
    --------
    >>> len(DAYS)
    7
    """
    primary = experiment.metrics.primary
    closed = [row for row in evidence.closed_periods() if row.metric == primary and row.moments.n]
    seen = {row.period.weekday() for row in closed}
    facts = {"weekdays": len(seen)}
    if len(seen) == len(DAYS):
        detail = "The closed days cover all weekdays."
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    state = CheckState.WARNING if may_conclude(experiment, evidence) and seen else CheckState.NOT_YET_KNOWN
    missing = listed([name for i, name in enumerate(DAYS) if i not in seen])
    detail = f"The closed days cover {len(seen)} of 7 weekdays" + (f", not {missing}." if seen else ".")
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts=facts))


def may_conclude(experiment: Experiment, evidence: Evidence) -> bool:
    """Return whether the shortest runtime has passed, so that a verdict may end the experiment.

    Parameters
    ----------
    experiment : Experiment
        Its plan.
    evidence : Evidence
        When it began and how far it is.

    Returns
    -------
    bool

    Examples
    --------
    >>> DAYS[0]
    'Monday'
    """
    first = evidence.first_exposure_at
    if first is None:
        return False
    return evidence.as_of - first >= timedelta(seconds=experiment.decide.min_runtime_s)
