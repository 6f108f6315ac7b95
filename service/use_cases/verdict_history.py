"""How a verdict stood over time: the outline of each snapshot, and what a history tells of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from service.errors import ProblemError
from service.storage.ports import Verdicts
from service.storage.records import VerdictOutline, VerdictSnapshot
from service.use_cases.verdict_inputs import version_of

LIMIT = 1_000
ENDS = ("estimate", "lower", "upper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The primary metric of one treatment as a snapshot said it: a lift with its interval."""

    variant: str
    n: int
    estimate: float | None
    lower: float | None
    upper: float | None

    @property
    def lift(self) -> dict[str, float | None]:
        """The lift with its interval, as a verdict holds it."""
        return {"estimate": self.estimate, "lower": self.lower, "upper": self.upper}

    def members(self) -> dict[str, object]:
        """Return the wire form."""
        return {"variant": self.variant, "n": self.n, "lift": self.lift}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One snapshot in a history."""

    row: VerdictOutline
    variant: str
    rule: str
    metric: str
    treatments: Sequence[Standing]

    def members(self) -> dict[str, object]:
        """Return the wire form."""
        row = self.row
        return {
            "id": row.id,
            "as_of": row.as_of.astimezone(UTC).isoformat(),
            "computed_at": row.computed_at.astimezone(UTC).isoformat(),
            "revision": row.revision,
            "log_offset": row.log_offset,
            "decision": row.decision,
            "variant": self.variant or None,
            "rule": self.rule,
            "metric": self.metric,
            "treatments": [standing.members() for standing in self.treatments],
            "digest": row.digest,
            "final": row.final,
            "version": version_of(row) or None,
        }

    def of(self, variant: str) -> Standing | None:
        """Return one treatment, None where the snapshot did not know it."""
        return next((one for one in self.treatments if one.variant == variant), None)


def outline_of(body: Mapping[str, Any]) -> str:
    """Return what a history tells of a verdict, as JSON: it is kept beside the body."""
    primary = [row for row in body["metrics"] if row["role"] == "primary"]
    members = {
        "variant": body["variant"],
        "rule": body["rule"],
        "metric": primary[0]["metric"] if primary else "",
        "treatments": [
            {"variant": row["variant"], "n": row["n"], **{end: row["lift"][end] for end in ENDS}}
            for row in primary
            if row.get("lift")
        ],
    }
    return json.dumps(members, sort_keys=True, separators=(",", ":"))


def moment_of(row: VerdictOutline) -> Moment:
    """Return what a history tells of a row; of one without an outline by its body."""
    told = json.loads(row.outline)
    if "treatments" not in told:
        told = json.loads(outline_of(told))
    return Moment(
        row=row,
        variant=told["variant"] or "",
        rule=told["rule"],
        metric=told["metric"],
        treatments=[Standing(**one) for one in told["treatments"]],
    )


def history(verdicts: Verdicts, experiment: str, phase: int, *, limit: int = LIMIT) -> Sequence[Moment]:
    """Return up to `limit` newest snapshots of a phase, oldest first."""
    return [moment_of(row) for row in verdicts.verdict_outlines(experiment, phase, limit)]


def turns(verdicts: Verdicts, experiment: str, phase: int, *, limit: int = LIMIT) -> Sequence[Moment]:
    """Return the last snapshot of each day and every change of the decision, oldest first."""
    return [moment_of(row) for row in verdicts.verdict_turns(experiment, phase, limit)]


def members(experiment: str, phase: int, moments: Sequence[Moment]) -> dict[str, object]:
    """Return the wire form of a history."""
    return {
        "experiment": experiment,
        "phase": phase,
        "snapshots": [moment.members() for moment in moments],
    }


def snapshot_named(verdicts: Verdicts, name: str) -> VerdictSnapshot:
    """Return the snapshot of a name such as ``free-shipping.1.17``.

    Raises
    ------
    ProblemError
        unknown_verdict, 404.
    """
    experiment, _, numbers = name.partition(".")
    phase, _, number = numbers.partition(".")
    found = None
    if _is_count(phase) and _is_count(number):
        found = verdicts.verdict(experiment, int(phase), int(number))
    if found is None:
        hint = "names are <experiment>.<phase>.<number>; `opportune verdict history <experiment>` lists them"
        raise ProblemError(404, "unknown_verdict", f"there is no verdict {name[:96]!r}: {hint}")
    return found


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9  # noqa: PLR2004 - as long as a column holds
