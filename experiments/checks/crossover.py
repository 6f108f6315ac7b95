"""How many units saw several variants. The hash never does that: shared ids and hand-made exposures do."""

from experiments.checks.finding import Finding, counted, warn_above
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
    n = account.excluded.get("multiple_variants", 0)
    words = f"{counted(n, 'unit')} ({{}}) saw several variants and {'was' if n == 1 else 'were'} left out."
    return warn_above(WARNING_SHARE, check=NAME, n=n, of=account.n_exposed, words=words.format, fact="units")
