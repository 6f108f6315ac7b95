"""How many units saw several variants. The hash never does that: shared ids and hand-made exposures do."""

from collections.abc import Mapping

from experiments.checks.finding import Finding, Share, advised, counted
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "multiple_variants"
WARNING_SHARE = 0.005
ALARM_SHARE = 0.1
ADVICE = (
    "Look for ids that several people share and for programs that choose the variant by themselves; mend it, "
    "then start a new phase."
)


def check(
    experiment: Experiment,  # noqa: ARG001 - the signature of a check
    metrics: Mapping[str, Metric],  # noqa: ARG001
    evidence: Evidence,
) -> Finding:
    """Compare the units that saw several variants with all exposed units.

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
        A warning above 0.5 %: leaving such units out may bias what is left. An alarm above 10 %: who comes
        often is left out more often, so what is left are rare visitors.

    Examples
    --------
    >>> WARNING_SHARE, ALARM_SHARE
    (0.005, 0.1)
    """
    account = evidence.account
    n = account.excluded.get("multiple_variants", 0)
    share = Share(n, account.n_exposed)
    were = "was" if n == 1 else "were"
    detail = f"{counted(n, 'unit')} ({share.text}) saw several variants and {were} left out."
    state = share.grade(warning=WARNING_SHARE, alarm=ALARM_SHARE)
    return advised(Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts={"units": n}))
