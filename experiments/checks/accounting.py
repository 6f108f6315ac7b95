"""Every exposure event and every exposed unit has exactly one place in the account, or something is wrong."""

from collections.abc import Mapping

from experiments.checks.finding import CheckState, Finding
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "accounting"
ADVICE = (
    "This is a fault of Opportune or of what wrote into its store, not of the experiment: report it with "
    "this sentence, and use none of the numbers until it is found."
)


def check(
    experiment: Experiment,
    metrics: Mapping[str, Metric],  # noqa: ARG001 - the signature of a check
    evidence: Evidence,
) -> Finding:
    """Add up the account; anything lost or counted twice makes all numbers doubtful.

    Parameters
    ----------
    experiment : Experiment
        Its variants are the only ones that may occur.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        Its `account` is checked.

    Returns
    -------
    Finding
        An alarm if the sums differ or an unknown variant occurs.

    Examples
    --------
    >>> NAME
    'accounting'
    """
    account = evidence.account
    problems = []
    counted = account.first + account.repeats + sum(account.quarantined.values())
    if account.events != counted:
        problems.append(f"{account.events} exposure events, but {counted} accounted for")
    placed = sum(account.excluded.values()) + sum(account.analysed.values())
    if account.n_exposed != placed:
        problems.append(f"{account.n_exposed} exposed units, but {placed} analysed or excluded")
    known = {variant.key for variant in experiment.variants}
    seen = {row.variant for row in evidence.arrivals} | {row.variant for row in evidence.periods}
    strangers = sorted((seen | set(account.analysed)) - known)
    if strangers:
        problems.append(f"unknown variants: {', '.join(strangers)}")
    if problems:
        detail = f"The accounts do not add up: {'; '.join(problems)}."
        return Finding(check=NAME, state=CheckState.ALARM, detail=detail, advice=ADVICE)
    return Finding(check=NAME, state=CheckState.OK, detail="Every exposure is accounted for.")
