"""How many units belong to people who saw another variant as somebody else: one person, two devices."""

from collections.abc import Mapping

from experiments.checks.finding import Finding, Share, advised, counted
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "contaminated_units"
WARNING_SHARE = 0.01
ADVICE = "The true effect is probably larger than shown; to avoid it, split by `user_id` in a new phase."


def check(
    experiment: Experiment,  # noqa: ARG001 - the signature of a check
    metrics: Mapping[str, Metric],  # noqa: ARG001
    evidence: Evidence,
) -> Finding:
    """Compare the units of people who saw several variants under several units with all exposed units.

    Parameters
    ----------
    experiment : Experiment
        Not looked at.
    metrics : mapping of str to Metric
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
    share = Share(n, account.n_exposed)
    belong = "belongs to a person" if n == 1 else "belong to people"
    count = "counts" if n == 1 else "count"
    saw = f"{belong} who saw another variant under another id, and {count} all the same"
    detail = f"{counted(n, 'unit')} ({share.text}) {saw}."
    state = share.grade(warning=WARNING_SHARE)
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts={"units": n}))
