"""What follows from a verdict: what is written down, what is done, and why. Pure: it acts on nothing."""

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from experiments.decision import Decision, Rule
from experiments.definitions import Experiment
from experiments.lifecycle import Status, opened_by, unlocked
from experiments.notation import percent


class Action(StrEnum):
    """What was done; `RAMP_HOLD` and `RAMP_STEP` are about the next step of a ramp."""

    NONE = "none"
    ROLLBACK = "rollback"
    SHIP = "ship"
    RAMP_HOLD = "ramp_hold"
    RAMP_STEP = "ramp_step"


RAMP = frozenset({Action.RAMP_HOLD, Action.RAMP_STEP})
DECIDED = {
    Decision.SHIP: "ship",
    Decision.ROLLBACK: "roll back",
    Decision.KEEP_RUNNING: "keep running",
    Decision.NO_EFFECT: "no effect",
    Decision.INCONCLUSIVE: "inconclusive",
    Decision.UNTRUSTWORTHY: "cannot be trusted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a verdict says, as far as anything follows from it.

    Attributes
    ----------
    variant : str
        Which treatment the decision is about; empty for none.
    worse : set of (metric, variant)
        Guardrails that are worse than their limit.
    exposed : int
        Units exposed so far.
    unguarded : bool
        Whether all of its guardrails were added after the launch, so that none of them was planned.
    """

    decision: Decision
    variant: str = ""
    rule: str = Rule.NOT_YET_KNOWN.value
    worse: Set[tuple[str, str]] = frozenset()
    exposed: int = 0
    unguarded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was recorded of a phase last; nothing recorded is the same as to keep running.

    `done` holds what was done since the decision became this one.
    """

    decision: Decision = Decision.KEEP_RUNNING
    variant: str = ""
    worse: Set[tuple[str, str]] = frozenset()
    done: Set[Action] = field(default=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What to write down and to do: from now on `ramp_steps` may open, by a gate of `ramp_share_bp`."""

    rule: str
    action: Action
    reason: str
    ramp_steps: int | None = None
    ramp_share_bp: int | None = None


def follow(experiment: Experiment, past: Past, seen: Seen, *, killed: bool, now: datetime) -> Record | None:
    """Return what a verdict changes, or None when everything that it says was recorded already.

    Recorded are: another decision or variant; a guardrail that became worse than its limit; and what the
    catalog lets rules do, when it can be done only now (the catalog was changed, a kill was undone). Nothing
    here waits for `min_runtime`: the verdict does before it says to ship, and harm is not waited for.

    Parameters
    ----------
    experiment : Experiment
        The live plan.
    past : Past
        What was recorded last.
    seen : Seen
        The newest verdict of its phase.
    killed : bool
        Whether everybody gets the control value now: nothing is shipped then.
    now : datetime
        Aware; outside of its schedule nothing is shipped either.

    Returns
    -------
    Record or None
        What was done once (and perhaps undone by somebody) is not done again while the decision stands.

    Examples
    --------
    >>> from experiments.definitions import MetricPlan, Variant
    >>> halves = (Variant(key="a", value=1, weight_bp=5000), Variant(key="b", value=2, weight_bp=5000))
    >>> e = Experiment(key="x", variants=halves, metrics=MetricPlan(primary="buy"))
    >>> now = datetime.fromisoformat("2027-01-01T00:00Z")
    >>> follow(e, Past(), Seen(decision=Decision.KEEP_RUNNING), killed=False, now=now) is None
    True
    >>> follow(e, Past(), Seen(decision=Decision.SHIP, variant="b"), killed=False, now=now).action.value
    'none'
    """
    moved = (seen.decision, seen.variant) != (past.decision, past.variant)
    entered = sorted(seen.worse - past.worse)
    action, why_not = _action(experiment, seen, killed=killed, now=now)
    done = frozenset() if moved else past.done
    new_harm = bool(entered) and action is Action.ROLLBACK
    due = action is not Action.NONE and (action not in done or new_harm)
    if not (moved or entered or due):
        return None
    action = action if due else Action.NONE
    said = [_decided(past, seen) if moved else f"Still decided: {_words(seen.decision, seen.variant)}."]
    said += [
        f"The guardrail {metric} became worse than its limit for {variant}." for metric, variant in entered
    ]
    said.append(_done(experiment, seen, action) if due else why_not)
    rule = seen.rule if moved or not entered else Rule.GUARDRAIL_WORSE.value
    return Record(rule=rule, action=action, reason=" ".join(part for part in said if part))


def follow_ramp(
    experiment: Experiment, seen: Seen | None, held: str, *, killed: bool, now: datetime
) -> Record | None:
    """Return whether the gated step of a ramp whose time has come opens or waits; None when nothing is new.

    Parameters
    ----------
    experiment : Experiment
        The live plan, with how many steps of its ramp may open already.
    seen : Seen or None
        The newest verdict of its phase, if there is one.
    held : str
        The reason for which the ramp was recorded to wait last; empty if its last step opened.
    killed : bool
        Whether everybody gets the control value now.
    now : datetime
        Aware.

    Returns
    -------
    Record or None
    """
    serves = experiment.status in (Status.SCHEDULED, Status.RUNNING) and experiment.schedule.is_open(now)
    opens = opened_by(experiment.ramp, experiment.ramp_limit, now)
    if not serves or experiment.shipped or opens is None:
        return None
    number = len(unlocked(experiment.ramp, experiment.ramp_limit)) + 1
    share_bp = experiment.ramp[number - 1].share_bp
    step = f"Step {number} of the ramp, {percent(share_bp)},"
    rule = f"ramp_step_{number}"
    if why := _why_held(seen, killed=killed):
        reason = f"{step} waits: {why}."
        return None if reason == held else Record(rule=rule, action=Action.RAMP_HOLD, reason=reason)
    known = "no guardrail is known to be worse than its limit and no check alarms"
    reason = f"{step} is open: its time has come, {known}."
    return Record(rule=rule, action=Action.RAMP_STEP, reason=reason, ramp_steps=opens, ramp_share_bp=share_bp)


def _why_held(seen: Seen | None, *, killed: bool) -> str:
    if killed:
        return "it is killed, so nobody gets a treatment"
    if seen is None:
        return "there is no verdict of this phase yet"
    worse = "; ".join(
        f"the guardrail {metric} is worse than its limit for {variant}"
        for metric, variant in sorted(seen.worse)
    )
    reasons = (
        (seen.decision is Decision.UNTRUSTWORTHY, f"its data cannot be trusted (check {seen.rule})"),
        (
            seen.unguarded,
            "its guardrails were added after the launch, so none of them guards it in this phase",
        ),
        (bool(worse), worse),
        (seen.decision is Decision.ROLLBACK, f"the verdict is to roll back {seen.variant}"),
        (not seen.exposed, "no unit has been exposed yet, so nothing is known of its guardrails"),
    )
    return next((why for holds, why in reasons if holds), "")


def _action(experiment: Experiment, seen: Seen, *, killed: bool, now: datetime) -> tuple[Action, str]:
    """Return what the plan lets rules do about a verdict now, or why nothing is done.

    What a person has shipped instead of the variant that the verdict is about is not overruled.
    """
    plan, ships = experiment.decide, seen.decision is Decision.SHIP
    start_at, shipped = experiment.schedule.start_at, experiment.shipped
    when = "has not begun" if start_at is not None and now < start_at else "is over"
    if seen.decision is Decision.ROLLBACK:
        action, asked = Action.ROLLBACK, plan.automatic.rollback
        open_to = experiment.status is not Status.STOPPED
    elif seen.decision is Decision.SHIP:
        action, asked = Action.SHIP, plan.automatic.ship
        open_to = experiment.status in (Status.SCHEDULED, Status.RUNNING)
    else:
        return Action.NONE, ""
    refusals = (
        (not asked, f"the catalog says automatic: {plan.automatic.word}"),
        (not open_to, f"it is {experiment.status.value}"),
        (killed and ships, "it is killed"),
        (ships and not experiment.schedule.is_open(now), f"its schedule {when}"),
        (shipped not in ("", seen.variant), f"{shipped} is shipped to everybody, which stays so"),
    )
    why_not = next((why for refused, why in refusals if refused), "")
    return (Action.NONE, f"Nothing was done: {why_not}.") if why_not else (action, "")


def _decided(past: Past, seen: Seen) -> str:
    now, before = _words(seen.decision, seen.variant), _words(past.decision, past.variant)
    return f"Decided: {now} (rule {seen.rule}); before: {before}."


def _words(decision: Decision, variant: str) -> str:
    return f"{DECIDED[decision]} {variant}".strip()


def _done(experiment: Experiment, seen: Seen, action: Action) -> str:
    key = experiment.key
    if action is Action.ROLLBACK:
        return f"Done: it is killed, everybody gets the control value until `opportune revive {key}`."
    return f"Done: everybody gets {seen.variant} until `opportune unship {key}`."
