"""Whether the split in a source differs from the plan: one broken door is diluted in the whole."""

from collections.abc import Mapping, Sequence

from experiments.checks import srm
from experiments.checks.finding import CheckState, Finding, Share, listed
from experiments.checks.parts import SMALL_SHARE, weight
from experiments.definitions import Experiment, Metric
from experiments.evidence import Arrivals, Evidence

NAME = "srm_sources"
LEVEL = srm.ALARM_LEVEL / 4
UNKNOWN = "a source that is not known"
LOSES = (
    "Look at what sends the exposures there: it loses or adds units of one variant; mend it, then start a "
    "new phase."
)
SWAPS = (
    "The variants report their exposures through different sources, which lose different units: let all "
    "variants report through the same one."
)


def check(
    experiment: Experiment,
    metrics: Mapping[str, Metric],  # noqa: ARG001 - the signature of a check
    evidence: Evidence,
) -> Finding:
    """Look at the split of each source after each closed day.

    The s-th source to appear has the share 1 / (s (s + 1)) of the level: they add up to 1, however many come.
    While there is only one, it is the whole, which `srm` looks at: nothing is tested here.

    Parameters
    ----------
    experiment : Experiment
        Its bucket ranges are the plan.
    metrics : mapping of str to Metric
        Not looked at.
    evidence : Evidence
        The sources of its `arrivals` are looked at.

    Returns
    -------
    Finding
        An alarm that names the sources off the plan, below p = 0.0025 after the correction for their number.
        Only a warning if those sources together are as planned (each variant has its own source, and nothing
        is missing) or hold at most 1 % of the units.

    References
    ----------
    .. [1] Lindon & Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS 35.

    Examples
    --------
    >>> LEVEL
    0.0025
    """
    planned = srm.planned_shares(experiment)
    # Within a day sources are ranked by name, which has nothing to do with how they split.
    rows = sorted(evidence.closed_arrivals(), key=lambda row: (row.period, row.source))
    sources = srm.by(rows, tuple(planned), lambda row: row.source)
    if not set(sources) - {""}:
        detail = "Which source sent the exposures is not known."
        return Finding(check=NAME, state=CheckState.NOT_YET_KNOWN, detail=detail)
    by_source = {source: dict(zip(planned, counts, strict=True)) for source, counts in sources.items()}
    if len(sources) == 1:
        detail = f"All units were sent through {_named(*sources)}: one source is the whole."
        facts: dict[str, object] = {"p_value": None, "counts": by_source, "broken": []}
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    p_values = {
        source: min(1.0, _p_value(rows, planned, [source]) / weight(place))
        for place, source in enumerate(sources, 1)
    }
    off = [source for source, p_value in p_values.items() if p_value < LEVEL]
    smallest = min(p_values.values())
    facts = {"p_value": float(f"{smallest:.6g}"), "counts": by_source, "broken": off}
    if not off:
        detail = f"No single source is shown to differ from the planned split (smallest p = {smallest:.2g})."
        return Finding(check=NAME, state=CheckState.OK, detail=detail, facts=facts)
    share = Share(sum(sum(sources[source]) for source in off), sum(map(sum, sources.values())))
    named = listed([f"{_named(source)} ({srm.shares_of(sources[source])})" for source in off])
    detail = (
        f"The split is not as planned in what was sent through {named}, {share.text} of the units: planned "
        f"is {srm.plan_of(planned.values())} (p = {smallest:.2g})."
    )
    swapped = _p_value(rows, planned, off) >= LEVEL
    calm = swapped or share.value <= SMALL_SHARE
    return Finding(
        check=NAME,
        state=CheckState.WARNING if calm else CheckState.ALARM,
        detail=detail,
        advice=SWAPS if swapped else LOSES,
        facts=facts,
    )


def _named(source: str) -> str:
    # Back-quotes mark names in sentences; what sends events may call itself anything.
    return f"`{source.replace('`', '')}`" if source else UNKNOWN


def _p_value(rows: Sequence[Arrivals], planned: Mapping[str, float], sources: Sequence[str]) -> float:
    own = [row for row in rows if row.source in sources]
    looks = srm.running(srm.by(own, tuple(planned), lambda row: row.period).values())
    return srm.srm_p_value(looks, tuple(planned.values()))
