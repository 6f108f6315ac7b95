"""A verdict to take along: its metrics as CSV, all of it as Markdown."""

import csv
from collections.abc import Mapping
from io import StringIO
from typing import Any

from service.use_cases import verdict_words as words

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
    "decision",
    "rule",
    "as_of",
    "test",
    "level",
    "margin",
    "margin_relative",
    "limit",
    "alarms",
    "exploratory",
    "final",
    "money_metric",
    "money_currency",
    "money_per_unit",
    "money_per_unit_lower",
    "money_per_unit_upper",
    "money_so_far",
)
ENDS = ("estimate", "lower", "upper")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
NO_RESULT = "**These numbers must not be read as a result: a check has raised an alarm.**"
HEADER = "| metric | role | variant | units | estimate | difference | interval | level | limit | state |"


def to_csv(body: Mapping[str, Any]) -> str:
    """Return one row per metric and variant."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    alarms = " ".join(check["check"] for check in body["checks"] if check["state"] == "alarm")
    for row in body["metrics"]:
        lift, effect, margin = (row.get(name) or {} for name in ("lift", "effect", "margin"))
        writer.writerow(
            [
                _cell(body["experiment"]),
                body["phase"],
                _cell(row["metric"]),
                row["role"],
                _cell(row["variant"]),
                row["n"],
                row["estimate"],
                *(lift.get(end) for end in ENDS),
                *(effect.get(end) for end in ENDS),
                row.get("p_value"),
                row.get("e_value"),
                words.state(body, row),
                body["exposure"].get("contaminated_units"),
                body["decision"],
                body["rule"],
                body["as_of"],
                row.get("test"),
                row.get("level"),
                margin.get("value"),
                _flag(margin.get("relative")),
                words.signed_limit(body["record"], row),
                alarms,
                _flag(row.get("exploratory")),
                _flag(body.get("final")),
                *_money_cells(body.get("money"), row["variant"]),
            ]
        )
    return out.getvalue()


def to_markdown(body: Mapping[str, Any], *, standing: str = "") -> str:
    """Return the verdict as a page to paste into a ticket; `standing` comes before the text."""
    lines = [
        f"# {_inline(body['experiment'])}: {body['decision'].replace('_', ' ')}",
        "",
        *([f"**{standing}**", ""] if standing else []),
        *(line for part in words.parts(body["text"]) for line in (part.text, "")),
        _stamp(body),
        "",
        *([NO_RESULT, ""] if body["decision"] == words.UNTRUSTWORTHY else []),
        HEADER,
        "|---|---|---|---:|---:|---:|---|---:|---:|---|",
        *(_metric_line(body, row) for row in body["metrics"]),
        "",
        *([note, ""] if (note := words.day_by_day(body)) else []),
        *_money_lines(body),
        "| exposures | |",
        "|---|---:|",
        *(f"| {name} | {n:,} |" for name, n in words.accounting(body["exposure"])),
        "",
        *(_check_line(check) for check in body["checks"]),
        *(f"* warning: {warning}" for warning in body["warnings"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _metric_line(body: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    record, control = body["record"], row["state"] == "control"
    metric, said = record["metrics"][row["metric"]], words.difference(body["record"], row)
    unadjusted = f" (unadjusted {said.unadjusted})" if said.unadjusted else ""
    role = f"{row['role']}, exploratory" if row.get("exploratory") else row["role"]
    name = f"`{row['metric']}`"
    if metric["label"]:
        name = f"{words.label(record, row['metric'])} ({name})"
    state = words.state(body, row)
    cells = (
        name,
        role,
        f"`{row['variant']}`",
        f"{row['n']:,}",
        words.estimate(metric, row["estimate"]),
        "" if control else said.estimate + unadjusted,
        "" if control else said.interval,
        words.level(row),
        "" if control else words.limit(record, row),
        words.STATES.get(state, state),
    )
    return f"| {' | '.join(map(_inline, cells))} |"


def _money_cells(money: Mapping[str, Any] | None, variant: str) -> list[object]:
    """Return what a variant earns; control earns nothing more than itself."""
    earned = next((one for one in (money or {}).get("variants", ()) if one["variant"] == variant), None)
    if money is None or earned is None:
        return [None] * 6
    names = [_cell(money["metric"]), money["currency"]]
    return [*names, *(earned["per_unit"][end] for end in ENDS), earned["so_far"]["estimate"]]


def _money_lines(body: Mapping[str, Any]) -> list[str]:
    rows = words.worths(body)
    if not rows:
        return []
    money = body["money"]
    cells = [(f"`{r.variant}`", r.cost, r.per_unit, r.interval, r.units, r.so_far, r.projected) for r in rows]
    head = ("variant", "extra cost of a unit", "per unit", "interval", "units", "so far")
    return [
        f"**Money** against control, {_inline(words.money_note(body))}:",
        "",
        f"| {' | '.join((*head, words.projection(body)))} |",
        "|---|---:|---:|---|---:|---:|---:|",
        *(f"| {' | '.join(map(_inline, row))} |" for row in cells),
        "",
        *(f"* included: {_inline(text)}" for text in money["included"]),
        *(f"* not included: {_inline(text)}" for text in money["not_included"]),
        "",
    ]


def _flag(value: object) -> str | None:
    return None if value is None else str(value).lower()


def _check_line(check: Mapping[str, Any]) -> str:
    told = f"{check['state'].replace('_', ' ')}. {check['detail']} {check.get('advice', '')}"
    return f"* check {check['check']}: {told}".rstrip()


def _stamp(body: Mapping[str, Any]) -> str:
    place = f"phase {body['phase']}, revision {body['revision']}, log offset {body['log_offset']}"
    return f"*As of {body['as_of']}, {place}.*"


def _cell(text: str) -> str:
    # A spreadsheet runs a cell that begins like a formula.
    return f"'{text}" if text.startswith(FORMULA) else text


def _inline(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
