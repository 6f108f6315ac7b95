"""How many exposures came from crawlers that say so. They are left out; the others cannot be told."""

from collections.abc import Mapping

from experiments.checks.finding import Finding, Share, advised, counted
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "bots"
REASON = "bot"
WARNING_SHARE = 0.1
ADVICE = (
    "Where so many crawlers say what they are, others do not: keep them off the page (robots.txt, the "
    "proxy), and trust a metric that costs money, such as orders, more than clicks."
)


def check(
    experiment: Experiment,  # noqa: ARG001 - the signature of a check
    metrics: Mapping[str, Metric],  # noqa: ARG001
    evidence: Evidence,
) -> Finding:
    """Compare the exposure events of crawlers with all of them.

    By which variant they saw is not known: events in quarantine are counted by reason only.

    Parameters
    ----------
    experiment : Experiment
        Not looked at.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        The quarantine of its `account` is: `bot`.

    Returns
    -------
    Finding
        A warning above 10 %, never an alarm: those that are known are left out.

    Examples
    --------
    >>> WARNING_SHARE
    0.1
    """
    account = evidence.account
    n = account.quarantined.get(REASON, 0)
    share = Share(n, account.events)
    came = "comes from a crawler and is" if n == 1 else "come from crawlers and are"
    detail = f"{counted(n, 'exposure event')} ({share.text}) {came} left out."
    state = share.grade(warning=WARNING_SHARE)
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts={"events": n}))
