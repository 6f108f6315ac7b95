"""How many exposure events had to be refused."""

from experiments.checks.finding import Finding, counted, warn_above
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
    n = sum(account.quarantined.values())
    words = f"{counted(n, 'exposure event')} ({{}}) {'is' if n == 1 else 'are'} in quarantine."
    return warn_above(WARNING_SHARE, check=NAME, n=n, of=account.events, words=words.format, fact="events")
