"""Exposures that the service never gave: of another variant, of another unit, or outside the experiment."""

from collections.abc import Mapping

from experiments.checks.finding import CheckState, Finding, Share, advised, counted
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "exposure_without_assignment"
MISMATCH = "variant_mismatch"
REASONS = (MISMATCH, "not_enrolled", "unit_mismatch")
WARNING_SHARE = 0.01
ALARM_SHARE = 0.1
ADVICE = (
    "Report exposures only where this service gave the variant, and with the id it was asked with; "
    "`opportune quarantine list` shows who sends the others."
)


def check(
    experiment: Experiment,  # noqa: ARG001 - the signature of a check
    metrics: Mapping[str, Metric],  # noqa: ARG001
    evidence: Evidence,
) -> Finding:
    """Compare the exposure events that contradict the assignment with all of them.

    Parameters
    ----------
    experiment : Experiment
        Not looked at.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        The quarantine of its `account` is: `variant_mismatch`, `not_enrolled` and `unit_mismatch`.

    Returns
    -------
    Finding
        A warning above 1 %. An alarm if more than 10 % name another variant than the unit has: then some
        program chooses by itself, what agrees with the service does so by chance, and units counted for one
        variant have seen another. Units that are not enrolled are in no variant, so they never alarm.

    Examples
    --------
    >>> REASONS
    ('variant_mismatch', 'not_enrolled', 'unit_mismatch')
    """
    account = evidence.account
    by_reason = {reason: n for reason in REASONS if (n := account.quarantined.get(reason, 0))}
    n = sum(by_reason.values())
    share = Share(n, account.events)
    names = "names" if n == 1 else "name"
    detail = f"{counted(n, 'exposure event')} ({share.text}) {names} what the service did not assign."
    state = share.grade(warning=WARNING_SHARE)
    if Share(by_reason.get(MISMATCH, 0), account.events).value > ALARM_SHARE:
        state = CheckState.ALARM
    facts = {"events": n, "reasons": by_reason}
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts=facts))
