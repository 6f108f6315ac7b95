"""From the checks of a verdict to what the page says: trouble first, with what to do; the rest folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.dashboard.sentences import pieces

CHECKS = {
    "srm": "Split between variants",
    "srm_days": "Split on each day",
    "srm_sources": "Split in each source",
    "accounting": "Accounts add up",
    "multiple_variants": "Several variants",
    "exposure_without_assignment": "Exposures nobody assigned",
    "silent_variant": "Variants that fell silent",
    "covariates": "Alike before the exposure",
    "contaminated_units": "One person, several ids",
    "missing_days": "Days without units",
    "missing_events": "Metrics without events",
    "weekdays": "Days of the week",
    "outliers": "Single units that weigh much",
    "stale_revision": "Old catalogs",
    "bots": "Crawlers",
    "quarantine": "Quarantine",
    "traffic": "Traffic",
}
STATES = {"ok": "fine", "warning": "look at this", "alarm": "alarm", "not_yet_known": "not yet known"}
TROUBLE = ("alarm", "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding in words, each in pieces with whether it is code; one of an older release has no advice."""

    name: str
    state: str
    word: str
    detail: Sequence[tuple[bool, str]]
    advice: Sequence[tuple[bool, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All findings: those that ask for something, alarms first, and the others with one line about them."""

    troubled: Sequence[Check]
    calm: Sequence[Check]
    summary: str


def findings_of(found: Sequence[Mapping[str, Any]]) -> Findings:
    """Sort the entries of a verdict's ``checks``; within a state they keep their order."""
    checks = [_check(one) for one in found]
    calm = [check for check in checks if check.state not in TROUBLE]
    fine = sum(check.state == "ok" for check in calm)
    waiting = len(calm) - fine
    summary = f"{fine} of {len(checks)} checks found nothing" + (
        f", {waiting} cannot tell yet" if waiting else ""
    )
    return Findings(
        troubled=[check for state in TROUBLE for check in checks if check.state == state],
        calm=calm,
        summary=summary,
    )


def _check(found: Mapping[str, Any]) -> Check:
    return Check(
        name=CHECKS.get(found["check"], found["check"]),
        state=found["state"],
        word=STATES.get(found["state"], found["state"]),
        detail=pieces(found["detail"]),
        advice=pieces(found.get("advice", "")),
    )
