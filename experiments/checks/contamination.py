"""How many units belong to people who saw another variant as somebody else: one person, two devices."""

from experiments.checks.finding import Finding, counted, warn_above
from experiments.definitions import Experiment
from experiments.evidence import Evidence

NAME = "contaminated_units"
WARNING_SHARE = 0.01


def check(experiment: Experiment, evidence: Evidence) -> Finding:  # noqa: ARG001 - the signature of a check
    """Compare the units of people who saw several variants under several units with all exposed units.

    Parameters
    ----------
    experiment : Experiment
        Not looked at.
    evidence : Evidence
        Its `account` is.

    Returns
    -------
    Finding
        A warning above 1 %: such units pull the variants towards each other. They are not left out: who is
        known to be one person has signed in, which the variant itself may have caused.

    Examples
    --------
    >>> WARNING_SHARE
    0.01
    """
    account = evidence.account
    n = account.contaminated_units
    belong = "belongs to a person" if n == 1 else "belong to people"
    saw = f"{belong} who saw another variant under another id"
    words = f"{counted(n, 'unit')} ({{}}) {saw}, and {'counts' if n == 1 else 'count'} all the same."
    return warn_above(WARNING_SHARE, check=NAME, n=n, of=account.n_exposed, words=words.format, fact="units")
