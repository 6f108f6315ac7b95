"""Metrics of the plan that no unit has an event of: a misspelt name, or tracking that is not there."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from experiments.checks.finding import CheckState, Finding, advised, counted, defined, listed, titled
from experiments.checks.reporting import is_silent
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence, cumulate
from experiments.moments import NOTHING

NAME = "missing_events"
MANY_UNITS = 1_000  # an event that one unit in 200 has is missing among so many by chance once in 150 times
ADVICE = (
    "Check that the event is sent under exactly this name, with the properties that the metric asks for; if "
    "it is only rare, nothing is wrong."
)


def check(experiment: Experiment, metrics: Mapping[str, Metric], evidence: Evidence) -> Finding:
    """Look for metrics without a single event although 1,000 units or more have had the time.

    Parameters
    ----------
    experiment : Experiment
        Its plan names the metrics.
    metrics : mapping of str to Metric
        Definitions.
    evidence : Evidence
        Its closed periods and arrivals are looked at.

    Returns
    -------
    Finding
        A warning that names them, never an alarm: nothing is concluded from a metric without events.

    Examples
    --------
    >>> MANY_UNITS
    1000
    """
    sums = cumulate(evidence.closed_periods())
    silent, known = [], False
    for metric in defined(experiment, metrics):
        whole = sum((sums.get((metric.key, v.key), NOTHING) for v in experiment.variants), NOTHING)
        n = max(whole.n, _matured(metric, evidence))
        known |= n >= MANY_UNITS
        if n >= MANY_UNITS and is_silent(metric, whole):
            silent.append((metric, n))
    facts = {"metrics": [metric.key for metric, _ in silent]}
    if not silent:
        state = CheckState.OK if known else CheckState.NOT_YET_KNOWN
        detail = "Every metric has events." if known else "Too few units have had the time to act."
        return Finding(check=NAME, state=state, detail=detail, facts=facts)
    named = listed([f"{titled(m)} (`{m.event}`, {counted(n, 'unit')})" for m, n in silent])
    detail = f"No unit of any variant has an event of {named}."
    return advised(Finding(check=NAME, state=CheckState.WARNING, detail=detail, advice=ADVICE, facts=facts))


def _matured(metric: Metric, evidence: Evidence) -> int:
    """Return how many units' windows have surely closed: those of days that did so with their last moment."""
    today = datetime.combine(evidence.as_of.astimezone(UTC).date(), time(), UTC)
    newest = today - timedelta(days=1, seconds=metric.window_s)
    return sum(row.n for row in evidence.arrivals if datetime.combine(row.period, time(), UTC) <= newest)
