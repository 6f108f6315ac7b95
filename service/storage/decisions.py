"""What was decided about phases: each change once, in one step with what it changes and whom it tells."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Connection, Row, func, select

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.analysis_records import Change, RecordedDecision
from service.storage.control import Connections
from service.storage.dialects import upsert
from service.storage.live import write_killed
from service.storage.outbox import write_messages
from service.storage.steering import read_steering, write_steering

AUTOMATIC = "automatic"
"""Who changed a kill switch or what a phase serves, when a rule did."""


class SqlDecisions:
    """The Decisions port."""

    def record_decision(self: Connections, change: Change) -> bool:
        """Append a decision with its messages and its effect on what is served; False if it is too late."""
        with self.writing() as connection:
            if _moved(connection, self.tenant, change.live_version):
                return False
            if not _append(connection, self.tenant, change.decision):
                return False
            write_messages(connection, self.tenant, change.messages)
            _take_effect(connection, self.tenant, change)
        return True

    def decisions(
        self: Connections,
        experiment: str = "",
        *,
        phase: int | None = None,
        limit: int = 100,
        but: Collection[str] = (),
    ) -> Sequence[RecordedDecision]:
        """Return up to `limit` newest decisions, newest first, those aside whose action is one of `but`."""
        table = schema.decision
        query = select(table).where(table.c.tenant == self.tenant)
        if experiment:
            query = query.where(table.c.experiment == experiment)
        if phase is not None:
            query = query.where(table.c.phase == phase)
        if but:
            query = query.where(table.c.action.not_in(but))
        newest = (table.c.decided_us.desc(), table.c.experiment, table.c.phase.desc(), table.c.number.desc())
        with self.reading() as connection:
            rows = connection.execute(query.order_by(*newest[-1 if phase else 0 :]).limit(limit)).all()
        return [_decision(row) for row in rows]

    def decision(self: Connections, experiment: str, phase: int, number: int) -> RecordedDecision | None:
        """Return one decision, or None."""
        table = schema.decision
        query = select(table).where(
            table.c.tenant == self.tenant,
            table.c.experiment == experiment,
            table.c.phase == phase,
            table.c.number == number,
        )
        with self.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _decision(row)


def _moved(connection: Connection, tenant: str, version: int | None) -> bool:
    """Tell whether anything served has changed since the live state had that version."""
    table = schema.live_state
    query = select(table.c.version).where(table.c.tenant == tenant)
    return version is not None and version != (connection.execute(query).scalar() or 0)


def _append(connection: Connection, tenant: str, decision: RecordedDecision) -> bool:
    """Append a decision if it is the next one of its phase; what is there already is never changed."""
    table = schema.decision
    last = connection.execute(
        select(func.coalesce(func.max(table.c.number), 0)).where(
            table.c.tenant == tenant,
            table.c.experiment == decision.experiment,
            table.c.phase == decision.phase,
        )
    ).scalar_one()
    if decision.number != last + 1:
        return False
    statement = upsert(connection, table).values(
        tenant=tenant,
        experiment=decision.experiment,
        phase=decision.phase,
        number=decision.number,
        verdict=decision.verdict,
        revision=decision.revision,
        decision=decision.decision,
        variant=decision.variant,
        rule=decision.rule,
        action=decision.action,
        reason=decision.reason,
        decided_us=to_micros(decision.decided_at),
    )
    return bool(connection.execute(statement.on_conflict_do_nothing()).rowcount)


def _take_effect(connection: Connection, tenant: str, change: Change) -> None:
    """Change what is served as the decision says, beside whatever else was decided about the phase."""
    decision = change.decision
    if change.kills:
        write_killed(
            connection, tenant, decision.experiment, killed=True, by=AUTOMATIC, now=decision.decided_at
        )
    if change.ships is None and change.ramp_steps is None and change.ramp_share_bp is None:
        return
    standing = read_steering(connection, tenant, decision.experiment, decision.phase)
    steering = replace(
        standing,
        shipped=standing.shipped if change.ships is None else change.ships,
        ramp_steps=standing.ramp_steps if change.ramp_steps is None else change.ramp_steps,
        ramp_share_bp=standing.ramp_share_bp if change.ramp_share_bp is None else change.ramp_share_bp,
    )
    write_steering(connection, tenant, steering, by=AUTOMATIC, now=decision.decided_at)


def _decision(row: Row[tuple[object, ...]]) -> RecordedDecision:
    return RecordedDecision(
        experiment=row.experiment,
        phase=row.phase,
        number=row.number,
        verdict=row.verdict,
        revision=row.revision,
        decision=row.decision,
        variant=row.variant,
        rule=row.rule,
        action=row.action,
        reason=row.reason,
        decided_at=from_micros(row.decided_us),
    )
