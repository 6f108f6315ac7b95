"""Exposures by a catalog that was replaced long ago, or that nobody knows: pages that never reload."""

from collections.abc import Mapping

from experiments.checks.finding import Finding, Share, advised, counted
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "stale_revision"
REASONS = ("stale_revision", "unknown_revision")
WARNING_SHARE = 0.01
ADVICE = "Let pages and apps that stay open fetch their flags again, at least once a day."


def check(
    experiment: Experiment,  # noqa: ARG001 - the signature of a check
    metrics: Mapping[str, Metric],  # noqa: ARG001
    evidence: Evidence,
) -> Finding:
    """Compare the exposure events of old and of unknown revisions with all of them.

    Parameters
    ----------
    experiment : Experiment
        Not looked at.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        The quarantine of its `account` is: `stale_revision` and `unknown_revision`.

    Returns
    -------
    Finding
        A warning above 1 %, never an alarm: they are left out, in all variants by the same rule.

    Examples
    --------
    >>> REASONS
    ('stale_revision', 'unknown_revision')
    """
    account = evidence.account
    n = sum(account.quarantined.get(reason, 0) for reason in REASONS)
    share = Share(n, account.events)
    went = "goes by an old catalog and is" if n == 1 else "go by an old catalog and are"
    detail = f"{counted(n, 'exposure event')} ({share.text}) {went} left out."
    state = share.grade(warning=WARNING_SHARE)
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts={"events": n}))
