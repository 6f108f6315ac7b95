"""How many exposure events had to be refused for reasons that no check of its own looks at."""

from collections.abc import Mapping

from experiments.checks import bots, stale, unassigned
from experiments.checks.finding import Finding, Share, advised, counted, listed
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "quarantine"
WARNING_SHARE = 0.01
ELSEWHERE = frozenset({*unassigned.REASONS, *stale.REASONS, bots.REASON})
HARMLESS = frozenset({"override"})  # somebody of the house looked at a variant
ADVICE = "Look at them with `opportune quarantine list`: it says of each reason what helps."


def check(
    experiment: Experiment,  # noqa: ARG001 - the signature of a check
    metrics: Mapping[str, Metric],  # noqa: ARG001
    evidence: Evidence,
) -> Finding:
    """Compare exposure events that are in quarantine for any other reason with all of them.

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
        A warning above 1 %: exposures are lost, by a client that is broken or a catalog that was late.

    Examples
    --------
    >>> WARNING_SHARE
    0.01
    """
    account = evidence.account
    kept = {r: n for r, n in account.quarantined.items() if n and r not in ELSEWHERE | HARMLESS}
    n = sum(kept.values())
    share = Share(n, account.events)
    told = [f"`{reason}` {count:,}" for reason, count in sorted(kept.items(), key=lambda item: -item[1])]
    reasons = f" ({listed(told)})" if told else ""
    are = "is" if n == 1 else "are"
    detail = f"{counted(n, 'exposure event')} ({share.text}) {are} in quarantine for other reasons{reasons}."
    state = share.grade(warning=WARNING_SHARE)
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts={"events": n}))
