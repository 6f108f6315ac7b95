"""Read verdicts: the list, one snapshot, and its CSV and Markdown forms."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from experiments.definitions import Catalog, Experiment
from experiments.lifecycle import Status
from experiments.plans import EVERYTHING
from service.catalog.findings import did_you_mean
from service.errors import ProblemError
from service.storage.ports import Verdicts
from service.storage.records import VerdictSnapshot

COLUMNS = (
    "experiment",
    "phase",
    "metric",
    "role",
    "variant",
    "n",
    "estimate",
    "lift",
    "lift_lower",
    "lift_upper",
    "effect",
    "effect_lower",
    "effect_upper",
    "p_value",
    "e_value",
    "state",
    "contaminated_units",
)
NONE = "n/a"
UNSERVED = {
    Status.DRAFT: "Draft: nobody takes part.",
    Status.PAUSED: "Paused: everybody gets the control value; who took part is counted to the end.",
    Status.STOPPED: "Stopped: everybody gets the control value; who took part is counted to the end.",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line of the list; the members of the verdict are empty before the first one."""

    experiment: str
    status: str
    killed: bool
    standing: str
    phase: int
    owner: str
    statement: str
    decision: str
    variant: str
    text: str
    as_of: str
    computed_at: str

    def members(self) -> dict[str, object]:
        """Return the wire form."""
        return asdict(self)


def listing(catalog: Catalog, killed: frozenset[str], verdicts: Verdicts) -> Sequence[Summary]:
    """Return every experiment of the catalog, by key, with its newest decision."""
    return [
        _summary(
            experiment,
            verdicts.latest_verdict(key),
            killed=key in killed or EVERYTHING in killed,
            standing=standing(catalog, killed, key),
        )
        for key, experiment in sorted(catalog.experiments.items())
    ]


def find(catalog: Catalog, verdicts: Verdicts, key: str) -> VerdictSnapshot:
    """Return the newest snapshot of one experiment; one that left the catalog keeps its last verdict.

    Raises
    ------
    ProblemError
        unknown_experiment or no_verdict_yet, both 404.
    """
    snapshot = verdicts.latest_verdict(key)
    experiment = catalog.experiments.get(key)
    if snapshot is not None and (experiment is None or experiment.phase <= snapshot.phase):
        return snapshot
    if experiment is None:
        raise ProblemError(404, "unknown_experiment", _unknown(catalog, key))
    if experiment.status is Status.DRAFT:
        detail = f"{key} is a draft: `opportune start {key}`"
    else:
        detail = f"the worker judges {key} within seconds of the first event after the launch"
    raise ProblemError(404, "no_verdict_yet", detail)


def standing(catalog: Catalog, killed: frozenset[str], key: str) -> str:
    """Say why nobody gets a treatment now, whatever the verdict says; empty while it runs."""
    experiment = catalog.experiments.get(key)
    if experiment is None:
        return "It has left the catalog: this is its last verdict."
    if EVERYTHING in killed:
        return "Killed, as everything is: everybody gets the control value until `opportune revive '*'`."
    if key in killed:
        return f"Killed: everybody gets the control value until `opportune revive {key}`."
    return UNSERVED.get(experiment.status, "")


def body_of(snapshot: VerdictSnapshot) -> dict[str, Any]:
    """Return the parsed verdict JSON."""
    parsed: dict[str, Any] = json.loads(snapshot.body)
    return parsed


def to_csv(body: Mapping[str, Any]) -> str:
    """Return one row per metric and variant."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in body["metrics"]:
        lift, effect = row.get("lift") or {}, row.get("effect") or {}
        writer.writerow(
            [
                _cell(body["experiment"]),
                body["phase"],
                _cell(row["metric"]),
                row["role"],
                _cell(row["variant"]),
                row["n"],
                row["estimate"],
                *(lift.get(end) for end in ("estimate", "lower", "upper")),
                *(effect.get(end) for end in ("estimate", "lower", "upper")),
                row.get("p_value"),
                row.get("e_value"),
                row["state"],
                body["exposure"].get("contaminated_units"),
            ]
        )
    return out.getvalue()


def to_markdown(body: Mapping[str, Any], *, standing: str = "") -> str:
    """Return the verdict as a page to paste into a ticket; `standing` comes before the text."""
    account = body["exposure"]
    lines = [
        f"# {_inline(body['experiment'])}: {body['decision']}",
        "",
        *([f"**{standing}**", ""] if standing else []),
        body["text"],
        "",
        _stamp(body),
        "",
        "| metric | role | variant | units | mean | lift | interval | state |",
        "|---|---|---|---:|---:|---:|---|---|",
        *(_metric_line(row) for row in body["metrics"]),
        "",
        "| exposures | |",
        "|---|---:|",
        *(f"| {name} | {n} |" for name, n in accounting(account)),
        "",
        *(f"* check {c['check']}: {c['state']}. {c['detail']}" for c in body["checks"]),
        *(f"* warning: {warning}" for warning in body["warnings"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def accounting(account: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the lines of the exposure account in the order in which they add up.

    A verdict of an older release does not know the last one.
    """
    lines = [("exposure events", account["events"]), ("repeats of a unit", account["repeats"])]
    lines += [(f"quarantined: {reason}", n) for reason, n in sorted(account["quarantined"].items())]
    lines += [("units exposed", sum(account["exposed_units"].values()))]
    lines += [(f"left out: {reason}", n) for reason, n in sorted(account["excluded"].items())]
    lines += [("units analysed", sum(account["analysed"].values()))]
    if "contaminated_units" in account:
        lines.append(("contaminated, not left out", account["contaminated_units"]))
    return lines


def share(value: float | None, *, signed: bool = True) -> str:
    """Return a fraction as per cent for people."""
    if value is None:
        return NONE
    return f"{value * 100:+.1f} %" if signed else f"{value * 100:.2f} %"


def interval(bounds: Mapping[str, Any] | None) -> str:
    """Return an interval of fractions in words; an open end is said to be open."""
    low, high = (bounds or {}).get("lower"), (bounds or {}).get("upper")
    if low is None and high is None:
        return NONE
    if low is None:
        return f"up to {share(high)}"
    return f"{share(low)} to {share(high)}" if high is not None else f"from {share(low)}"


def when(moment: datetime) -> str:
    """Return a time for people, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _unknown(catalog: Catalog, key: str) -> str:
    hint = did_you_mean(key, catalog.experiments)
    return f"no experiment {key[:64]!r} is in the live catalog{f'; {hint}' if hint else ''}"


def _summary(
    experiment: Experiment, snapshot: VerdictSnapshot | None, *, killed: bool, standing: str
) -> Summary:
    current = snapshot if snapshot and snapshot.phase == experiment.phase else None
    body = body_of(current) if current else {}
    return Summary(
        experiment=experiment.key,
        status=experiment.status.value,
        killed=killed,
        standing=standing,
        phase=experiment.phase,
        owner=experiment.owner,
        statement=experiment.statement,
        decision=body.get("decision") or "",
        variant=body.get("variant") or "",
        text=body.get("text") or "",
        as_of=body.get("as_of") or "",
        computed_at="" if current is None else current.computed_at.astimezone(UTC).isoformat(),
    )


def _metric_line(row: Mapping[str, Any]) -> str:
    mean = NONE if row["estimate"] is None else f"{row['estimate']:.6g}"
    lift = row.get("lift") or {}
    cells = (
        _inline(row["metric"]),
        row["role"],
        _inline(row["variant"]),
        str(row["n"]),
        mean,
        share(lift.get("estimate")),
        interval(lift),
        row["state"],
    )
    return f"| {' | '.join(cells)} |"


def _stamp(body: Mapping[str, Any]) -> str:
    place = f"phase {body['phase']}, revision {body['revision']}, log offset {body['log_offset']}"
    return f"*As of {body['as_of']}, {place}.*"


def _cell(text: str) -> str:
    # A spreadsheet runs a cell that begins like a formula.
    return f"'{text}" if text.startswith(FORMULA) else text


def _inline(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
