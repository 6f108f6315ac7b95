"""Days on which no unit arrived although units arrive every day."""

from collections.abc import Mapping
from datetime import UTC, date, timedelta

from experiments.checks.finding import CheckState, Finding, advised, counted, listed
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence
from experiments.lifecycle import Status

NAME = "missing_days"
MIN_PER_DAY = 20  # with so many a day, a day without any has a chance of 2e-9
ADVICE = (
    "If the experiment was paused or switched off then, nothing is wrong; otherwise find out why no "
    "exposures were sent, and send or import what was missed."
)


def check(
    experiment: Experiment,
    metrics: Mapping[str, Metric],  # noqa: ARG001 - the signature of a check
    evidence: Evidence,
) -> Finding:
    """Look for closed days without arrivals, from the first to the last or, while it is running, to now.

    Parameters
    ----------
    experiment : Experiment
        Its status and its end tell whether arrivals are still to be expected.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        Its `arrivals` are looked at.

    Returns
    -------
    Finding
        A warning if there is such a day and the other days have 20 units or more on average; never an alarm:
        a pause looks the same, and takes all variants alike.

    Examples
    --------
    >>> MIN_PER_DAY
    20
    """
    arrived: dict[date, int] = {}
    for row in evidence.closed_arrivals():
        arrived[row.period] = arrived.get(row.period, 0) + row.n
    days = [day for day, n in arrived.items() if n]
    if not days:
        return Finding(check=NAME, state=CheckState.NOT_YET_KNOWN, detail="No day has closed yet.")
    until = _last_expected(experiment, evidence) or days[-1]
    span = (max(until, days[-1]) - days[0]).days + 1
    gaps = [day for i in range(span) if (day := days[0] + timedelta(days=i)) not in set(days)]
    facts = {"days": [day.isoformat() for day in gaps]}
    if not gaps:
        detail = "Units arrived on every day."
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    usual = sum(arrived.values()) / len(days)
    state = CheckState.WARNING if usual >= MIN_PER_DAY else CheckState.OK
    detail = (
        f"No unit arrived on {counted(len(gaps), 'day')} ({listed([day.isoformat() for day in gaps])}); "
        f"on other days {usual:,.0f} do."
    )
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts=facts))


def _last_expected(experiment: Experiment, evidence: Evidence) -> date | None:
    """Return the last closed day on which units should have arrived; None if that is not known."""
    end_at = experiment.schedule.end_at
    if experiment.status is not Status.RUNNING or (end_at is not None and end_at <= evidence.as_of):
        return None
    return evidence.as_of.astimezone(UTC).date() - timedelta(days=1)
