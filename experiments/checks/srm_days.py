"""Whether the split differed from the plan on a single day: a day of trouble is diluted in the whole."""

from collections.abc import Mapping
from datetime import date

from experiments.checks import srm
from experiments.checks.finding import CheckState, Finding, Share, counted, listed
from experiments.checks.parts import SMALL_SHARE, weight
from experiments.definitions import Experiment, Metric
from experiments.evidence import Evidence

NAME = "srm_days"
LEVEL = srm.ALARM_LEVEL / 4
ADVICE = (
    "Find out what was different then (a release, an outage, a test of load); its units cannot be taken out "
    "afterwards, so mend the cause and start a new phase."
)


def check(
    experiment: Experiment,
    metrics: Mapping[str, Metric],  # noqa: ARG001 - the signature of a check
    evidence: Evidence,
) -> Finding:
    """Look at the split of each closed day by itself.

    The d-th day has the share 1 / (d (d + 1)) of the level: these add up to 1, however long it runs.

    Parameters
    ----------
    experiment : Experiment
        Its bucket ranges are the plan.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        Its `arrivals` are looked at, sources added up.

    Returns
    -------
    Finding
        An alarm that names the days off the plan, below p = 0.0025 after the correction for their number; a
        warning while those days hold at most 1 % of the units, and so can move little.

    References
    ----------
    .. [1] Lindon & Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS 35.

    Examples
    --------
    >>> LEVEL
    0.0025
    """
    planned = srm.planned_shares(experiment)
    days = srm.by(evidence.closed_arrivals(), tuple(planned), lambda row: row.period)
    if not days:
        return Finding(check=NAME, state=CheckState.NOT_YET_KNOWN, detail="No day has closed yet.")
    p_values: dict[date, float] = {}
    for place, (day, counts) in enumerate(days.items(), 1):
        raw = srm.srm_p_value([counts], tuple(planned.values()))
        p_values[day] = min(1.0, raw / weight(place))
    off = [day for day, p_value in p_values.items() if p_value < LEVEL]
    smallest = min(p_values.values())
    facts = {"p_value": float(f"{smallest:.6g}"), "broken": [day.isoformat() for day in off]}
    if not off:
        detail = f"No single day is shown to differ from the planned split (smallest p = {smallest:.2g})."
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    share = Share(sum(sum(days[day]) for day in off), sum(map(sum, days.values())))
    named = listed([f"{day} ({srm.shares_of(days[day])})" for day in off])
    detail = (
        f"The split was not as planned on {counted(len(off), 'day')} with {share.text} of the units: {named} "
        f"(p = {smallest:.2g})."
    )
    state = CheckState.ALARM if share.value > SMALL_SHARE else CheckState.WARNING
    return Finding(check=NAME, state=state, detail=detail, advice=ADVICE, facts=facts)
