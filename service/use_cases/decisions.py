"""From verdicts to decisions: load what was said and done, decide (pure), record it once, with its effect."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from experiments.actions import RAMP, Action, Past, Record, Seen, follow, follow_ramp
from experiments.decision import Decision
from experiments.definitions import Experiment
from experiments.lifecycle import Status, opened_by
from experiments.plans import EVERYTHING
from experiments.states import MetricState, Role
from experiments.steering import steered_experiment
from service.catalog import LoadedCatalog
from service.catalog.webhooks import EventKind, told_of
from service.log import logger
from service.storage.analysis_records import Change, OutboxMessage, RecordedDecision
from service.storage.ports import Store, StoreConflictError, StoreUnavailableError
from service.storage.records import LiveState, VerdictSnapshot
from service.storage.rows import to_json
from service.use_cases.catalog_watch import Tell, quiet
from service.use_cases.verdicts import body_of

LOOK_BACK = 200
"""So many decisions of a phase are read, steps of its ramp aside; what stands is among the newest of them."""
DECISIONS = frozenset(Action) - RAMP
MOST_TEXT = 8_000
TYPES = {EventKind.DECISION: "experiment.decided", EventKind.RAMP: "experiment.ramped"}

NewId = Callable[[], str]


class DecisionsFailedError(Exception):
    """Some experiments could not be decided about."""


class Place(NamedTuple):
    """What all that follows from a verdict depends on, a gate whose time has come aside."""

    verdict: tuple[int, int] | None
    live_version: int
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What all experiments of one pass share; `public_url` is where people reach the pages, or empty.

    `settled` goes on from one pass to the next: where each experiment was when nothing was left to do.
    `tell` is given one line for each decision, for the person at the terminal.
    """

    store: Store
    revision: int
    loaded: LoadedCatalog
    public_url: str
    new_id: NewId
    now: datetime
    settled: dict[str, Place] = field(default_factory=dict)
    tell: Tell = quiet


def decision_id(decision: RecordedDecision) -> str:
    """Return the name of a decision: keys have no dots."""
    return f"{decision.experiment}.{decision.phase}.d{decision.number}"


def find_decision(store: Store, name: str) -> RecordedDecision | None:
    """Return the decision of that name, or None."""
    named = parse_decision_id(name)
    return store.decision(*named) if named else None


def wire_form(decision: RecordedDecision) -> dict[str, object]:
    """Return a decision as the API and messages tell it."""
    return {"id": decision_id(decision), **_members(decision)}


def parse_decision_id(text: str) -> tuple[str, int, int] | None:
    """Return experiment, phase and number of a decision's name, None for anything else."""
    key, _dot, rest = text.partition(".")
    phase, _dot, number = rest.partition(".d")
    whole = all(
        part.isascii() and part.isdecimal() and len(part) <= len("999999999") for part in (phase, number)
    )
    return (key, int(phase), int(number)) if key and whole else None


def act_on_verdicts(bench: Pass) -> int:
    """Record, for every experiment, what its newest verdict changes, and do it; return how much that was.

    Harmless at any time and in several processes at once: what was recorded is not recorded again, and what
    is to be done is done to the state that it was decided upon, or left to the next pass.

    Raises
    ------
    DecisionsFailedError
        If some experiments could not be decided about; the others were.
    StoreUnavailableError, StoreConflictError
        If the store is away, or another process has got the lease.
    """
    n, failed = 0, []
    state, numbers = bench.store.live_state(), bench.store.verdict_numbers()
    for key, planned in bench.loaded.catalog.experiments.items():
        if state.revision != bench.revision:
            # The catalog changed meanwhile; the next pass reads it.
            break
        experiment = steered_experiment(planned, state.steering)
        place = Place(numbers.get(key), state.version, experiment.schedule.is_open(bench.now))
        is_due = opened_by(experiment.ramp, experiment.ramp_limit, bench.now) is not None
        if experiment.status is Status.DRAFT or (bench.settled.get(key) == place and not is_due):
            continue
        try:
            done = _act(bench, planned, state)
        except (StoreUnavailableError, StoreConflictError):
            raise
        except Exception:  # noqa: BLE001 - one experiment's trouble must not silence the others
            logger().exception("decision_failed", experiment=key)
            failed.append(key)
            continue
        n += sum(done)
        if done:
            state = bench.store.live_state()
        else:
            bench.settled[key] = place
    if failed:
        raise DecisionsFailedError(
            f"nothing could be decided about {', '.join(failed)}; `decision_failed` in the log has the cause"
        )
    return n


def _act(bench: Pass, experiment: Experiment, state: LiveState) -> Sequence[bool]:
    """Return, for each record that was due, whether it was made; False is for who came too late."""
    found = bench.store.latest_verdict(experiment.key)
    verdict = found if found and found.phase == experiment.phase else None
    if verdict is not None and verdict.revision != bench.revision and not verdict.final:
        # It was judged by other rules; the next verdict is on its way.
        return ()
    asks = [_of_verdict] if verdict is not None else []
    if any(step.gated for step in experiment.ramp):
        asks.append(_of_ramp)
    done: list[bool] = []
    case: _Case | None = None
    for ask in asks:
        if done:
            state = bench.store.live_state()
            if state.revision != bench.revision:
                break
        case = case or _case(bench.store, experiment, verdict, state)
        record = ask(bench, case)
        if record is not None:
            done.append(_save(bench, case, record))
            case = None
    return done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One experiment as it is now.

    `history` holds its phase's decisions, newest first, steps of the ramp aside; `held` is why the ramp was
    recorded to wait last, empty if its last step opened; `number` is that of the next record, whatever it is.
    """

    experiment: Experiment
    verdict: VerdictSnapshot | None
    seen: Seen | None
    history: Sequence[RecordedDecision]
    held: str
    number: int
    killed: bool
    live_version: int


def _case(store: Store, experiment: Experiment, verdict: VerdictSnapshot | None, state: LiveState) -> _Case:
    key, phase = experiment.key, experiment.phase
    newest = store.decisions(key, phase=phase, limit=1)
    steps: Sequence[RecordedDecision] = ()
    if any(step.gated for step in experiment.ramp):
        steps = store.decisions(key, phase=phase, limit=1, but=DECISIONS)
    return _Case(
        experiment=steered_experiment(experiment, state.steering),
        verdict=verdict,
        seen=seen_in(body_of(verdict)) if verdict else None,
        history=store.decisions(key, phase=phase, limit=LOOK_BACK, but=RAMP) if newest else (),
        held=steps[0].reason if steps and steps[0].action == Action.RAMP_HOLD else "",
        number=newest[0].number + 1 if newest else 1,
        killed=bool(state.killed & {key, EVERYTHING}),
        live_version=state.version,
    )


def _of_verdict(bench: Pass, case: _Case) -> Record | None:
    if case.seen is None:
        return None
    past = _past(bench.store, case.history, case.seen)
    return follow(case.experiment, past, case.seen, killed=case.killed, now=bench.now)


def _of_ramp(bench: Pass, case: _Case) -> Record | None:
    return follow_ramp(case.experiment, case.seen, case.held, killed=case.killed, now=bench.now)


def _past(store: Store, mine: Sequence[RecordedDecision], seen: Seen) -> Past:
    """Return what stands of a phase by its decisions, newest first."""
    if not mine:
        return Past()
    last = mine[0]
    same = len(mine)
    for i, one in enumerate(mine):
        if (one.decision, one.variant) != (last.decision, last.variant):
            same = i
            break
    snapshot = store.verdict(last.experiment, last.phase, last.verdict)
    return Past(
        decision=Decision(last.decision),
        variant=last.variant,
        worse=seen_in(body_of(snapshot)).worse if snapshot else seen.worse,
        done=frozenset(Action(one.action) for one in mine[:same]) - {Action.NONE},
    )


def seen_in(body: dict[str, Any]) -> Seen:
    """Return what a verdict says, as far as anything follows from it."""
    guardrails = [reading for reading in body["metrics"] if reading["role"] == Role.GUARDRAIL]
    planned = [reading for reading in guardrails if not reading.get("exploratory")]
    worse = {
        (reading["metric"], reading["variant"])
        for reading in planned
        if reading["state"] == MetricState.WORSE
    }
    return Seen(
        decision=Decision(body["decision"]),
        variant=body["variant"] or "",
        rule=body["rule"],
        worse=frozenset(worse),
        exposed=body["exposure"]["first"],
        unguarded=bool(guardrails) and not planned,
    )


def _save(bench: Pass, case: _Case, record: Record) -> bool:
    experiment, verdict = case.experiment, case.verdict
    decision = RecordedDecision(
        experiment=experiment.key,
        phase=experiment.phase,
        number=case.number,
        verdict=verdict.number if verdict else 0,
        revision=bench.revision,
        decision=(case.seen.decision if case.seen else Decision.KEEP_RUNNING).value,
        variant=case.seen.variant if case.seen else "",
        rule=record.rule,
        action=record.action.value,
        reason=record.reason,
        decided_at=bench.now,
    )
    kind = EventKind.RAMP if record.action in RAMP else EventKind.DECISION
    change = Change(
        decision=decision,
        messages=tuple(_messages(bench, case, decision, kind)),
        kills=record.action is Action.ROLLBACK,
        ships=decision.variant if record.action is Action.SHIP else None,
        ramp_steps=record.ramp_steps,
        ramp_share_bp=record.ramp_share_bp,
        live_version=case.live_version,
    )
    if not bench.store.record_decision(change):
        return False
    logger().info("experiment_decided", **wire_form(decision))
    bench.tell(f"opportune: {decision.experiment}: {decision.reason}")
    return True


def _members(decision: RecordedDecision) -> dict[str, object]:
    named = f"{decision.experiment}.{decision.phase}.{decision.verdict}"
    return {
        "experiment": decision.experiment,
        "phase": decision.phase,
        "decision": decision.decision,
        "variant": decision.variant or None,
        "rule": decision.rule,
        "action": decision.action,
        "reason": decision.reason,
        "verdict": named if decision.verdict else None,
        "revision": decision.revision,
        "decided_at": decision.decided_at.astimezone(UTC).isoformat(),
    }


def _messages(
    bench: Pass, case: _Case, decision: RecordedDecision, kind: EventKind
) -> Iterable[OutboxMessage]:
    endpoints = told_of(case.experiment, bench.loaded.webhooks, kind)
    if not endpoints:
        return
    text = body_of(case.verdict)["text"] if case.verdict else ""
    page = f"{bench.public_url}/experiments/{decision.experiment}" if bench.public_url else None
    payload = to_json(
        {
            "type": TYPES[kind],
            "timestamp": decision.decided_at.astimezone(UTC).isoformat(),
            "data": {
                **wire_form(decision),
                "text": text[:MOST_TEXT],
                "url": page,
            },
        }
    )
    message_id = bench.new_id()
    for endpoint in endpoints:
        yield OutboxMessage(
            message_id=message_id,
            endpoint=endpoint,
            payload=payload,
            created_at=bench.now,
            next_at=bench.now,
        )
