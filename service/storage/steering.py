"""What was decided about the units of a phase: read by every worker in the one row that it polls anyway."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, select

from service.clock import from_micros, to_micros
from service.storage import schema
from service.storage.analysis_records import Steering
from service.storage.control import Connections
from service.storage.dialects import upsert
from service.storage.live import bump, steering_text


class SqlSteerings:
    """The Steerings port."""

    def put_steering(self: Connections, steering: Steering, *, by: str, now: datetime) -> bool:
        """Say what holds for the units of a phase from now on; return whether it is anything new."""
        with self.writing() as connection:
            return write_steering(connection, self.tenant, steering, by=by, now=now)

    def ship(self: Connections, experiment: str, phase: int, variant: str, *, by: str, now: datetime) -> bool:
        """Give all units of a phase one variant, or none (empty); return whether that is anything new."""
        with self.writing() as connection:
            standing = read_steering(connection, self.tenant, experiment, phase)
            shipped = replace(standing, shipped=variant)
            return write_steering(connection, self.tenant, shipped, by=by, now=now)

    def clear_steering(self: Connections, experiment: str, phase: int) -> bool:
        """Let the catalog alone decide about a phase again; return whether anything else did."""
        with self.writing() as connection:
            gone = connection.execute(
                delete(schema.steering).where(*_phase(self.tenant, experiment, phase))
            ).rowcount
            if gone:
                _publish(connection, self.tenant)
        return bool(gone)

    def steerings(self: Connections) -> Sequence[Steering]:
        """Return what is decided of all phases, in order of experiment and phase."""
        with self.reading() as connection:
            return _read(connection, self.tenant)


def write_steering(
    connection: Connection, tenant: str, steering: Steering, *, by: str, now: datetime
) -> bool:
    """Do `put_steering` inside the caller's write, so that its reason is recorded with it or not at all.

    What is decided already is not written again: it keeps who decided it, and when. When a variant is shipped
    is told by the writes themselves: from the first until none is, however often it becomes another one.
    """
    table = schema.steering
    standing = read_steering(connection, tenant, steering.experiment, steering.phase)
    if _decided(standing) == _decided(steering):
        return False
    since, until = standing.shipped_since, standing.shipped_until
    if steering.shipped and not standing.shipped:
        since, until = now, None
    elif standing.shipped and not steering.shipped:
        until = now
    said = {
        "shipped": steering.shipped,
        "ramp_steps": steering.ramp_steps,
        "ramp_share_bp": steering.ramp_share_bp,
        "shipped_us": None if since is None else to_micros(since),
        "unshipped_us": None if until is None else to_micros(until),
        "changed_by": by,
        "changed_us": to_micros(now),
    }
    connection.execute(
        upsert(connection, table)
        .values(tenant=tenant, experiment=steering.experiment, phase=steering.phase, **said)
        .on_conflict_do_update(index_elements=["tenant", "experiment", "phase"], set_=said)
    )
    _publish(connection, tenant)
    return True


def read_steering(connection: Connection, tenant: str, experiment: str, phase: int) -> Steering:
    """Return what is decided about a phase, inside the caller's transaction; a plain value if nothing is."""
    query = select(schema.steering).where(*_phase(tenant, experiment, phase))
    row = connection.execute(query).first()
    return Steering(experiment=experiment, phase=phase) if row is None else _steering(row)


def prune_steering(store: Connections, *, before_us: int) -> int:
    """Forget phases that were over at that moment, as a later one was decided about; return how many."""
    table, later = schema.steering, schema.steering.alias()
    is_over = exists().where(
        later.c.tenant == table.c.tenant,
        later.c.experiment == table.c.experiment,
        later.c.phase > table.c.phase,
        later.c.changed_us < before_us,
    )
    old = (table.c.tenant == store.tenant, table.c.changed_us < before_us, is_over)
    with store.reading() as connection:
        if connection.execute(select(table.c.phase).where(*old).limit(1)).first() is None:
            return 0
    with store.writing() as connection:
        gone = connection.execute(delete(table).where(*old)).rowcount
        _publish(connection, store.tenant)
    return gone


def _decided(steering: Steering) -> tuple[str, int | None, int | None]:
    return steering.shipped, steering.ramp_steps, steering.ramp_share_bp


def _phase(tenant: str, experiment: str, phase: int) -> tuple[ColumnElement[bool], ...]:
    table = schema.steering
    return table.c.tenant == tenant, table.c.experiment == experiment, table.c.phase == phase


def _publish(connection: Connection, tenant: str) -> None:
    """Write all that is decided into the row that workers poll."""
    bump(connection, tenant, steering=steering_text(_read(connection, tenant)))


def _read(connection: Connection, tenant: str) -> Sequence[Steering]:
    table = schema.steering
    query = select(table).where(table.c.tenant == tenant).order_by(table.c.experiment, table.c.phase)
    return [_steering(row) for row in connection.execute(query)]


def _steering(row: Row[tuple[object, ...]]) -> Steering:
    return Steering(
        experiment=row.experiment,
        phase=row.phase,
        shipped=row.shipped,
        ramp_steps=row.ramp_steps,
        ramp_share_bp=row.ramp_share_bp,
        shipped_since=None if row.shipped_us is None else from_micros(row.shipped_us),
        shipped_until=None if row.unshipped_us is None else from_micros(row.unshipped_us),
        changed_by=row.changed_by,
        changed_at=from_micros(row.changed_us),
    )
