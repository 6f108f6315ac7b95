"""How many exposure events had to be refused."""

from experiments.checks.finding import CheckState, Finding
from experiments.definitions import Experiment
from experiments.evidence import Evidence

NAME = "quarantine"
WARNING_SHARE = 0.01


def check(experiment: Experiment, evidence: Evidence) -> Finding:  # noqa: ARG001 - the signature of a check
    """Compare quarantined exposure events with all of them.

    Parameters
    ----------
    experiment : Experiment
        Not looked at.
    evidence : Evidence
        Its `account` is.

    Returns
    -------
    Finding
        A warning above 1 %: a client sends what the service did not assign.

    Examples
    --------
    >>> WARNING_SHARE
    0.01
    """
    account = evidence.account
    refused = sum(account.quarantined.values())
    share = refused / account.events if account.events else 0.0
    state = CheckState.WARNING if share > WARNING_SHARE else CheckState.OK
    detail = f"{refused:,} exposure events ({100 * share:.1f} %) are in quarantine."
    return Finding(check=NAME, state=state, detail=detail, facts={"events": refused})
