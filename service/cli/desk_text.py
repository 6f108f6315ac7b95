"""How the desk speaks: aligned, in plain words, ending with the next step."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from experiments.definitions import Experiment
from experiments.goals import GoalState
from experiments.notation import percent
from service.catalog.diff import Difference
from service.use_cases.forecast import Needed
from service.use_cases.goal_words import WORDS
from service.use_cases.launch import Applied, Plan
from service.use_cases.movements import Movement
from service.use_cases.steer import Desk, Row, Steered

NOUNS = {
    "experiments": "experiment",
    "flags": "flag",
    "metrics": "metric",
    "audiences": "audience",
    "layers": "layer",
    "holdouts": "holdout",
    "lists": "list",
    "recommenders": "recommender",
    "placements": "placement",
    "goals": "goal",
    "data": "rules of",
}
BAR = 30


class Progress:
    """A bar on standard error while a terminal looks on; silent otherwise."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        if self.shown and total:
            filled = BAR * done // total
            click.echo(
                f"\r{self.label} [{'#' * filled}{' ' * (BAR - filled)}] {done:,}/{total:,}",
                err=True,
                nl=False,
            )
            if done >= total:
                click.echo("", err=True)


def count(n: int, noun: str) -> str:
    """Return '1 file', '2 files'."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def shell(text: str) -> str:
    """Return `text` so that a shell takes it as it is."""
    return shlex.quote(text)


def shown(path: Path) -> str:
    """Return `path` relative to the current folder when it lies inside it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def table(rows: Sequence[Sequence[str]], *, indent: str = "") -> str:
    """Return rows with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(indent + line.rstrip() for line in lines)


def plan_text(plan: Plan) -> str:
    """Return a plan as a person reads it."""
    if not plan.differences:
        live = f"revision {plan.live} is live" if plan.live else "nothing is live yet"
        told = f"The folder and the live catalog say the same: {live}. Nothing to do."
        if plan.watched_at is None:
            return told
        by_whom = f"The worker that watches the folder applied it by itself at {plan.watched_at:%H:%M:%S} UTC"
        return f"{told}\n{by_whom}: a saved file goes live without `apply`."
    head = f"revision {plan.live} -> {plan.live + 1}" if plan.live else "first revision"
    moved = {movement.key: movement for movement in plan.movements}
    blocks = [
        head,
        *plan.notes,
        *(f"CAREFUL: {text}" for text in plan.dependent),
        *("\n".join(_difference(d, plan, moved.get(d.key))) for d in plan.differences),
    ]
    signs = [d.sign for d in plan.differences]
    numbers = f"{signs.count('+')} to add, {signs.count('~')} to change, {signs.count('-')} to remove"
    if plan.blocked:
        blocks += ["\n".join(finding.text() for finding in plan.blocked)]
        end = f"Plan: {numbers}. UNSAFE: `opportune apply` refuses this. Nothing was changed."
    else:
        end = f"Plan: {numbers}. Nothing was changed yet. To make it live: opportune apply"
    return "\n\n".join([*blocks, end])


def _difference(difference: Difference, plan: Plan, movement: Movement | None) -> Iterator[str]:
    noun = NOUNS[difference.kind]
    yield f"{difference.sign} {noun} {difference.key}" + ("   new" if difference.sign == "+" else "")
    if difference.sign == "~":
        details = [(d.name, f"{d.before} -> {d.after}") for d in difference.details]
    elif difference.sign == "+":
        details = [(d.name, d.after) for d in difference.details]
    else:
        details = []
    if details:
        yield table(details, indent="    ")
    for note in _notes(difference, plan, movement):
        yield f"    {note}"


def _notes(difference: Difference, plan: Plan, movement: Movement | None) -> Iterator[str]:
    key = difference.key
    for warning in plan.warnings.get((difference.kind, key), ()):
        yield f"CAREFUL: {warning}"
    if key in plan.starts and difference.kind in ("experiments", "flags"):
        yield f"CAREFUL: {plan.starts[key]}"
    if difference.kind != "experiments":
        return
    if key in plan.overlaps:
        yield f"overlap: {plan.overlaps[key]}"
    unsafe = any(f"'{key}'" in finding.message for finding in plan.blocked)
    if movement:
        yield _movement(movement, unsafe=unsafe, new_phase=_new_phase(key, plan))
    elif difference.sign == "+":
        yield "safe: nobody takes part yet, so nobody moves"
        yield from _needed(plan.loaded.catalog.experiments[key], plan.needed[key])
    elif difference.sign == "-":
        yield "everybody gets what the page shows without it; its key stays taken"
    else:
        yield "UNSAFE: see below" if unsafe else "safe: nobody moves"


def _needed(experiment: Experiment, needed: Needed) -> Iterator[str]:
    mde, power = experiment.analysis.mde, experiment.analysis.power
    yield f"a true effect of {mde * 100:g}% relative is found, counting people of all variants together,"
    yield (
        f"by about {needed.half:,} people in half of such experiments, "
        f"by about {needed.planned:,} in {power * 100:g}% of them"
    )


def _movement(movement: Movement, *, unsafe: bool, new_phase: bool) -> str:
    m = movement.moved
    share = f" ({100 * m.move / m.enrolled:.1f}%)" if m.enrolled else ""
    counts = (
        f"of {m.enrolled:,} enrolled, {m.stay:,} keep their variant, {m.move:,}{share} change it, "
        f"{m.leave:,} leave, {m.join:,} join [{movement.source}]"
    )
    if new_phase:
        return f"NEW PHASE: everybody is assigned anew and the analysis starts again; {counts}"
    return f"{'UNSAFE' if unsafe or m.move or m.leave else 'safe'}: {counts}"


def _new_phase(key: str, plan: Plan) -> bool:
    before = plan.previous.catalog.experiments.get(key) if plan.previous else None
    after = plan.loaded.catalog.experiments.get(key)
    return before is not None and after is not None and after.phase > before.phase


def plan_members(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON members."""
    return {
        "live": plan.live,
        "differences": [asdict(d) for d in plan.differences],
        "units": {
            m.key: {
                "source": m.source,
                **{name: getattr(m.moved, name) for name in ("enrolled", "stay", "move", "leave", "join")},
            }
            for m in plan.movements
        },
        "needed": {key: asdict(needed) for key, needed in plan.needed.items()},
        "warnings": {key: "; ".join(texts) for (_kind, key), texts in plan.warnings.items()},
        "overlaps": dict(plan.overlaps),
        "dependent": list(plan.dependent),
        "starts": dict(plan.starts),
        "notes": list(plan.notes),
        "blocked": [finding.members() for finding in plan.blocked],
    }


def applied_text(applied: Applied) -> str:
    """Return what `apply` did."""
    if not applied.changed:
        return f"Revision {applied.revision} is live already; nothing changed."
    told = f"Revision {applied.revision} is live. Workers serve it within 2 seconds. See it: opportune status"
    return "\n".join([told, *(f"Running now: {started}." for started in applied.started)])


def steered_text(done: Steered) -> str:
    """Return what start, stop or ramp did."""
    values = ", ".join(f"{name}: {value}" for name, value in done.values.items())
    lines = [f"{done.file}: {values}", applied_text(replace(done.applied, started=()))]
    if done.restored:
        lines.insert(0, f"{done.file} is brought back from the live revision: the folder had lost it")
    if done.others:
        lines.append(f"Also live now, as it stood in the folder: {', '.join(done.others)}.")
    if done.values.get("status") == "running" and isinstance(done.before, Experiment):
        lines.append(f"Next: let the page report who sees it; then `opportune verdict {done.key}`.")
    if done.values.get("status") == "stopped":
        lines.append("Everybody gets the control's value now. The verdict stays readable.")
    return "\n".join(lines)


def status_text(desk: Desk) -> str:
    """Return what is live as a person reads it."""
    if desk.stored is None:
        return f"Nothing is live yet. Catalog folder: {shown(desk.folder)}\n{_folder(desk)}"
    applied = f"{desk.stored.applied_at:%Y-%m-%d %H:%M} UTC by {desk.stored.applied_by}"
    lines = [f"revision   {desk.stored.revision}, applied {applied}", f"catalog    {shown(desk.folder)}"]
    lines.append(f"           {_folder(desk)}")
    if "*" in desk.killed:
        lines.append("KILLED     everything serves the control's value; undo: opportune revive '*'")
    if desk.goals:
        told = ", ".join(f"{n} {WORDS[GoalState(state)].lower()}" for state, n in desk.goals.items())
        lines.append(f"goals      {told}: opportune goals")
    return "\n".join([*lines, "", _rows(desk.rows) if desk.rows else "No experiment and no flag is defined."])


def _rows(rows: Sequence[Row]) -> str:
    layers = any(row.layer for row in rows)
    header = ("", "status", "share", *(["layer"] if layers else []), "exposed", "verdict", "")
    cells = (
        (
            f"{row.kind} {row.key}",
            row.status,
            _share(row),
            *([row.layer or "-"] if layers else []),
            "-" if row.exposed is None else f"{row.exposed:,}",
            row.decision or "-",
            "KILLED" if row.killed else f"SHIPPED {row.shipped}" if row.shipped else "",
        )
        for row in rows
    )
    waiting = [f"{row.key}: {row.waits}" for row in rows if row.waits]
    return "\n".join([table([header, *cells]), *([""] if waiting else []), *waiting])


def _share(row: Row) -> str:
    ramp = "" if row.ramp_to_bp is None else f", ramp to {percent(row.ramp_to_bp)}"
    return f"{percent(row.share_bp)}{ramp}"


def _folder(desk: Desk) -> str:
    if desk.refused:
        return f"REFUSED: {desk.refused}\n           Nothing of the folder is applied: opportune plan"
    if desk.problem:
        return (
            f"PROBLEM: {desk.problem}\n"
            "           Nothing of the folder is applied until it is mended: opportune lint"
        )
    if desk.pending:
        return f"{count(desk.pending, 'change')} not live yet: opportune plan"
    return (
        "in step with the live revision"
        if desk.stored
        else "it defines nothing yet: opportune new experiment NAME"
    )
