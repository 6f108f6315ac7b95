"""How many units saw several variants. The hash never does that: shared ids and hand-made exposures do."""

from experiments.checks.finding import CheckState, Finding
from experiments.definitions import Experiment
from experiments.evidence import Evidence

NAME = "multiple_variants"
WARNING_SHARE = 0.005


def check(experiment: Experiment, evidence: Evidence) -> Finding:  # noqa: ARG001 - the signature of a check
    """Compare the units that saw several variants with all exposed units.

    Parameters
    ----------
    experiment : Experiment
        Not looked at.
    evidence : Evidence
        Its `account` is.

    Returns
    -------
    Finding
        A warning above 0.5 %: leaving such units out may bias what is left.

    Examples
    --------
    >>> WARNING_SHARE
    0.005
    """
    account = evidence.account
    crossed = account.excluded.get("multiple_variants", 0)
    share = crossed / account.n_exposed if account.n_exposed else 0.0
    state = CheckState.WARNING if share > WARNING_SHARE else CheckState.OK
    detail = f"{crossed:,} units ({100 * share:.1f} %) saw several variants and were left out."
    return Finding(check=NAME, state=state, detail=detail, facts={"units": crossed})
