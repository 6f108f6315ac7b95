"""How the units come: how often each is exposed again, and how many still have an open window."""

from collections.abc import Mapping

from experiments.checks.finding import CheckState, Finding, Share, advised, counted
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "traffic"
MOST_REPEATS = 100.0
ADVICE = (
    "Look for a page that reports its exposure in a loop, a program that acts as a visitor, or an id that "
    "many people share; once per page view is enough."
)


def check(
    experiment: Experiment,  # noqa: ARG001 - the signature of a check
    metrics: Mapping[str, Metric],  # noqa: ARG001
    evidence: Evidence,
) -> Finding:
    """Compare repeated exposures with units, and units whose window is open with all of them.

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
        A warning above 100 repeats per unit, more than daily visitors make in a month; never an alarm:
        repeats count for nothing. Open windows are told and never warned of: they close.

    Examples
    --------
    >>> MOST_REPEATS
    100.0
    """
    account = evidence.account
    if not account.n_exposed:
        detail = "No unit has been exposed yet."
        return Finding(check=NAME, state=CheckState.NOT_YET_KNOWN, detail=detail)
    repeats = account.repeats / account.n_exposed
    immature = Share(account.excluded.get("immature", 0), account.n_exposed)
    state = CheckState.WARNING if repeats > MOST_REPEATS else CheckState.OK
    detail = (
        f"{counted(account.n_exposed, 'unit')}, exposed again {repeats:,.1f} times on average; "
        f"{immature.text} of them have an open window."
    )
    facts = {"repeats_per_unit": float(f"{repeats:.6g}"), "share_immature": float(f"{immature.value:.6g}")}
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts=facts))
