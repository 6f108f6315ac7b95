"""Verdict snapshots in SQL: appended, never changed; a history reads few columns of some of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func, insert, select

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.control import Connections
from service.storage.records import VerdictOutline, VerdictSnapshot
from service.storage.retention import Kept, superseded
from service.storage.rows import decision_in

_ROW = schema.verdict_snapshot
_TOLD: tuple[ColumnElement[Any], ...] = (
    _ROW.c.experiment,
    _ROW.c.phase,
    _ROW.c.number,
    _ROW.c.revision,
    _ROW.c.log_offset,
    _ROW.c.as_of_us,
    _ROW.c.computed_us,
    _ROW.c.digest,
    _ROW.c.decision,
    _ROW.c.inputs,
    _ROW.c.final,
    # Only a snapshot of an older release has to be read whole: it lacks an outline.
    case((_ROW.c.outline.is_(None), _ROW.c.body), else_=_ROW.c.outline).label("outline"),
)


class SqlVerdicts:
    """The Verdicts port: snapshots are appended, never changed."""

    def put_verdict(self: Connections, snapshot: VerdictSnapshot) -> int:
        """Append a snapshot; return its number."""
        with self.writing() as connection:
            last = connection.execute(
                select(func.coalesce(func.max(_ROW.c.number), 0)).where(
                    _ROW.c.tenant == self.tenant,
                    _ROW.c.experiment == snapshot.experiment,
                    _ROW.c.phase == snapshot.phase,
                )
            ).scalar_one()
            connection.execute(
                insert(_ROW).values(
                    tenant=self.tenant,
                    experiment=snapshot.experiment,
                    phase=snapshot.phase,
                    number=last + 1,
                    revision=snapshot.revision,
                    log_offset=snapshot.log_offset,
                    as_of_us=to_micros(snapshot.as_of),
                    computed_us=to_micros(snapshot.computed_at),
                    digest=snapshot.digest,
                    decision=decision_in(snapshot.body),
                    body=snapshot.body,
                    inputs=snapshot.inputs,
                    final=int(snapshot.final),
                    outline=snapshot.outline,
                )
            )
        return int(last) + 1

    def verdict_numbers(self: Connections) -> Mapping[str, tuple[int, int]]:
        """Return, by experiment, the phase and number of its newest snapshot; no body is read."""
        query = (
            select(_ROW.c.experiment, _ROW.c.phase, func.max(_ROW.c.number))
            .where(_ROW.c.tenant == self.tenant)
            .group_by(_ROW.c.experiment, _ROW.c.phase)
            .order_by(_ROW.c.experiment, _ROW.c.phase)
        )
        with self.reading() as connection:
            return {key: (phase, number) for key, phase, number in connection.execute(query)}

    def latest_verdict(self: Connections, experiment: str) -> VerdictSnapshot | None:
        """Return the newest snapshot of the experiment's highest phase, or None."""
        query = (
            select(_ROW)
            .where(_ROW.c.tenant == self.tenant, _ROW.c.experiment == experiment)
            .order_by(_ROW.c.phase.desc(), _ROW.c.number.desc())
            .limit(1)
        )
        with self.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _verdict(row)

    def verdict(self: Connections, experiment: str, phase: int, number: int) -> VerdictSnapshot | None:
        """Return one snapshot, or None."""
        query = select(_ROW).where(*_of(self.tenant, experiment, phase), _ROW.c.number == number)
        with self.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _verdict(row)

    def verdict_history(
        self: Connections, experiment: str, phase: int, limit: int
    ) -> Sequence[VerdictSnapshot]:
        """Return up to `limit` newest snapshots of one phase, oldest first."""
        query = (
            select(_ROW)
            .where(*_of(self.tenant, experiment, phase))
            .order_by(_ROW.c.number.desc())
            .limit(limit)
        )
        with self.reading() as connection:
            rows = connection.execute(query).all()
        return [_verdict(row) for row in reversed(rows)]

    def verdict_outlines(
        self: Connections, experiment: str, phase: int, limit: int
    ) -> Sequence[VerdictOutline]:
        """Return the outlines of up to `limit` newest snapshots of one phase, oldest first."""
        query = (
            select(*_TOLD)
            .where(*_of(self.tenant, experiment, phase))
            .order_by(_ROW.c.number.desc())
            .limit(limit)
        )
        with self.reading() as connection:
            rows = connection.execute(query).all()
        return [_outline(row) for row in reversed(rows)]

    def verdict_turns(self: Connections, experiment: str, phase: int, limit: int) -> Sequence[VerdictOutline]:
        """Return the last of each UTC day of `as_of` and every change of the decision, newest `limit`."""
        mine = _of(self.tenant, experiment, phase)
        every = select(_ROW.c.number, _ROW.c.as_of_us, _ROW.c.decision).where(*mine).order_by(_ROW.c.number)
        with self.reading() as connection:
            history = [Kept(row.number, row.as_of_us, row.decision) for row in connection.execute(every)]
            passed = set(superseded(history, newest=0))
            numbers = [row.number for row in history if row.number not in passed][-limit:]
            if not numbers:
                return []
            query = select(*_TOLD).where(*mine, _ROW.c.number.in_(numbers)).order_by(_ROW.c.number)
            rows = connection.execute(query).all()
        return [_outline(row) for row in rows]


def _of(tenant: str, experiment: str, phase: int) -> tuple[ColumnElement[bool], ...]:
    return (_ROW.c.tenant == tenant, _ROW.c.experiment == experiment, _ROW.c.phase == phase)


def _outline(row: Row[Any]) -> VerdictOutline:
    return VerdictOutline(
        experiment=row.experiment,
        phase=row.phase,
        number=row.number,
        revision=row.revision,
        log_offset=row.log_offset,
        as_of=from_micros(row.as_of_us),
        computed_at=from_micros(row.computed_us),
        digest=row.digest,
        decision=row.decision,
        inputs=row.inputs or "",
        final=bool(row.final),
        outline=row.outline,
    )


def _verdict(row: Row[Any]) -> VerdictSnapshot:
    return VerdictSnapshot(
        experiment=row.experiment,
        phase=row.phase,
        number=row.number,
        revision=row.revision,
        log_offset=row.log_offset,
        as_of=from_micros(row.as_of_us),
        computed_at=from_micros(row.computed_us),
        digest=row.digest,
        body=row.body,
        inputs=row.inputs or "",
        final=bool(row.final),
        outline=row.outline or "",
    )
